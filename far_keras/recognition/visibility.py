"""Which groups of attributes can be seen in a face at all."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

__all__ = ["SMALLEST_SHARE", "TOLD_UNSEEN", "unseen_groups"]

SMALLEST_SHARE = 1 / 400
"""Share of the aligned frame that a group's mask must cover: 3 cells of a mask of 32 x 32."""

TOLD_UNSEEN = frozenset({"Bald", "Eyeglasses", "Wearing_Hat"})
"""Attributes that are told by their region's absence or by what covers it: always decided."""


def unseen_groups(masks: NDArray, groups: Sequence[str]) -> tuple[str, ...]:
    """The groups whose mask is empty: less than `SMALLEST_SHARE` of it reaches one half.

    Args:
        masks: (h, w, G) probabilities.
        groups: The G names.
    """
    seen = (masks >= 0.5).mean(axis=(0, 1)) >= SMALLEST_SHARE
    return tuple(name for name, is_seen in zip(groups, seen, strict=True) if not is_seen)
