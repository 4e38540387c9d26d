"""Measures models on records: metrics with intervals, reports, parity of exported files."""

from far_keras.extras import require

require("train", "evaluation")
