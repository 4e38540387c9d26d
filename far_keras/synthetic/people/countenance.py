"""How a face looks in an image: its skin, its expression and its make-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from far_keras.synthetic.parameters import Expression, Makeup, Person, Skin
from far_keras.synthetic.people import palette
from far_keras.synthetic.people.complexion import lip_color, skin_tone

__all__ = ["draw_expression", "draw_makeup", "draw_skin"]

LOOKS_AWAY, LOOKS_DOWN = 0.06, 0.06  # shares of images
SMILING = 0.5  # strength from which an open mouth shows its teeth


def draw_skin(rng: np.random.Generator, male: bool) -> Skin:
    """A person's skin; `docs/synthetic.md` has the distributions."""
    shaded = rng.random() < 0.25
    blemished = rng.random() < 0.15
    return Skin(
        pores=float(np.clip(rng.normal(0.5 if male else 0.35, 0.2), 0, 1)),
        shine=float(rng.beta(1.6, 2.0)),
        moles=float(rng.beta(1.0, 3.0)),
        blemishes=float(rng.uniform(0.3, 1.0)) if blemished else 0.0,
        mouth_shade=float(rng.uniform(0.3, 1.0)) if shaded else float(rng.uniform(0, 0.15)),
        lip_depth=float(np.clip(rng.normal(0.15 if male else 0.85, 0.2), 0, 1)),
        smile_folds=float(rng.beta(1.3, 1.8 if male else 2.4)),
        teeth=float(rng.beta(3.0, 1.6)),
    )


def draw_expression(
    rng: np.random.Generator, smile: float, mouth_open: bool, sure: frozenset[str]
) -> Expression:
    """An expression with a smile of that strength.

    Args:
        rng: Source of the rest.
        smile: 0 .. 1.
        mouth_open: Whether lips part: in a smile they mostly bare the teeth, else the jaw drops.
        sure: Forced attributes, which nothing may hide.
    """
    grin = jaw_open = 0.0
    if mouth_open and smile >= SMILING:
        grin = float(rng.uniform(0.55, 1.0))
        jaw_open = float(0.05 + 0.28 * rng.beta(1.0, 3.0))
    elif mouth_open:
        grin = float(rng.uniform(0.0, 0.5))
        jaw_open = float(0.10 + 0.33 * rng.beta(1.2, 2.4))
    gaze = np.clip(rng.normal((0, -1), (7, 4)), -18, 9)
    chance, eyes_needed = rng.random(), bool(sure & {"Narrow_Eyes", "Bags_Under_Eyes"})
    blink = rng.uniform(0.0, 0.08)
    if chance < LOOKS_AWAY:
        gaze[0] = rng.choice((-1, 1)) * rng.uniform(18, 30)
    elif chance < LOOKS_AWAY + LOOKS_DOWN and not eyes_needed:
        gaze[1] = -rng.uniform(14, 26)
        blink = rng.uniform(0.1, 0.9)
    pouts = smile < 0.1 and not mouth_open and rng.random() < 0.05
    return Expression(
        smile=smile,
        grin=grin,
        jaw_open=jaw_open,
        brow_raise=float(np.clip(rng.normal(0.12, 0.16), -0.2, 0.6)),
        squint=float(np.clip(0.3 * smile * rng.random() + rng.uniform(0, 0.15), 0, 1)),
        blink=float(blink),
        pucker=float(rng.uniform(0.2, 0.5)) if pouts else 0.0,
        gaze=(float(gaze[0]), float(gaze[1])),
    )


def draw_makeup(
    rng: np.random.Generator,
    person: Person,
    drawn: Mapping[str, Any],
    strength: Callable[[str], float],
) -> Makeup:
    """Make-up with the attributes `drawn`, whose strengths `strength` draws by name."""
    heavy = strength("Heavy_Makeup")
    # Who wears lipstick mostly wears some mascara: that alone is no heavy makeup.
    light = rng.uniform(0.0, 0.6) if drawn["Wearing_Lipstick"] else 0.0
    tone = skin_tone(person.melanin, person.skin_redness)
    lips = palette.rgb(lip_color(tone, person.skin.lip_depth))
    # Women's own lashes are darker and longer, too: eyes and lips stand out more from their skin
    # than men's (Russell, Perception 38, 2009).
    own = 0.0 if person.male else rng.uniform(0.35, 0.75)
    winged = drawn["Heavy_Makeup"] and rng.random() < 0.4
    return Makeup(
        lipstick=strength("Wearing_Lipstick"),
        lipstick_color=palette.lipstick(rng, lips),
        lip_gloss=float(rng.beta(1.0, 1.6)),
        eyeshadow=heavy,
        eyeshadow_color=palette.tone(rng, palette.EYESHADOWS),
        eyeliner=float(np.clip(max(heavy * rng.uniform(0.5, 1.2), light), 0, 1)),
        wing=float(rng.uniform(0.3, 1.0)) if winged else 0.0,
        lashes=float(np.clip(max(heavy * rng.uniform(0.4, 1.2), light, own), 0, 1)),
        blush=strength("Rosy_Cheeks"),
        foundation=float(np.clip(heavy * rng.uniform(0.6, 1.1), 0, 1)),
        contour=float(heavy * rng.uniform(0.0, 1.0)),
    )
