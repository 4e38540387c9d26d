"""Images of where answers come from: a face and a network a row, a group a column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from far_keras.evaluation.explain import Explanation, Shown
from far_keras.evaluation.mask_scores import outline

__all__ = ["explanation_grid"]

_CELL = 150  # pixels a side
_GAP, _HEAD, _LEFT = 4, 44, 128
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)
_LINE = (0, 235, 255)  # cyan is in no heat map's way
_BLUR = 2.5  # pixels of a cell: gradients by single pixels are too grainy to see a region in


def explanation_grid(explanation: Explanation, method: str, title: str) -> Image.Image:
    """Draws the images that an explanation kept.

    Each cell shows the face in grey, the energy as heat relative to the cell's own 99th percentile
    (cells tell where, not how much), the group's mask as a cyan line, and the share inside it.

    Args:
        explanation: What to draw.
        method: One of `far_keras.evaluation.explanations.METHODS` that it holds.
        title: A line above.
    """
    groups, shown = explanation.groups, explanation.shown
    faces = len(next(iter(shown.values())).pictures)
    step = _CELL + _GAP
    width = _LEFT + step * (1 + len(groups))
    height = _HEAD + 26 + faces * (len(shown) * step + 10)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(17), ImageFont.load_default(13)
    pen.text((8, 6), title, _INK, font)
    for column, group in enumerate(groups):
        pen.text((_LEFT + step * (column + 1) + 4, _HEAD), group, _INK, font)
    y = _HEAD + 26
    for face in range(faces):
        for row, (name, network) in enumerate(shown.items()):
            for line, text in enumerate(_broken(name)):
                pen.text((8, y + 6 + 17 * line), text, _INK, small)
            if row == 0:
                picture = Image.fromarray(network.pictures[face])
                sheet.paste(picture.resize((_CELL, _CELL), Image.Resampling.LANCZOS), (_LEFT, y))
            for column in range(len(groups)):
                x = _LEFT + step * (column + 1)
                sheet.paste(Image.fromarray(_cell(network, method, face, column)), (x, y))
                share = network.inside[method][face, column]
                _label(pen, (x, y), f"{share:.0%}" if np.isfinite(share) else "no mask", small)
            y += step
        y += 10
    legend = "heat: energy, relative to each cell; line: the group's mask; number: share inside"
    pen.text((_LEFT, 28), legend, _FAINT, small)
    return sheet


def _cell(shown: Shown, method: str, face: int, group: int) -> NDArray[np.uint8]:
    size = (_CELL, _CELL)
    picture = Image.fromarray(shown.pictures[face]).convert("L")
    grey = np.asarray(picture.resize(size, Image.Resampling.LANCZOS), np.float32)[..., None]
    energy = Image.fromarray(shown.energy[method][face, group])
    heat = gaussian_filter(np.asarray(energy.resize(size, Image.Resampling.BILINEAR)), _BLUR)
    heat = np.clip(heat / max(np.percentile(heat, 99), 1e-30), 0, 1)
    opacity = np.sqrt(heat)[..., None] * 0.85
    cell = grey * 0.75 * (1 - opacity) + _warm(heat) * opacity
    mask = Image.fromarray(shown.masks[face, group]).resize(size, Image.Resampling.NEAREST)
    edge = outline(np.asarray(mask, bool))
    cell[edge | np.roll(edge, 1, axis=0) | np.roll(edge, 1, axis=1)] = _LINE
    return cell.round().clip(0, 255).astype(np.uint8)


def _warm(heat: NDArray) -> NDArray[np.float32]:
    """From dark red by orange to pale yellow: (H, W) in [0, 1] to (H, W, 3)."""
    stops = np.array([[120, 0, 30], [225, 50, 20], [255, 160, 30], [255, 245, 170]], np.float32)
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(heat, places, stops[:, c]) for c in range(3)], axis=-1)


def _label(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    x, y = place
    box = pen.textbbox((x + 4, y + _CELL - 19), text, font)
    pen.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=(20, 20, 20))
    pen.text((x + 4, y + _CELL - 19), text, (255, 255, 255), font)


def _broken(name: str, width: int = 15) -> list[str]:
    """A name in lines that fit beside the rows, broken after underscores."""
    lines = [""]
    for part in name.replace("_", "_ ").split(" "):
        if len(lines[-1] + part) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
    return lines
