"""Images that are not to be answered: textures, surroundings, things, likenesses."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from far_keras.synthetic.likenesses import DRAWINGS, STATUES, drawing, statue
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.regions import Region
from far_keras.synthetic.renderer import render

__all__ = ["render_negative"]

LIKENESSES = 0.4  # share


def render_negative(
    seed: int | list[int], size: tuple[int, int] = (218, 178)
) -> tuple[np.ndarray, np.ndarray]:
    """An image that is not to be answered, and its region map.

    Two fifths are statues and drawings of people: what shows no living face is to be told from what
    does.

    Args:
        seed: The same seed gives the same image.
        size: Height and width in pixels.

    Returns:
        (H, W, 3) uint8 RGB, and (H, W) uint8 that is `Region.BACKGROUND` everywhere.
    """
    rng = np.random.default_rng(seed)
    regions = np.full(size, Region.BACKGROUND, np.uint8)
    if rng.random() < LIKENESSES:
        return _likeness(rng, size), regions
    kinds = (_texture, _surroundings, _stripes, _things)
    picture = kinds[int(rng.integers(len(kinds)))](rng, size)
    picture = gaussian_filter(picture, (*(2 * (rng.uniform(0.3, 2.0),)), 0))
    picture = picture + rng.normal(0, rng.uniform(0.003, 0.03), (*size, 1))
    image = np.clip(255 * picture, 0, 255).astype(np.uint8)
    return image, regions


def _likeness(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Somebody of stone, bronze, or on paper."""
    subject = Population(int(rng.integers(2**31))).subject(1)
    assert subject.person is not None
    rendering = render(subject.person, subject.shots[0], size)
    if rng.random() < 0.5:
        return statue(rendering, str(rng.choice(list(STATUES))), rng)
    return drawing(rendering, str(rng.choice(DRAWINGS)), rng)


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Noise of several scales between two colours, like stone, cloth or foliage."""
    scale = rng.uniform(2, 20)
    octaves = [_noise(rng, size, scale * 2.0**-octave) * 0.6**octave for octave in range(4)]
    value = np.sum(octaves, axis=0)
    return _between(rng, _stretch(value))


def _surroundings(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Soft large patches over a vertical gradient, like a background out of focus."""
    rows = np.linspace(0, 1, size[0])[:, None, None]
    picture = (1 - rows) * _color(rng) + rows * _color(rng)
    picture = np.broadcast_to(picture, (*size, 3)).copy()
    for _ in range(int(rng.integers(4, 14))):
        patch = _ellipse(rng, size, rng.uniform(8, 60))
        picture += (patch * rng.uniform(0.3, 0.9))[..., None] * (_color(rng) - picture)
    return gaussian_filter(picture, (*(2 * (rng.uniform(3, 12),)), 0))


def _stripes(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Lines, bricks or a lattice."""
    y, x = np.mgrid[: size[0], : size[1]]
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 50)
    across = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    along = np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / (period * 1.7))
    value = across if rng.random() < 0.5 else np.maximum(across, along)
    sharp = rng.uniform(1, 8)
    value = 0.5 + 0.5 * np.tanh(sharp * value) / np.tanh(sharp)
    return _between(rng, _stretch(value + 0.2 * _noise(rng, size, rng.uniform(2, 12))))


def _things(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Shaded ellipses and boxes in front of a background: bottles, balls, books."""
    picture = _surroundings(rng, size)
    y, x = np.mgrid[: size[0], : size[1]]
    for _ in range(int(rng.integers(1, 5))):
        if rng.random() < 0.5:
            inside = _ellipse(rng, size, rng.uniform(15, 70)) > 0.5
        else:
            left, top = rng.integers(-20, size[1] - 20), rng.integers(-20, size[0] - 20)
            inside = (x >= left) & (x < left + rng.integers(20, 120))
            inside &= (y >= top) & (y < top + rng.integers(20, 160))
        shade = 0.6 + 0.5 * (x / size[1] if rng.random() < 0.5 else 1 - y / size[0])
        picture[inside] = (_color(rng) * shade[..., None])[inside]
    return picture


def _ellipse(rng: np.random.Generator, size: tuple[int, int], radius: float) -> np.ndarray:
    """(H, W) 1 within an ellipse at a random place, 0 outside."""
    y, x = np.mgrid[: size[0], : size[1]]
    cy, cx = rng.uniform(0, size[0]), rng.uniform(0, size[1])
    stretch = rng.uniform(0.5, 2)
    return (((x - cx) * stretch) ** 2 + (y - cy) ** 2 < radius**2).astype(float)


def _noise(rng: np.random.Generator, size: tuple[int, int], scale: float) -> np.ndarray:
    """(H, W) smooth noise whose features are about `scale` pixels wide."""
    scale = max(scale, 1.0)
    coarse = rng.normal(size=[int(side / scale) + 4 for side in size])
    return zoom(coarse, scale, order=1, grid_mode=True, mode="nearest")[: size[0], : size[1]]


def _stretch(value: np.ndarray) -> np.ndarray:
    low, high = value.min(), value.max()
    return (value - low) / max(high - low, 1e-9)


def _between(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    return _color(rng) + value[..., None] * (_color(rng) - _color(rng))


def _color(rng: np.random.Generator) -> np.ndarray:
    """sRGB in [0, 1]; greys more often than bright colours."""
    return np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.15, 3), 0, 1)
