"""Draws results: a photograph with boxes and group masks, and a card per face next to it.

Text never covers the photograph: each face has a number, and its attributes are listed on a card
of that number beside or below the image. So nothing overlaps, however many faces there are.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from far_keras.recognition.results import FaceResult

__all__ = ["draw_faces", "draw_frame", "group_colors", "overlay_masks"]

Color = tuple[int, int, int]
Pixels = NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Places = list[tuple[int, int]]

_INK: Color = (240, 240, 240)
_PAPER: Color = (24, 26, 30)
_BOX: Color = (0, 230, 160)
_CARD: Color = (38, 41, 47)
_FAINT: Color = (160, 165, 172)
_GROUPS: tuple[Color, ...] = (
    (230, 25, 75),  # red
    (245, 130, 48),  # orange
    (67, 99, 216),  # blue
    (255, 225, 25),  # yellow
    (66, 212, 244),  # cyan
    (60, 180, 75),  # green
    (160, 60, 200),  # purple
    (235, 235, 235),  # near white: in CelebA's schema the whole head, which the others lie on
)

_SMALLEST_SIDE = 720  # a smaller image is enlarged: its faces would be tiny next to the text
_CARD_WIDTH = 17  # text heights
_OPACITY = 0.4  # of the masks' tints
_LISTED = (8, 6, 4, 3)  # attributes on a card of a video, the most for which all cards fit


def draw_faces(image: Pixels, faces: Sequence[FaceResult], *, masks: bool = True) -> Pixels:
    """An annotated copy of a photograph.

    Args:
        image: (H, W, 3) uint8 RGB, the photograph that `faces` were found in.
        faces: From a `Recognizer`.
        masks: Whether to draw the group masks over the faces.

    Returns:
        uint8 RGB, larger than `image`: cards are to the right or below, whichever gives the
        smaller and squarer sheet. An image whose longer side is below 720 pixels is enlarged
        first.
    """
    canvas, scale = _enlarged(image, faces if masks else ())
    unit = _text_height(canvas.size)
    _draw_boxes(canvas, faces, range(1, len(faces) + 1), scale, unit)
    listed = 16 if len(faces) == 1 else 10 if len(faces) <= 4 else 6
    cards = [_face_card(number, face, listed, unit) for number, face in enumerate(faces, 1)]
    if masks and (named := next((f for f in faces if f.masks is not None), None)):
        cards.append(_legend_card(named.groups, unit))
    if not faces:
        cards.append(_text_card("No face found", unit))
    return np.asarray(_beside(canvas, cards, round(unit * 0.6)))


def draw_frame(image: Pixels, faces: Sequence[FaceResult]) -> Pixels:
    """An annotated copy of a frame; all frames of one size give copies of one size.

    Each face has the number of its track, and so has its card. Cards are in the order of the
    tracks; if there is no room for all, the panel says how many are left out.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: With their tracks.
    """
    faces = sorted(faces, key=lambda face: face.track or 0)
    canvas, scale = _enlarged(image, faces)
    unit = _text_height(canvas.size)
    numbers = [face.track or number for number, face in enumerate(faces, 1)]
    _draw_boxes(canvas, faces, numbers, scale, unit)
    gap = round(unit * 0.6)
    sheet = Image.new(
        "RGB", (canvas.width + round(unit * _CARD_WIDTH) + 2 * gap, canvas.height), _PAPER
    )
    sheet.paste(canvas)
    cards = _face_cards(numbers, faces, sheet.height - gap, gap, unit)
    if named := next((f for f in faces if f.masks is not None), None):
        cards.append(_legend_card(named.groups, unit))
    y = gap
    for card in cards:
        if y + card.height + gap <= sheet.height:
            sheet.paste(card, (canvas.width + gap, y))
            y += card.height + gap
    return np.asarray(sheet)


def group_colors(count: int) -> tuple[Color, ...]:
    """One colour for each group mask, in the order of the mask channels."""
    extra = max(0, count - len(_GROUPS))
    hues = (colorsys.hsv_to_rgb(k / extra, 0.55, 0.85) for k in range(extra))
    more = tuple((int(255 * r), int(255 * g), int(255 * b)) for r, g, b in hues)
    return (_GROUPS + more)[:count]


def overlay_masks(image: Pixels, masks: NDArray[Any], matrix: NDArray[Any] | None = None) -> Pixels:
    """Tints the pixels of each group mask in the group's colour, with a solid outline.

    Where masks overlap the smaller one is on top, so the mouth shows on the lower face. A mask
    that most of the others lie in (the whole head) is drawn as an outline only.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (G, h, w) probabilities over the aligned 178x218 face.
        matrix: (2, 3) pixels of `image` to pixels of the aligned face; None if `image` is the
            aligned face itself, at any size.

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
    inside = warped >= 0.5
    patch = result[top:bottom, left:right].astype(np.float32)
    line = max(1, round((bottom - top) / 220))
    colors = np.array(group_colors(len(masks)), np.float32)
    owner = np.full(inside.shape[1:], -1)
    order = np.argsort(-inside.sum(axis=(1, 2)), kind="stable")
    # The whole head gets an outline only: the face keeps its colours.
    whole = len(order) > 1 and _contains_others(inside, order[0])
    for group in order[int(whole) :]:
        owner[inside[group]] = group
    tinted = owner >= 0
    patch[tinted] = (1 - _OPACITY) * patch[tinted] + _OPACITY * colors[owner[tinted]]
    for group in order:
        edge = inside[group] & ~_erode(inside[group], line)
        patch[edge] = 0.15 * patch[edge] + 0.85 * colors[group]
    result[top:bottom, left:right] = np.clip(np.rint(patch), 0, 255).astype(np.uint8)
    return result


