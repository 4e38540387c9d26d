"""The whole pipeline in one command, with an HTML report."""

from far_keras.extras import require

require("train", "the quickstart")
require("synthetic", "the quickstart")
