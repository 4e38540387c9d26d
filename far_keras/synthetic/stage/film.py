"""What a camera makes of the light: exposure, white balance, blur, tone curve and noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from far_keras.synthetic.parameters import Shot

__all__ = ["develop"]

# A lens is never perfectly sharp: standard deviation in final pixels.
LENS_BLUR = 0.38
WARMTH = 0.22  # how far the strongest white balance moves red and blue
SHOULDER = 0.22  # how gently highlights approach white


def _tone_curve(light: np.ndarray) -> np.ndarray:
    """Linear light to display values in [0, 1]: a soft shoulder, then the sRGB curve."""
    bright = light * (1 + SHOULDER * light * 0.35) / (1 + SHOULDER * light)
    bright = np.clip(bright, 0, 1)
    return np.where(bright <= 0.0031308, 12.92 * bright, 1.055 * bright ** (1 / 2.4) - 0.055)


def develop(color: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Linear light (H, W, 3) float32 to a picture (H, W, 3) uint8, by the shot's camera."""
    camera = shot.camera
    warm = WARMTH * camera.white_balance
    balance = np.array([1 + warm, 1.0, 1 - warm], np.float32)
    light = np.maximum(color, 0) * balance * camera.exposure
    sigma = float(np.hypot(LENS_BLUR, camera.blur))
    light = gaussian_filter(light, (sigma, sigma, 0), truncate=3.0)
    picture = _tone_curve(light)
    if camera.noise:
        grain = rng.normal(0, 1, picture.shape).astype(np.float32)
        grain = 0.75 * grain + 0.45 * grain[..., 1:2]  # sensors' noise is partly common to colours
        picture = picture + camera.noise * grain * (1.1 - 0.6 * picture)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
