"""The region ids that the renderer writes for every pixel, and the group masks they stand for."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Region"]


class Region(IntEnum):
    """What a pixel of a rendered picture shows: the values of `regions/*.png`."""

    BACKGROUND = 0
    SKIN = 1
    CLOTHING = 2
    LIPS = 3
    EYE = 4
    EAR = 5
    MOUTH_INSIDE = 6  # teeth, tongue
    HAIR = 7
    BROW = 8
    BEARD = 9
    GLASSES = 10
    EARRING = 11
    HAT = 12
    NECK = 13  # skin below the jaw
    NECKLACE = 14
    NECKTIE = 15
    NOSE = 16
