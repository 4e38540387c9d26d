"""Which groups of attributes can be seen in a face at all."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

__all__ = ["SMALLEST_SHARE", "TOLD_UNSEEN", "can_be_told", "unseen_groups"]

SMALLEST_SHARE = 1 / 400
"""Share of the aligned frame that a group's mask must cover: 3 cells of a mask of 32 x 32."""

TOLD_UNSEEN = frozenset({"Bald", "Eyeglasses", "Wearing_Hat"})
"""Attributes that are told by their region's absence or by what covers it."""


def unseen_groups(masks: NDArray, groups: Sequence[str]) -> tuple[str, ...]:
    """The groups whose mask is empty: less than `SMALLEST_SHARE` of it reaches one half.

    Args:
        masks: (h, w, G) probabilities.
        groups: The G names.
    """
    seen = (masks >= 0.5).mean(axis=(0, 1)) >= SMALLEST_SHARE
    return tuple(name for name, is_seen in zip(groups, seen, strict=True) if not is_seen)


def can_be_told(attribute: str, group: str, unseen: Sequence[str], groups: Sequence[str]) -> bool:
    """Whether an attribute can be decided.

    It cannot where its group is unseen, unless it is one of `TOLD_UNSEEN`. Where all groups are
    unseen there is nobody, such as in a statue, and nothing is decided.

    Args:
        attribute: Its name.
        group: The attribute's group.
        unseen: From `unseen_groups`.
        groups: Names of all groups; none for a model without masks.
    """
    if group not in unseen:
        return True
    return attribute in TOLD_UNSEEN and len(unseen) < len(groups)