# The photograph


def _enlarged(image: Pixels, faces: Sequence[FaceResult]) -> tuple[Image.Image, float]:
    """A copy to draw on, with the masks of `faces`, and its scale relative to `image`."""
    scale = max(1.0, _SMALLEST_SIDE / max(image.shape[:2]))
    canvas = Image.fromarray(image)
    if scale > 1:
        size = (round(canvas.width * scale), round(canvas.height * scale))
        canvas = canvas.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(canvas)
    for face in faces:
        if face.masks is not None:
            pixels = overlay_masks(pixels, face.masks, _rescaled(face.matrix, scale))
    return Image.fromarray(pixels), scale


def _text_height(size: tuple[int, int]) -> float:
    """In pixels, for an image of this width and height."""
    return max(13.0, max(size) / 58)


def _rescaled(matrix: NDArray[Any], scale: float) -> NDArray[Any]:
    """The photograph-to-face matrix of a photograph enlarged by `scale`."""
    # A pixel centre x of the enlarged image lies at (x + 0.5) / scale - 0.5 of the original.
    offset = 0.5 / scale - 0.5
    shifted = matrix[:, 2] + matrix[:, :2] @ np.array([offset, offset])
    return np.column_stack([matrix[:, :2] / scale, shifted])


def _draw_boxes(
    canvas: Image.Image,
    faces: Sequence[FaceResult],
    numbers: Sequence[int],
    scale: float,
    unit: float,
) -> None:
    """Draws the faces' boxes, each with its number, onto an image enlarged by `scale`."""
    pen = ImageDraw.Draw(canvas)
    line = max(2, round(unit / 7))
    for number, face in zip(numbers, faces, strict=True):
        left, top, right, bottom = (float(side) * scale for side in face.box)
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, canvas.width - 1), min(bottom, canvas.height - 1)
        if right <= left or bottom <= top:
            continue
        pen.rectangle((left, top, right, bottom), outline=_BOX, width=line)
        # The badge of a small face is small too: it must not hide a neighbour.
        size = min(unit, max(11.0, (right - left) / 3.5))
        font = ImageFont.load_default(size)
        text = str(number)
        wide, high = pen.textlength(text, font) + 0.7 * size, 1.3 * size
        floor = top + line if top >= high else top + high  # above the box where there is room
        tag = (left, floor - high, left + wide, floor)
        pen.rectangle(tag, fill=_BOX)
        pen.text(((tag[0] + tag[2]) / 2, (tag[1] + tag[3]) / 2), text, (0, 0, 0), font, anchor="mm")


