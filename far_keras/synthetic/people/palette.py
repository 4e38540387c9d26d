"""Colours of hair, eyes, makeup, metal and cloth; linear RGB as in `parameters`."""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.parameters import RGB

__all__ = [
    "EYESHADOWS",
    "METALS",
    "any_color",
    "brow_color",
    "hair_color",
    "iris_color",
    "linear",
    "lipstick",
    "rgb",
    "tone",
]

# sRGB, 0 .. 255, darkest and lightest hair of a name; a person's lies on the line between.
HAIR_TONES = {
    "Black_Hair": ((22, 19, 18), (42, 36, 34)),
    "Brown_Hair": ((70, 46, 32), (122, 84, 56)),
    "Blond_Hair": ((176, 138, 90), (226, 196, 146)),
    "auburn": ((110, 48, 28), (158, 76, 42)),
    "Gray_Hair": ((122, 120, 119), (216, 214, 212)),
}
# Tones that two people would name differently: the darker of the two names, and the tone.
DOUBTFUL_TONES = {
    "Black_Hair": (57, 42, 34),
    "Brown_Hair": (150, 112, 74),
    "Gray_Hair": (114, 101, 92),
}
DYES = ((200, 60, 120), (70, 90, 170), (110, 60, 150), (60, 140, 130), (225, 130, 165))
LIPSTICKS = (
    *((170, 20, 40), (190, 30, 45), (140, 25, 50), (120, 25, 35)),  # reds
    *((205, 75, 95), (215, 100, 125), (190, 60, 110), (200, 110, 110)),  # pinks
    *((190, 60, 50), (205, 95, 75)),  # corals
    *((110, 30, 70), (85, 22, 45), (95, 35, 95), (60, 20, 30)),  # berries and plums
    *((165, 95, 85), (145, 80, 70), (120, 62, 52)),  # browns
)
EYESHADOWS = (
    *((90, 58, 64), (112, 78, 50), (70, 50, 45), (60, 45, 42), (40, 34, 36)),
    *((66, 66, 104), (50, 80, 80), (110, 70, 105), (150, 110, 80), (190, 165, 140)),
)
IRISES = {
    "dark": ((46, 30, 22), (84, 56, 36)),
    "light": ((70, 104, 140), (112, 128, 92)),
}
METALS = ((212, 175, 100), (200, 200, 205), (190, 140, 110))


def hair_color(rng: np.random.Generator, name: str, doubtful: float) -> RGB:
    """Hair of a named colour, or with probability `doubtful` between two names."""
    if name in DOUBTFUL_TONES and rng.random() < doubtful:
        return linear(np.array(DOUBTFUL_TONES[name]))
    if name == "dyed":
        return tone(rng, DYES)
    dark, light = np.array(HAIR_TONES.get(name, HAIR_TONES["Brown_Hair"]), float)
    return linear(dark + (light - dark) * rng.random())


def brow_color(rng: np.random.Generator, name: str, hair: RGB) -> RGB:
    """Brows are darker than the hair, but for black hair; those of blond people browner too."""
    brown = np.array(linear(np.array((72, 50, 36))))
    if name == "dyed":
        return rgb(brown * rng.uniform(0.3, 1.0))
    factor = {"Gray_Hair": 0.5, "Blond_Hair": 0.42, "Black_Hair": 1.2}.get(name, 0.8)
    mixed = factor * np.array(hair)
    if name == "Blond_Hair":
        mixed = 0.5 * mixed + 0.5 * brown
    return rgb(mixed * rng.uniform(0.85, 1.15))


def iris_color(rng: np.random.Generator, melanin: float, hair: str) -> RGB:
    """Brown, or with fair skin sometimes blue, grey or green."""
    light = melanin < 0.35 and rng.random() < (0.6 if hair in ("Blond_Hair", "auburn") else 0.35)
    low, high = np.array(IRISES["light" if light else "dark"], float)
    return linear(low + (high - low) * rng.random())


def lipstick(rng: np.random.Generator, lips: RGB) -> RGB:
    """A lipstick; one in five is nude: near the wearer's own `lips`."""
    if rng.random() < 0.2:
        return rgb(np.clip(np.array(lips) * rng.uniform(0.85, 1.25, 3) * (1.1, 0.9, 0.9), 0, 1))
    return tone(rng, LIPSTICKS)


def tone(rng: np.random.Generator, tones: tuple[tuple[int, int, int], ...]) -> RGB:
    """One of `tones` (sRGB, 0 .. 255), a little darker or lighter."""
    return linear(np.array(tones[int(rng.integers(len(tones)))]) * rng.uniform(0.85, 1.1))


def any_color(rng: np.random.Generator) -> RGB:
    """Cloth: greys and dark colours more often than bright ones."""
    gray = rng.uniform(20, 225)
    saturation = rng.beta(1.2, 2.5)
    return linear(gray * (1 - saturation) + saturation * rng.uniform(10, 230, size=3))


def linear(srgb: np.ndarray) -> RGB:
    """sRGB in 0 .. 255 to linear RGB in [0, 1], by the power 2.2."""
    return rgb(np.clip(srgb / 255, 0, 1) ** 2.2)


def rgb(values: np.ndarray) -> RGB:
    """Three numbers as a tuple of plain floats."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
