"""Images without a face to predict: textures, surroundings, things, statues and drawings."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from far_keras.faces.region_map import Region
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import Rendering, render

__all__ = ["DRAWINGS", "STATUES", "drawing", "render_negative", "statue"]

STATUES: dict[str, tuple[float, float, float]] = {
    # sRGB of the material where it is lit. None is near the colour of any skin.
    "marble": (0.86, 0.85, 0.82),
    "limestone": (0.66, 0.62, 0.54),
    "granite": (0.48, 0.47, 0.46),
    "verdigris": (0.38, 0.52, 0.46),
}
DRAWINGS = ("pencil", "ink", "cartoon")
PAPER = ((0.97, 0.96, 0.93), (0.93, 0.88, 0.76), (0.99, 0.99, 0.99), (0.80, 0.78, 0.74))
_CARVED = (
    *(Region.SKIN, Region.LIPS, Region.EYE, Region.EAR, Region.MOUTH_INSIDE, Region.HAIR),
    *(Region.BROW, Region.BEARD, Region.NECK, Region.NOSE, Region.CLOTHING, Region.HAT),
    *(Region.EARRING, Region.NECKLACE, Region.NECKTIE, Region.GLASSES),
)
_EVEN = 0.55  # level that the middle of each part is brought to
_MOST_GAIN = 3.0


def statue(rendering: Rendering, material: str, rng: np.random.Generator) -> np.ndarray:
    """The person carved or cast: the shading stays, all colour and paint go.

    Args:
        rendering: Of a person.
        material: A key of `STATUES`.
        rng: For the material's grain.

    Returns:
        (H, W, 3) uint8 sRGB; what is behind the person stays as it was.
    """
    level = _level(rendering)
    for region in _CARVED:
        here = rendering.regions == region
        if here.any():
            gain = _EVEN / max(float(np.median(level[here])), 0.02)
            level[here] *= np.clip(gain, 1 / _MOST_GAIN, _MOST_GAIN)
    eyes = rendering.regions == Region.EYE
    level[eyes] = _EVEN + 0.2 * (level[eyes] - _EVEN)
    grain = gaussian_filter(rng.normal(size=level.shape), rng.uniform(0.4, 1.2))
    stone = gaussian_filter(level, rng.uniform(0.5, 0.9)) / _EVEN + rng.uniform(0.02, 0.10) * grain
    carved = np.isin(rendering.regions, _CARVED)[..., None]
    colored = stone[..., None] * np.array(STATUES[material])
    return np.where(carved, _bytes(colored), rendering.image)


def drawing(rendering: Rendering, style: str, rng: np.random.Generator) -> np.ndarray:
    """The person drawn by hand: lines where the image is darker than its surroundings.

    Args:
        rendering: Of a person.
        style: One of `DRAWINGS`.
        rng: For paper and line.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    level = _level(rendering)
    around = gaussian_filter(level, rng.uniform(2.0, 5.0))
    lines = np.clip(level / np.maximum(around, 0.02), 0, 1)  # 1 where nothing is drawn
    paper = np.array(PAPER[int(rng.integers(len(PAPER)))])
    if style == "pencil":
        tone = 0.75 + 0.25 * gaussian_filter(level, 1.5) ** 0.5
        strokes = 1 + 0.06 * gaussian_filter(rng.normal(size=level.shape), (0.4, 2.0))
        return _bytes((0.12 + 0.88 * lines**2 * tone * strokes)[..., None] * paper)
    ink = 1 / (1 + np.exp(-(lines - rng.uniform(0.84, 0.92)) / 0.025))[..., None]
    if style == "ink":
        return _bytes((0.08 + 0.92 * ink) * paper)
    smooth = _blur(rendering.image / 255, 2.0)
    steps = int(rng.integers(3, 6))
    flat = (np.floor(smooth * steps) + 0.5) / steps
    vivid = flat.mean(2, keepdims=True) + rng.uniform(1.0, 1.6) * (
        flat - flat.mean(2, keepdims=True)
    )
    return _bytes((0.15 + 0.85 * ink) * vivid)


def _level(rendering: Rendering) -> np.ndarray:
    """(H, W) brightness in [0, 1]."""
    return rendering.image.astype(np.float64).mean(2) / 255


def _blur(image: np.ndarray, deviation: float) -> np.ndarray:
    return gaussian_filter(image, (deviation, deviation, 0))


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(255 * image, 0, 255).astype(np.uint8)


LIKENESSES = 0.4  # share


def render_negative(
    seed: int | list[int], size: tuple[int, int] = (218, 178)
) -> tuple[np.ndarray, np.ndarray]:
    """An image without a face, and its region map.

    Two fifths are statues and drawings of people, which a face filter must reject as well.

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
    image = kinds[int(rng.integers(len(kinds)))](rng, size)
    image = _blur(image, rng.uniform(0.3, 2.0))
    return _bytes(image + rng.normal(0, rng.uniform(0.003, 0.03), (*size, 1))), regions


def _likeness(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A person of stone, bronze, or on paper."""
    identity = Population(int(rng.integers(2**31))).identity(1)
    assert identity.person is not None
    rendering = render(identity.person, identity.shots[0], size)
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
    image = (1 - rows) * _color(rng) + rows * _color(rng)
    image = np.broadcast_to(image, (*size, 3)).copy()
    for _ in range(int(rng.integers(4, 14))):
        patch = _ellipse(rng, size, rng.uniform(8, 60))
        image += (patch * rng.uniform(0.3, 0.9))[..., None] * (_color(rng) - image)
    return _blur(image, rng.uniform(3, 12))


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
    image = _surroundings(rng, size)
    y, x = np.mgrid[: size[0], : size[1]]
    for _ in range(int(rng.integers(1, 5))):
        if rng.random() < 0.5:
            inside = _ellipse(rng, size, rng.uniform(15, 70)) > 0.5
        else:
            left, top = rng.integers(-20, size[1] - 20), rng.integers(-20, size[0] - 20)
            inside = (x >= left) & (x < left + rng.integers(20, 120))
            inside &= (y >= top) & (y < top + rng.integers(20, 160))
        shade = 0.6 + 0.5 * (x / size[1] if rng.random() < 0.5 else 1 - y / size[0])
        image[inside] = (_color(rng) * shade[..., None])[inside]
    return image


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
