"""Cards of answers: one for each face, and one that names the colours of the group masks."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from far_keras.recognition.overlay import INK, PAPER, Color, group_colors, legend
from far_keras.recognition.results import FaceResult

__all__ = ["BOX_COLOR", "CARD_WIDTH", "face_card", "legend_card", "text_card"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BOX_COLOR: Color = (0, 230, 160)
CARD_WIDTH = 17  # text heights

_CARD: Color = (38, 41, 47)
_FAINT: Color = (160, 165, 172)


def face_card(number: int, face: FaceResult, attributes: int, unit: float) -> Image.Image:
    """What is answered of one face.

    Args:
        number: The badge's, as on the photograph.
        face: As the recogniser returned it.
        attributes: How many "yes" answers are listed at most, the surest first.
        unit: Height of the text, pixels.
    """
    yes = [name for name, decision in face.decisions.items() if decision]
    yes.sort(key=lambda name: -face.certainty(name))
    shown, rest = yes[:attributes], len(yes) - attributes
    colors = dict(zip(face.groups, group_colors(len(face.groups)), strict=True))
    line = unit * 1.45
    hidden = bool(face.not_visible)
    height = line * (1.3 + max(1, len(shown)) + 0.9 * ((rest > 0) + hidden)) + unit * 0.7
    card = Image.new("RGB", (round(unit * CARD_WIDTH), round(height)), _CARD)
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
    pen.rectangle(tag, fill=BOX_COLOR)
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
        pen.text((edge + unit, middle), label, INK, font, anchor="lm")
        pen.text((card.width - edge, middle), share, _FAINT, font, anchor="rm")
        middle += line
    if not shown:
        why = "a child: nothing decided" if face.is_child else "no attribute answered yes"
        pen.text((edge, middle), why, _FAINT, font, anchor="lm")
        middle += line
    if rest > 0:
        pen.text((edge + unit, middle), f"and {rest} more", _FAINT, font, anchor="lm")
        middle += line * 0.9
    if hidden:
        said = _fitted(
            "not visible: " + ", ".join(face.not_visible), card.width - 2 * edge, font, pen
        )
        pen.text((edge, middle), said, _FAINT, font, anchor="lm")
    return card


def legend_card(groups: Sequence[str], unit: float) -> Image.Image:
    """The colours of the group masks."""
    strip = legend(groups, unit, round(unit * 15.6))
    card = Image.new("RGB", (round(unit * CARD_WIDTH), strip.height + round(unit * 2.4)), PAPER)
    ImageDraw.Draw(card).text(
        (unit * 0.7, unit), "where each group looks", _FAINT, ImageFont.load_default(unit), "lm"
    )
    card.paste(strip, (round(unit * 0.7), round(unit * 2)))
    return card


def text_card(text: str, unit: float) -> Image.Image:
    """One line of text."""
    card = Image.new("RGB", (round(unit * CARD_WIDTH), round(unit * 2.4)), _CARD)
    font = ImageFont.load_default(unit)
    ImageDraw.Draw(card).text((unit * 0.7, unit * 1.2), text, INK, font, anchor="lm")
    return card


def _fitted(text: str, room: float, font: Font, pen: ImageDraw.ImageDraw) -> str:
    if pen.textlength(text, font) <= room:
        return text
    while text and pen.textlength(text + "...", font) > room:
        text = text[:-1]
    return text + "..."
