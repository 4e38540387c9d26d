"""Rendered people with true labels and region maps."""

from far_keras.extras import require

require("synthetic", "rendering faces")
