"""What is behind the head: a studio wall, a room, outdoors, lights out of focus, a gradient."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from far_keras.synthetic.stage.noise import SIZE as NOISE_SIZE
from far_keras.synthetic.stage.noise import noise_texture
from far_keras.synthetic.stage.scene import Scene

__all__ = ["draw_background"]

# Backgrounds are out of focus: they are painted at an eighth to a quarter of the size.
COARSE = 4


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in [0, 1] down and across, (h, 1) and (1, w)."""
    return np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]


def _color(rng: np.random.Generator, low: float, high: float, chroma: float) -> np.ndarray:
    """A random linear colour (3,) of a brightness between `low` and `high`."""
    tint = np.exp(rng.normal(0, chroma, 3))
    return rng.uniform(low, high) * tint / tint.mean()


def _clouds(rng: np.random.Generator, shape: tuple[int, int], smoothness: float) -> np.ndarray:
    """A cut (h, w) of cloudy noise, about -2 to 2."""
    texture = noise_texture(smoothness, 11)
    row, column = rng.integers(0, NOISE_SIZE, 2)
    rows = (row + np.arange(shape[0])) % NOISE_SIZE
    return texture[np.ix_(rows, (column + np.arange(shape[1])) % NOISE_SIZE)]


def _gradient(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    down, across = _grid(h, w)
    first, second = _color(rng, 0.02, 0.8, 0.25), _color(rng, 0.02, 0.8, 0.25)
    angle = rng.uniform(0, 2 * np.pi)
    t = np.clip(0.5 + np.cos(angle) * (down - 0.5) + np.sin(angle) * (across - 0.5), 0, 1)
    return first + (second - first) * t[..., None]


def _studio(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A paper backdrop with a pool of light and darker corners."""
    down, across = _grid(h, w)
    cx, cy = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.6)
    radius = np.hypot((across - cx) * w / h, down - cy)
    fall = np.exp(-((radius / rng.uniform(0.45, 0.9)) ** 2))
    wall = _color(rng, 0.05, 0.85, 0.15)
    cloth = 1 + rng.uniform(0, 0.12) * _clouds(rng, (h, w), 1.8)
    return wall * (rng.uniform(0.35, 0.8) + 0.5 * fall * cloth)[..., None]


def _indoor(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A wall with furniture, pictures, a door or a window, out of focus."""
    down, _ = _grid(h, w)
    picture = np.empty((h, w, 3))
    picture[:] = _color(rng, 0.1, 0.7, 0.15) * (1.1 - 0.3 * down)[..., None]
    for _ in range(int(rng.integers(4, 10))):
        bw, bh = int(w * rng.uniform(0.08, 0.5)), int(h * rng.uniform(0.08, 0.7))
        x, y = int(rng.integers(-bw // 2, w)), int(rng.integers(-bh // 3, h))
        color = _color(rng, 0.02, 0.6, 0.3)
        window = rng.random() < 0.18
        if window:
            color = _color(rng, 0.9, 1.6, 0.06)
        box = picture[max(y, 0) : max(y + bh, 0), max(x, 0) : max(x + bw, 0)]
        box[:] = color
        if box.size and not window and rng.random() < 0.4:  # shelves, slats, drawers
            step = int(rng.integers(4, 10))
            box[::step, :] *= 0.35
    if rng.random() < 0.4:  # a lamp
        _disc(picture, rng.uniform(0, w), rng.uniform(0, 0.4 * h), rng.uniform(3, 9),
              np.array([1.9, 1.5, 1.0]), 0.9)  # fmt: skip
    sigma = rng.uniform(1.0, 3.0)
    return gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")


def _outdoor(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Sky above, leaves or buildings below, ground at the bottom."""
    down, across = _grid(h, w)
    sky = np.array([0.45, 0.62, 0.95]) * rng.uniform(0.5, 1.2)
    sky = sky + (np.full(3, rng.uniform(0.5, 1.1)) - sky) * rng.uniform(0, 0.9)
    picture = sky * (0.8 + 0.35 * down)[..., None] * np.ones((1, w, 1))
    horizon = rng.uniform(-0.1, 0.9) + 0.06 * _clouds(rng, (1, w), 1.4) + 0 * across
    trees = np.clip((down - horizon) * h / 4, 0, 1)[..., None]
    leaves = _clouds(rng, (h, w), 1.0)[..., None]
    green = np.array([0.14, 0.22, 0.06]) * rng.uniform(0.4, 1.6)
    autumn = np.array([0.30, 0.18, 0.06]) * rng.uniform(0.5, 1.4)
    foliage = green + (autumn - green) * float(rng.random() < 0.25) * rng.uniform(0.3, 1)
    glints = np.clip(leaves - 1.2, 0, 1.5) * np.array([0.7, 0.75, 0.5])
    picture += trees * (foliage * np.clip(1 + 0.5 * leaves, 0.1, 3) + glints - picture)
    if rng.random() < 0.4:  # buildings
        for _ in range(int(rng.integers(1, 4))):
            x, width = int(rng.integers(0, w)), int(w * rng.uniform(0.1, 0.4))
            top = int(h * rng.uniform(0, 0.6))
            picture[top:, x : x + width] = _color(rng, 0.15, 0.6, 0.12)
            picture[top + 2 :: 6, x + 1 : x + width : 4] *= 0.55
    sigma = rng.uniform(0.8, 2.6)
    return gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")


def _disc(
    picture: np.ndarray, x: float, y: float, radius: float, color: np.ndarray, alpha: float
) -> None:
    """Blends a disc with a soft edge into picture (h, w, 3), in place."""
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    cover = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)[..., None]
    picture += alpha * cover * (color - picture)


def _bokeh(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Lights far out of focus before a dark or dim ground."""
    base = _gradient(rng, h, w) * rng.uniform(0.1, 0.5)
    picture = base * (1 + 0.3 * _clouds(rng, (h, w), 1.6))[..., None]
    hue = _color(rng, 0.9, 1.0, 0.4)
    for _ in range(int(rng.integers(12, 45))):
        color = (hue + rng.normal(0, 0.2, 3)).clip(0.05) * rng.uniform(0.3, 1.3)
        _disc(picture, rng.uniform(0, w), rng.uniform(0, h), rng.uniform(1.5, 8), color,
              rng.uniform(0.15, 0.7))  # fmt: skip
    return np.clip(picture, 0, 2)


KINDS = {
    "studio": _studio,
    "gradient": _gradient,
    "indoor": _indoor,
    "outdoor": _outdoor,
    "bokeh": _bokeh,
}


def _enlarging(fine: int, coarse: int) -> np.ndarray:
    """The matrix (fine, coarse) that interpolates linearly between pixels' centres."""
    at = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(coarse)), 0).astype(np.float32)


def draw_background(scene: Scene) -> None:
    """Fills the whole picture; depth and regions stay empty."""
    buffer, rng = scene.framebuffer, scene.rng("background")
    h, w = -(-buffer.height // COARSE), -(-buffer.width // COARSE)
    coarse = np.clip(KINDS[scene.shot.background](rng, h, w), 0, 2.5).astype(np.float32)
    rows = np.tensordot(_enlarging(buffer.height, h), coarse, 1)
    buffer.color[:] = np.einsum("xw,ywc->yxc", _enlarging(buffer.width, w), rows, optimize=True)
