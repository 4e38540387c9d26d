"""A contact sheet: images side by side, with their labels beneath."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from far_keras.errors import DatasetError
from far_keras.files import write_atomically
from far_keras.schema import CELEBA, MISSING

__all__ = ["contact_sheet", "draw_rows", "draw_sheet", "save_sheet"]

LINES = 9
FONT_SIZE = 10
MARGIN = 4  # pixels around a cell
# Labels that every image, or nearly, has missing say nothing beneath it.
SILENT = ("Attractive",)


def contact_sheet(
    directory: str | Path, path: str | Path, columns: int = 8, limit: int = 32
) -> Path:
    """Writes a contact sheet of a set in CelebA's layout, of images evenly spread over it.

    Args:
        directory: Holds `img_align_celeba/` and `list_attr_celeba.txt`.
        path: The image to write; its suffix names the format.
        columns: Images in a row.
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
        raise DatasetError(f"{table}: expected a count, CelebA's 40 names, and a row an image")
    images, labels = [], []
    rows = lines[2:]
    shown = np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int)
    for row in shown:
        name, *signs = rows[row].split()
        images.append(np.asarray(Image.open(directory / "img_align_celeba" / name).convert("RGB")))
        labels.append([{1: 1, -1: 0, 0: MISSING}[int(sign)] for sign in signs])
    sheet = draw_sheet(images, np.array(labels, np.int8), columns)
    return save_sheet(sheet, path)


def draw_sheet(images: Sequence[np.ndarray], labels: np.ndarray, columns: int = 8) -> np.ndarray:
    """Images in rows, beneath each the attributes that are a yes, then with ? the missing ones.

    Args:
        images: N images (H, W, 3) uint8 of one size.
        labels: (N, 40) in CelebA's order: 1, 0 or -1 for missing.
        columns: Images in a row, at least 1.

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
    line = FONT_SIZE + 2
    captions = [_wrap(_caption(row), font, width) for row in labels]
    text_height = line * max(LINES, *(len(caption) for caption in captions))
    cell_width, cell_height = width + 2 * MARGIN, height + text_height + 2 * MARGIN
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = index % columns * cell_width + MARGIN
        top = index // columns * cell_height + MARGIN
        sheet.paste(Image.fromarray(image), (left, top))
        for row, text in enumerate(caption):
            draw.text((left, top + height + row * line), text, fill="black", font=font)
    return np.asarray(sheet)


def draw_rows(rows: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """Rows of images, each with its caption above.

    Args:
        rows: By caption, images (H, W, 3) uint8; all of one size, in every row equally many.

    Returns:
        (H', W', 3) uint8.
    """
    first = next(iter(rows.values()))
    height, width = first[0].shape[:2]
    font, line = ImageFont.load_default(FONT_SIZE), FONT_SIZE + 2
    cell = height + line + MARGIN
    sheet = Image.new("RGB", (len(first) * (width + MARGIN), len(rows) * cell), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (caption, images) in enumerate(rows.items()):
        draw.text((MARGIN, row * cell), caption, fill="black", font=font)
        for column, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (column * (width + MARGIN), row * cell + line))
    return np.asarray(sheet)


def _caption(labels: np.ndarray) -> list[str]:
    if (labels == MISSING).all():
        return ["no face"]
    named = list(zip(CELEBA.attributes, labels, strict=True))
    yes = [name for name, label in named if label == 1]
    missing = [f"{name}?" for name, label in named if label == MISSING and name not in SILENT]
    return [name.replace("_", " ") for name in (*yes, *missing)]


def _wrap(words: Sequence[str], font, width: int) -> list[str]:
    """Joins words with commas into lines that are at most `width` pixels long."""
    lines: list[str] = []
    for index, word in enumerate(words):
        word = word if index == len(words) - 1 else word + ","
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def save_sheet(sheet: np.ndarray, path: str | Path) -> Path:
    """Writes a sheet (H, W, 3) uint8 as a whole file; its suffix names the format."""
    path = Path(path)
    buffer = io.BytesIO()
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise DatasetError(f"{path}: expected a name that ends in .png or .jpg")
    Image.fromarray(sheet).save(buffer, kind)
    write_atomically(path, buffer.getvalue())
    return path
