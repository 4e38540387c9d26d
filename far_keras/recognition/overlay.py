"""Group masks over images: tinted in one colour a group, with firm outlines and a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["INK", "PAPER", "group_colors", "legend", "mask_sheet", "overlay_masks"]

Color = tuple[int, int, int]
Picture = NDArray[np.uint8]

INK: Color = (240, 240, 240)
PAPER: Color = (24, 26, 30)

_COLORS: tuple[Color, ...] = (
    (230, 25, 75),  # red
    (245, 130, 48),  # orange
    (67, 99, 216),  # blue
    (255, 225, 25),  # yellow
    (66, 212, 244),  # cyan
    (60, 180, 75),  # green
    (160, 60, 200),  # purple
    (235, 235, 235),  # near white: in CelebA's schema the whole head, on which the others lie
)


def group_colors(count: int) -> tuple[Color, ...]:
    """One colour for each group mask, in the order of the mask channels."""
    extra = max(0, count - len(_COLORS))
    hues = (colorsys.hsv_to_rgb(k / extra, 0.55, 0.85) for k in range(extra))
    more = tuple((int(255 * r), int(255 * g), int(255 * b)) for r, g, b in hues)
    return (_COLORS + more)[:count]


def overlay_masks(
    image: Picture,
    masks: NDArray,
    matrix: NDArray | None = None,
    *,
    opacity: float = 0.4,
    level: float = 0.5,
) -> Picture:
    """Tints the pixels of each group mask in the group's colour, with a firm outline.

    Where masks overlap the smaller one is on top, so the mouth shows on the lower face. A mask
    that most of the others lie in (the whole head) is drawn as an outline only.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (G, h, w) probabilities over the aligned 178x218 face.
        matrix: (2, 3) pixels of `image` to pixels of the aligned face; None if `image` is the
            aligned face itself, at any size.
        opacity: Of the tint, in [0, 1].
        level: Probability from which a pixel is inside.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    height, width = image.shape[:2]
    if matrix is None:
        matrix = np.array(
            [[178 / width, 0, 89 / width - 0.5], [0, 218 / height, 109 / height - 0.5]]
        )
    left, top, right, bottom = _footprint(matrix, width, height)
    result = image.copy()
    if right <= left or bottom <= top:
        return result
    warped = np.stack([_warp(mask, matrix, (left, top, right, bottom)) for mask in masks])
    inside = warped >= level
    patch = result[top:bottom, left:right].astype(np.float32)
    line = max(1, round((bottom - top) / 220))
    colors = np.array(group_colors(len(masks)), np.float32)
    owner = np.full(inside.shape[1:], -1)
    order = np.argsort(-inside.sum(axis=(1, 2)), kind="stable")
    # The whole head gets an outline only, which leaves the face its own colours.
    whole = len(order) > 1 and _holds_others(inside, order[0])
    for group in order[int(whole) :]:
        owner[inside[group]] = group
    tinted = owner >= 0
    patch[tinted] = (1 - opacity) * patch[tinted] + opacity * colors[owner[tinted]]
    for group in order:
        edge = inside[group] & ~_erode(inside[group], line)
        patch[edge] = 0.15 * patch[edge] + 0.85 * colors[group]
    result[top:bottom, left:right] = np.clip(np.rint(patch), 0, 255).astype(np.uint8)
    return result


