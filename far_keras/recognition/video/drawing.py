"""Draws a frame of a video: boxes and masks on it, and a panel of cards of fixed width beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from far_keras.recognition.cards import CARD_WIDTH, face_card, legend_card, text_card
from far_keras.recognition.drawing import draw_boxes, enlarged, text_height
from far_keras.recognition.overlay import PAPER, Picture
from far_keras.recognition.results import FaceResult

__all__ = ["draw_frame"]

_LISTED = (8, 6, 4, 3)  # attributes on a card, the most for which all cards fit


def draw_frame(image: Picture, faces: Sequence[FaceResult], *, masks: bool = True) -> Picture:
    """An annotated copy of a frame; all frames of one size give copies of one size.

    Each face bears the number of its track, and so does its card. Cards stand in the order of the
    tracks; where there is no room for all, the panel says how many are left out.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: With their tracks.
        masks: Whether to draw the group masks.
    """
    faces = sorted(faces, key=lambda face: face.track or 0)
    picture, scale = enlarged(image, faces if masks else ())
    unit = text_height(picture.size)
    numbers = [face.track or number for number, face in enumerate(faces, 1)]
    draw_boxes(picture, faces, numbers, scale, unit)
    gap = round(unit * 0.6)
    sheet = Image.new(
        "RGB", (picture.width + round(unit * CARD_WIDTH) + 2 * gap, picture.height), PAPER
    )
    sheet.paste(picture)
    cards = _face_cards(numbers, faces, sheet.height - gap, gap, unit)
    if masks and (named := next((f for f in faces if f.masks is not None), None)):
        cards.append(legend_card(named.groups, unit))
    y = gap
    for card in cards:
        if y + card.height + gap <= sheet.height:
            sheet.paste(card, (picture.width + gap, y))
            y += card.height + gap
    return np.asarray(sheet)


def _face_cards(
    numbers: Sequence[int], faces: Sequence[FaceResult], room: int, gap: int, unit: float
) -> list[Image.Image]:
    """A card a face, the longer the fewer there are; what does not fit is counted on the last."""
    for listed in _LISTED:
        cards = [face_card(n, face, listed, unit) for n, face in zip(numbers, faces, strict=True)]
        if sum(card.height + gap for card in cards) <= room:
            return cards
    rest = text_card("", unit).height + gap
    shown, used = 0, rest
    while shown < len(cards) and used + cards[shown].height + gap <= room:
        used += cards[shown].height + gap
        shown += 1
    return [*cards[:shown], text_card(f"and {len(cards) - shown} more faces", unit)]