def _footprint(matrix: NDArray[Any], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the aligned frame in the image, clipped to it."""
    corners = np.array([[-0.5, -0.5], [177.5, -0.5], [177.5, 217.5], [-0.5, 217.5]])
    placed = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    left, top = np.floor(placed.min(axis=0) + 0.5).astype(int)
    right, bottom = np.ceil(placed.max(axis=0) + 0.5).astype(int)
    return max(0, left), max(0, top), min(width, right), min(height, bottom)


def _warp(
    mask: NDArray[Any], matrix: NDArray[Any], area: tuple[int, int, int, int]
) -> NDArray[Any]:
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


def _contains_others(inside: NDArray[Any], group: int) -> bool:
    """Whether a group's mask contains at least three quarters of the pixels of all others."""
    others = np.delete(inside, group, axis=0).any(axis=0)
    return bool((others & inside[group]).sum() >= 0.75 * others.sum())


def _erode(inside: NDArray[Any], steps: int) -> NDArray[Any]:
    for _ in range(steps):
        padded = np.pad(inside, 1)
        inside = (
            inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        )
    return inside


# Cards


def _face_cards(
    numbers: Sequence[int], faces: Sequence[FaceResult], room: int, gap: int, unit: float
) -> list[Image.Image]:
    """One card per face, longer if there are few; the last card counts those that do not fit."""
    for listed in _LISTED:
        cards = [_face_card(n, face, listed, unit) for n, face in zip(numbers, faces, strict=True)]
        if sum(card.height + gap for card in cards) <= room:
            return cards
    rest = _text_card("", unit).height + gap
    shown, used = 0, rest
    while shown < len(cards) and used + cards[shown].height + gap <= room:
        used += cards[shown].height + gap
        shown += 1
    return [*cards[:shown], _text_card(f"and {len(cards) - shown} more faces", unit)]


def _face_card(number: int, face: FaceResult, attributes: int, unit: float) -> Image.Image:
    """The results of one face: at most `attributes` "yes" decisions, by falling certainty.

    `number` is drawn on the photograph too; `unit` is the height of the text in pixels.
    """
    yes = [name for name, decision in face.decisions.items() if decision]
    yes.sort(key=lambda name: -face.certainty(name))
    shown, rest = yes[:attributes], len(yes) - attributes
    colors = dict(zip(face.groups, group_colors(len(face.groups)), strict=True))
    line = unit * 1.45
    hidden = bool(face.not_visible)
    height = line * (1.3 + max(1, len(shown)) + 0.9 * ((rest > 0) + hidden)) + unit * 0.7
    card = Image.new("RGB", (round(unit * _CARD_WIDTH), round(height)), _CARD)
    pen = ImageDraw.Draw(card)
    bold, font = ImageFont.load_default(unit * 1.1), ImageFont.load_default(unit)
    edge, middle = unit * 0.7, unit * 0.5 + line / 2
    text = f"{number}"
    tag = (
        edge,
        middle - 0.75 * unit,
        edge + pen.textlength(text, bold) + 0.8 * unit,
        middle + 0.75 * unit,
    )
    pen.rectangle(tag, fill=_BOX)
    pen.text(((tag[0] + tag[2]) / 2, middle), text, (0, 0, 0), bold, anchor="mm")
    pen.text((tag[2] + 0.6 * unit, middle), f"face, {face.confidence:.0%} sure", _FAINT, font, "lm")
    middle += line * 1.15
    for name in shown:
        color = colors.get(face.group_of.get(name, ""), _FAINT)
        pen.rectangle(
            (edge, middle - 0.3 * unit, edge + 0.6 * unit, middle + 0.3 * unit), fill=color
        )
        share = f"{face.certainty(name):.0%}"
        room = card.width - 2 * edge - unit - pen.textlength("100%", font) - 0.4 * unit
        label = _fitted(name.replace("_", " "), room, font, pen)
        pen.text((edge + unit, middle), label, _INK, font, anchor="lm")
        pen.text((card.width - edge, middle), share, _FAINT, font, anchor="rm")
        middle += line
    if not shown:
        why = "a child: nothing decided" if face.is_child else "no attribute decided yes"
        pen.text((edge, middle), why, _FAINT, font, anchor="lm")
        middle += line
    if rest > 0:
        pen.text((edge + unit, middle), f"and {rest} more", _FAINT, font, anchor="lm")
        middle += line * 0.9
    if hidden:
        groups = "not visible: " + ", ".join(face.not_visible)
        groups = _fitted(groups, card.width - 2 * edge, font, pen)
        pen.text((edge, middle), groups, _FAINT, font, anchor="lm")
    return card


def _legend_card(groups: Sequence[str], unit: float) -> Image.Image:
    """The colours of the group masks: squares with names, in as many equal columns as fit."""
    width, font = round(unit * 15.6), ImageFont.load_default(unit)
    longest = max(font.getlength(name) for name in groups)
    columns = max(1, min(len(groups), int(width // (longest + 2.2 * unit))))
    height = round(-(-len(groups) // columns) * unit * 1.5)
    card = Image.new("RGB", (round(unit * _CARD_WIDTH), height + round(unit * 2.4)), _PAPER)
    ImageDraw.Draw(card).text((unit * 0.7, unit), "masks of the groups", _FAINT, font, "lm")
    strip = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(strip)
    for k, (name, color) in enumerate(zip(groups, group_colors(len(groups)), strict=True)):
        x = (k % columns) * width / columns
        y = (k // columns + 0.5) * unit * 1.5
        pen.rectangle((x, y - 0.45 * unit, x + 0.9 * unit, y + 0.45 * unit), fill=color)
        pen.text((x + 1.4 * unit, y), name, _INK, font, anchor="lm")
    card.paste(strip, (round(unit * 0.7), round(unit * 2)))
    return card


def _text_card(text: str, unit: float) -> Image.Image:
    """One line of text."""
    card = Image.new("RGB", (round(unit * _CARD_WIDTH), round(unit * 2.4)), _CARD)
    font = ImageFont.load_default(unit)
    ImageDraw.Draw(card).text((unit * 0.7, unit * 1.2), text, _INK, font, anchor="lm")
    return card


def _fitted(text: str, room: float, font: Font, pen: ImageDraw.ImageDraw) -> str:
    if pen.textlength(text, font) <= room:
        return text
    while text and pen.textlength(text + "...", font) > room:
        text = text[:-1]
    return text + "..."


# Sheets of cards


def _beside(canvas: Image.Image, cards: Sequence[Image.Image], gap: int) -> Image.Image:
    """The image with its cards to the right or below: whichever is less unwieldy."""
    width, height, right = _columns_of_height(cards, canvas.height - 2 * gap, gap)
    wide = (canvas.width + width + gap, max(canvas.height, height + gap))
    width, height, below = _columns_of_width(cards, canvas.width - 2 * gap, gap)
    tall = (max(canvas.width, width + gap), canvas.height + height + gap)
    beside = _unwieldiness(*wide) <= _unwieldiness(*tall)
    sheet = Image.new("RGB", wide if beside else tall, _PAPER)
    sheet.paste(canvas, (0, 0))
    x0, y0 = (canvas.width, 0) if beside else (0, canvas.height)
    for card, (x, y) in zip(cards, right if beside else below, strict=True):
        sheet.paste(card, (x0 + x, y0 + y))
    return sheet


def _unwieldiness(width: int, height: int) -> float:
    """Grows with the sheet's area and its distance from a square."""
    return width * height * (max(width, height) / min(width, height)) ** 0.5


def _columns_of_height(
    cards: Sequence[Image.Image], height: int, gap: int
) -> tuple[int, int, Places]:
    """Fills columns of at most `height` (or of the tallest card); width, height and places."""
    height = max(height, *(card.height for card in cards))
    x, y, places, lowest = gap, gap, [], 0
    for card in cards:
        if y > gap and y + card.height > height + gap:
            x, y = x + card.width + gap, gap
        places.append((x, y))
        y += card.height + gap
        lowest = max(lowest, y)
    return x + cards[0].width, lowest, places


def _columns_of_width(
    cards: Sequence[Image.Image], width: int, gap: int
) -> tuple[int, int, Places]:
    """Adds each card to the shortest column; width, height and places."""
    card_width = cards[0].width
    count = max(1, min(len(cards), (width + gap) // (card_width + gap)))
    ends = [gap] * count
    places = []
    for card in cards:
        column = int(np.argmin(ends))
        places.append((gap + column * (card_width + gap), ends[column]))
        ends[column] += card.height + gap
    return count * (card_width + gap), max(ends), places
