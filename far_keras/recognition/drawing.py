"""Draws answers: a photograph with boxes and group masks, and a card of answers for each face.

Text never lies on the photograph: each face bears a number, and its answers stand on a card of
that number beside or below the image. So nothing overlaps, however many faces there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from far_keras.recognition.cards import BOX_COLOR, face_card, legend_card, text_card
from far_keras.recognition.overlay import PAPER, Picture, overlay_masks
from far_keras.recognition.results import FaceResult

__all__ = ["draw_boxes", "draw_faces", "enlarged", "text_height"]

_SMALLEST_SIDE = 720  # a smaller image is enlarged: its faces could not be seen beside the text


def draw_faces(
    image: Picture,
    faces: Sequence[FaceResult],
    *,
    masks: bool = True,
    attributes: int | None = None,
) -> Picture:
    """An annotated copy of a photograph.

    Args:
        image: (H, W, 3) uint8 RGB, the photograph that `faces` were found in.
        faces: As the recogniser returned them.
        masks: Whether to draw the group masks over the faces.
        attributes: How many "yes" answers a card lists at most, each with
            `FaceResult.certainty`, most certain first; default: 16 for one face, 10 for a few, 6
            for many.

    Returns:
        uint8 RGB, larger than `image`: cards stand to the right or below, whichever makes the
        smaller and squarer sheet. An image whose longer side is below 720 pixels is enlarged
        first.
    """
    picture, scale = enlarged(image, faces if masks else ())
    unit = text_height(picture.size)
    draw_boxes(picture, faces, range(1, len(faces) + 1), scale, unit)
    if attributes is None:
        attributes = 16 if len(faces) == 1 else 10 if len(faces) <= 4 else 6
    cards = [face_card(number, face, attributes, unit) for number, face in enumerate(faces, 1)]
    if masks and (named := next((f for f in faces if f.masks is not None), None)):
        cards.append(legend_card(named.groups, unit))
    if not faces:
        cards.append(text_card("No face found", unit))
    return np.asarray(_beside(picture, cards, round(unit * 0.6)))


def enlarged(image: Picture, faces: Sequence[FaceResult]) -> tuple[Image.Image, float]:
    """A copy to draw on, with the masks of `faces`, and how much larger than `image` it is."""
    scale = max(1.0, _SMALLEST_SIDE / max(image.shape[:2]))
    picture = Image.fromarray(image)
    if scale > 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    for face in faces:
        if face.masks is not None:
            pixels = overlay_masks(pixels, face.masks, _rescaled(face.matrix, scale))
    return Image.fromarray(pixels), scale


def text_height(size: tuple[int, int]) -> float:
    """In pixels, for an image of this width and height."""
    return max(13.0, max(size) / 58)


def _rescaled(matrix: NDArray, scale: float) -> NDArray:
    """The photograph-to-face matrix of a photograph enlarged by `scale`."""
    # A pixel centre x of the enlarged image lies at (x + 0.5) / scale - 0.5 of the original.
    offset = 0.5 / scale - 0.5
    shifted = matrix[:, 2] + matrix[:, :2] @ np.array([offset, offset])
    return np.column_stack([matrix[:, :2] / scale, shifted])


def draw_boxes(
    picture: Image.Image,
    faces: Sequence[FaceResult],
    numbers: Sequence[int],
    scale: float,
    unit: float,
) -> None:
    """Draws the faces' boxes, each with its number, onto an image enlarged by `scale`."""
    pen = ImageDraw.Draw(picture)
    line = max(2, round(unit / 7))
    for number, face in zip(numbers, faces, strict=True):
        left, top, right, bottom = (float(side) * scale for side in face.box)
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, picture.width - 1), min(bottom, picture.height - 1)
        if right <= left or bottom <= top:
            continue
        pen.rectangle((left, top, right, bottom), outline=BOX_COLOR, width=line)
        # The badge of a small face is small too: it must not hide a neighbour.
        size = min(unit, max(11.0, (right - left) / 3.5))
        font = ImageFont.load_default(size)
        text = str(number)
        wide, high = pen.textlength(text, font) + 0.7 * size, 1.3 * size
        floor = top + line if top >= high else top + high  # above the box where there is room
        tag = (left, floor - high, left + wide, floor)
        pen.rectangle(tag, fill=BOX_COLOR)
        pen.text(((tag[0] + tag[2]) / 2, (tag[1] + tag[3]) / 2), text, (0, 0, 0), font, anchor="mm")


@dataclass
class _Layout:
    size: tuple[int, int]
    places: list[tuple[int, int]]


def _beside(picture: Image.Image, cards: Sequence[Image.Image], gap: int) -> Image.Image:
    """The image with its cards to the right or below: whichever makes the handier sheet."""
    right = _columns(cards, picture.height - 2 * gap, gap)
    below = _columns_of_width(cards, picture.width - 2 * gap, gap)
    wide = (picture.width + right.size[0] + gap, max(picture.height, right.size[1] + gap))
    tall = (max(picture.width, below.size[0] + gap), picture.height + below.size[1] + gap)
    beside = _unwieldiness(*wide) <= _unwieldiness(*tall)
    sheet = Image.new("RGB", wide if beside else tall, PAPER)
    sheet.paste(picture, (0, 0))
    x0, y0 = (picture.width, 0) if beside else (0, picture.height)
    for card, (x, y) in zip(cards, (right if beside else below).places, strict=True):
        sheet.paste(card, (x0 + x, y0 + y))
    return sheet


def _unwieldiness(width: int, height: int) -> float:
    """Grows with the sheet's area and with its distance from a square: a ribbon is hard to view."""
    return width * height * (max(width, height) / min(width, height)) ** 0.5


def _columns(cards: Sequence[Image.Image], height: int, gap: int) -> _Layout:
    """Fills columns of at most `height` (or of the tallest card) from top to bottom."""
    height = max(height, *(card.height for card in cards))
    x, y, places, lowest = gap, gap, [], 0
    for card in cards:
        if y > gap and y + card.height > height + gap:
            x, y = x + card.width + gap, gap
        places.append((x, y))
        y += card.height + gap
        lowest = max(lowest, y)
    return _Layout((x + cards[0].width, lowest), places)


def _columns_of_width(cards: Sequence[Image.Image], width: int, gap: int) -> _Layout:
    """Puts each card into the shortest of as many columns as fit into `width`."""
    card_width = cards[0].width
    count = max(1, min(len(cards), (width + gap) // (card_width + gap)))
    ends = [gap] * count
    places = []
    for card in cards:
        column = int(np.argmin(ends))
        places.append((gap + column * (card_width + gap), ends[column]))
        ends[column] += card.height + gap
    return _Layout((count * (card_width + gap), max(ends)), places)