def mask_sheet(
    rows: Sequence[Sequence[Picture]],
    titles: Sequence[str],
    groups: Sequence[str] = (),
    *,
    width: int = 178,
) -> Picture:
    """A grid of images under column titles, with the legend of the group colours below.

    Args:
        rows: Equally long rows of uint8 RGB images; all are fitted to `width` pixels.
        titles: One for each column.
        groups: Group names for the legend; none draws no legend.
        width: Of each image, pixels.

    Returns:
        uint8 RGB.
    """
    gap, unit = 6, max(13.0, width / 12)
    font = ImageFont.load_default(unit)
    height = max(round(width * p.shape[0] / p.shape[1]) for row in rows for p in row)
    head = round(unit * 1.8)
    strip = legend(groups, unit, len(titles) * (width + gap) - gap) if groups else None
    sheet = Image.new(
        "RGB",
        (
            len(titles) * (width + gap) + gap,
            head + len(rows) * (height + gap) + (strip.height + gap if strip else 0),
        ),
        PAPER,
    )
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text(
            (gap + column * (width + gap) + width / 2, head / 2), title, INK, font, anchor="mm"
        )
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            fitted = Image.fromarray(cell).resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(fitted, (gap + c * (width + gap), head + r * (height + gap)))
    if strip:
        sheet.paste(strip, (gap, head + len(rows) * (height + gap)))
    return np.asarray(sheet)


def legend(groups: Sequence[str], unit: float, width: int) -> Image.Image:
    """Colour squares with group names, in as many equal columns as fit.

    Args:
        groups: Names in the order of the mask channels, at least one.
        unit: Height of the text, pixels.
        width: Of the result, pixels.
    """
    font = ImageFont.load_default(unit)
    longest = max(font.getlength(name) for name in groups)
    columns = max(1, min(len(groups), int(width // (longest + 2.2 * unit))))
    lines = -(-len(groups) // columns)
    strip = Image.new("RGB", (width, round(lines * unit * 1.5)), PAPER)
    pen = ImageDraw.Draw(strip)
    for k, (name, color) in enumerate(zip(groups, group_colors(len(groups)), strict=True)):
        x = (k % columns) * width / columns
        y = (k // columns + 0.5) * unit * 1.5
        pen.rectangle((x, y - 0.45 * unit, x + 0.9 * unit, y + 0.45 * unit), fill=color)
        pen.text((x + 1.4 * unit, y), name, INK, font, anchor="lm")
    return strip


def _footprint(matrix: NDArray, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the aligned frame in the image, clipped to it."""
    corners = np.array([[-0.5, -0.5], [177.5, -0.5], [177.5, 217.5], [-0.5, 217.5]])
    placed = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    left, top = np.floor(placed.min(axis=0) + 0.5).astype(int)
    right, bottom = np.ceil(placed.max(axis=0) + 0.5).astype(int)
    return max(0, left), max(0, top), min(width, right), min(height, bottom)


def _warp(mask: NDArray, matrix: NDArray, area: tuple[int, int, int, int]) -> NDArray:
    """A mask over the aligned face, resampled onto an area of the image: (bottom - top, ...)."""
    left, top, right, bottom = area
    height, width = mask.shape
    # Image pixel -> aligned pixel -> mask pixel; Pillow counts from pixel corners.
    zoom = np.array([width / 178, height / 218])
    linear = matrix[:, :2] * zoom[:, None]
    origin = (matrix[:, 2] + 0.5) * zoom + linear @ (np.array([left, top]) - 0.5)
    warped = Image.fromarray(np.pad(mask.astype(np.float32), 1, mode="edge")).transform(
        (right - left, bottom - top),
        Image.Transform.AFFINE,
        (*linear[0], origin[0] + 1, *linear[1], origin[1] + 1),
        Image.Resampling.BILINEAR,
    )
    ys, xs = np.mgrid[top:bottom, left:right]
    x = matrix[0, 0] * xs + matrix[0, 1] * ys + matrix[0, 2]
    y = matrix[1, 0] * xs + matrix[1, 1] * ys + matrix[1, 2]
    framed = (x >= -0.5) & (x <= 177.5) & (y >= -0.5) & (y <= 217.5)
    return np.where(framed, np.asarray(warped), 0.0)


def _holds_others(inside: NDArray, group: int) -> bool:
    """Whether a group's mask holds at least three quarters of the pixels of all the others."""
    others = np.delete(inside, group, axis=0).any(axis=0)
    return bool((others & inside[group]).sum() >= 0.75 * others.sum())


def _erode(inside: NDArray, steps: int) -> NDArray:
    for _ in range(steps):
        padded = np.pad(inside, 1)
        inside = (
            inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        )
    return inside
