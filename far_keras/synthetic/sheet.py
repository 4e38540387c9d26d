"""Contact sheets: images in rows with captions beneath, such as their labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from far_keras.errors import DatasetError
from far_keras.files import write_atomically
from far_keras.schema import CELEBA, MISSING

__all__ = ["contact_sheet", "draw_sheet", "save_sheet"]

FONT_SIZE, LINE_HEIGHT, MARGIN = 10, 12, 4  # pixels
UNNAMED = ("Attractive",)  # missing in nearly every image


def contact_sheet(
    directory: str | Path, path: str | Path, columns: int = 8, limit: int = 32
) -> Path:
    """Writes a contact sheet of a set in CelebA's layout, of images evenly spread over it.

    Beneath each image stand the attributes that are a yes, then with ? the missing ones.

    Args:
        directory: Holds `img_align_celeba/` and `list_attr_celeba.txt`.
        path: The image to write; its suffix names the format.
        columns: Images per row.
        limit: Most images that are shown.

    Raises:
        DatasetError: The set has no images, or its label file is not CelebA's.
    """
    directory = Path(directory)
    table = directory / "list_attr_celeba.txt"
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DatasetError(f"{table}: cannot read the labels: {error}") from error
    if len(lines) < 3 or lines[1].split() != list(CELEBA.attributes):
        raise DatasetError(f"{table}: expected a count, CelebA's 40 names, and one row per image")
    images, captions = [], []
    rows = lines[2:]
    for row in np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int):
        name, *signs = rows[row].split()
        images.append(np.asarray(Image.open(directory / "img_align_celeba" / name).convert("RGB")))
        captions.append(_caption([{1: 1, -1: 0, 0: MISSING}[int(sign)] for sign in signs]))
    return save_sheet(draw_sheet(images, captions, columns), path)


def draw_sheet(
    images: Sequence[np.ndarray], captions: Sequence[str], columns: int = 8
) -> np.ndarray:
    """Images in rows, each with its caption beneath.

    Args:
        images: N images (H, W, 3) uint8 of one size.
        captions: N texts, folded at ", " to the width of an image.
        columns: Images per row, at least 1.

    Returns:
        (H', W', 3) uint8.
    """
    if not images or columns < 1:
        raise DatasetError(
            f"a contact sheet needs images and at least one column. "
            f"Received: {len(images)} images, {columns} columns"
        )
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    font = ImageFont.load_default(FONT_SIZE)
    texts = [_fold(caption.split(", "), font, width) for caption in captions]
    cell_width = width + 2 * MARGIN
    cell_height = height + LINE_HEIGHT * max(map(len, texts)) + 2 * MARGIN
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (image, text) in enumerate(zip(images, texts, strict=True)):
        left = index % columns * cell_width + MARGIN
        top = index // columns * cell_height + MARGIN
        sheet.paste(Image.fromarray(image), (left, top))
        for row, line in enumerate(text):
            draw.text((left, top + height + row * LINE_HEIGHT), line, fill="black", font=font)
    return np.asarray(sheet)


def save_sheet(sheet: np.ndarray, path: str | Path) -> Path:
    """Writes a sheet (H, W, 3) uint8 as a whole file; its suffix names the format."""
    path = Path(path)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise DatasetError(f"{path}: expected a name that ends in .png or .jpg")
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, kind)
    write_atomically(path, buffer.getvalue())
    return path


def _caption(labels: Sequence[int]) -> str:
    if all(label == MISSING for label in labels):
        return "no face"
    named = list(zip(CELEBA.attributes, labels, strict=True))
    yes = [name for name, label in named if label == 1]
    missing = [f"{name}?" for name, label in named if label == MISSING and name not in UNNAMED]
    return ", ".join([*yes, *missing]).replace("_", " ")


def _fold(words: Sequence[str], font, width: int) -> list[str]:
    """Joins words with commas into lines of at most `width` pixels."""
    lines: list[str] = []
    for index, word in enumerate(words):
        word = word if index == len(words) - 1 else word + ","
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
