"""What is behind the head: painted sharp and upright, then blurred, turned and cut."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from far_keras.synthetic.stage.canvas import CANVAS
from far_keras.synthetic.stage.framebuffer import SUPERSAMPLING
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.stage.surroundings import KINDS

__all__ = ["draw_background"]

# Painted at the final image's size: nothing in it is sharper than that.
COARSE = SUPERSAMPLING
ZOOM = (0.8, 1.15)  # final pixels of an image 178 wide to a pixel of the canvas
BRIGHTEST = 3.0


def _enlarging(fine: int, coarse: int) -> np.ndarray:
    """The matrix (fine, coarse) that interpolates linearly between pixels' centres."""
    at = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(coarse)), 0).astype(np.float32)


def _out_of_focus(canvas: np.ndarray, sigma: float) -> tuple[np.ndarray, int]:
    """The canvas blurred by `sigma` of its pixels, and by what it was made smaller for that."""
    step = 1
    while sigma / step > 3 and step < 8:
        step *= 2
    if step > 1:
        side = CANVAS // step
        canvas = canvas.reshape(side, step, side, step, 3).mean((1, 3))
    sigma /= step
    return gaussian_filter(canvas, (sigma, sigma, 0), mode="nearest", truncate=2.5), step


def draw_background(scene: Scene) -> None:
    """Fills the whole image; depth and regions stay empty."""
    buffer, rng = scene.framebuffer, scene.rng("background")
    background = scene.shot.background
    h, w = buffer.height // COARSE, buffer.width // COARSE
    canvas = KINDS[background.kind](rng).astype(np.float32)
    zoom = rng.uniform(*ZOOM) * w / 178
    small, step = _out_of_focus(canvas, background.blur * w / 178 / zoom)
    # The alignment has turned the surroundings with the head.
    turn = math.radians(scene.shot.camera.roll)
    scale = 1 / (zoom * step)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    matrix = np.array([[cos, -sin], [sin, cos]])
    slack = np.maximum(CANVAS - np.array([h, w]) / zoom, 0) / step / 2
    middle = np.full(2, CANVAS / step / 2) + rng.uniform(-1, 1, 2) * slack
    offset = middle - matrix @ (np.array([h, w]) / 2)
    picture = np.stack(
        [
            affine_transform(small[..., c], matrix, offset, (h, w), order=1, mode="nearest")
            for c in range(3)
        ],
        -1,
    )
    picture *= background.brightness * np.array(background.color, np.float32)
    coarse = np.clip(picture, 0, BRIGHTEST).astype(np.float32)
    rows = np.tensordot(_enlarging(buffer.height, h), coarse, 1)
    buffer.color[:] = np.einsum("xw,ywc->yxc", _enlarging(buffer.width, w), rows, optimize=True)
