"""What can be decided about a face: which groups are seen, and whether it is to be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.typing import NDArray

__all__ = ["SMALLEST_SHARE", "TOLD_UNSEEN", "can_be_told", "decide", "is_child", "unseen_groups"]

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


def is_child(childlike: float | None) -> bool:
    """Whether a face is not answered for its proportions.

    Args:
        childlike: Probability that it is a child's; None if that is not asked or cannot be told.
    """
    return childlike is not None and childlike >= 0.5


def decide(
    probabilities: Mapping[str, float],
    thresholds: Mapping[str, float],
    group_of: Mapping[str, str],
    unseen: Sequence[str],
    groups: Sequence[str],
    childlike: float | None = None,
) -> dict[str, bool | None]:
    """By attribute, whether its probability reaches its threshold; None where it is not decided.

    Args:
        probabilities: By attribute.
        thresholds: By attribute.
        group_of: By attribute, its group.
        unseen: From `unseen_groups`.
        groups: Names of all groups; none for a model without masks.
        childlike: See `is_child`; nothing is decided about a child.
    """
    child = is_child(childlike)
    return {
        name: value >= thresholds[name]
        if not child and can_be_told(name, group_of[name], unseen, groups)
        else None
        for name, value in probabilities.items()
    }
