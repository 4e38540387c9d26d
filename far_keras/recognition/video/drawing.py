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

_LISTED = 8  # attributes on a card


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
    cards = [
        face_card(number, face, _LISTED, unit) for number, face in zip(numbers, faces, strict=True)
    ]
    if masks and (named := next((f for f in faces if f.masks is not None), None)):
        cards.append(legend_card(named.groups, unit))
    y = gap
    for index, card in enumerate(cards):
        last = index == len(cards) - 1
        rest = text_card(f"{len(faces) - index} more", unit)
        room = sheet.height - y - gap - (0 if last else rest.height + gap)
        if card.height > room:
            if index < len(faces):
                sheet.paste(rest, (picture.width + gap, y))
            break
        sheet.paste(card, (picture.width + gap, y))
        y += card.height + gap
    return np.asarray(sheet)
