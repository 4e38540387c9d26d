"""The networks and trainings that are compared, each one change away from the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from far_keras.errors import FarError

__all__ = ["ARMS", "REFERENCE", "Arm", "ArmError", "choose_arms"]

REFERENCE = "mgmtn"


class ArmError(FarError, ValueError):
    """No comparison has the name that was asked for."""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Args:
        name: What it is called in tables and folders.
        question: What its difference to the reference shows.
        network: ``"mgmtn"`` or ``"baseline"``.
        model: Arguments of the network that differ from its defaults.
        training: Fields of `TrainConfig` that differ from the study's.
    """

    name: str
    question: str
    network: str = "mgmtn"
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


_FUSED = {"global_path": True}

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            "mgmtn",
            "the reference: predicted masks, shared decoder, P3 and P4, no global feature",
            model={"levels": ["P3", "P4"], "global_path": False},
        ),
        Arm("baseline", "plain multi-task network on the same backbone", "baseline"),
        Arm(
            "baseline_p4", "the same, ending at P4 like the reference", "baseline", {"level": "P4"}
        ),
        # Masks.
        Arm("ones", "no masks: every group sees the whole picture", model={"masks": "ones"}),
        Arm("unet", "the paper's separate mask network", model={"mask_network": "unet"}),
        Arm("taught_true", "masks taught by the true regions", training={"masks": "true"}),
        Arm(
            "given_landmarks",
            "landmark masks as an input, at the test too",
            training={"mask_mode": "given", "masks": "landmarks"},
        ),
        Arm(
            "given_true",
            "the true regions as an input, at the test too: an upper bound",
            training={"mask_mode": "given", "masks": "true"},
        ),
        # Fusion with the global feature.
        Arm("concat", "global feature by concat, and a shortcut", model=_FUSED),
        Arm("gated", "global feature by gates, and a shortcut", model=_FUSED | {"fusion": "gated"}),
        Arm("sum", "global feature by sum, and a shortcut", model=_FUSED | {"fusion": "sum"}),
        Arm(
            "no_shortcut",
            "global feature by concat, without the shortcut",
            model=_FUSED | {"global_shortcut": False},
        ),
        Arm("no_group", "the global feature alone", model=_FUSED | {"group_path": False}),
        # Levels.
        Arm("p345", "P3, P4 and P5", model={"levels": ["P3", "P4", "P5"]}),
        Arm(
            "p345_concat",
            "P3 to P5 with global feature and shortcut, as the paper draws it",
            model=_FUSED | {"levels": ["P3", "P4", "P5"]},
        ),
        # Training.
        Arm("swap", "regions swapped in half of the pictures", training={"region_swap": 0.5}),
    )
}
"""By name, in the order of the tables."""


def choose_arms(names: Iterable[str] | None) -> list[Arm]:
    """The arms of these names, in the order of `ARMS`, the reference always among them.

    Args:
        names: None for all.

    Raises:
        ArmError: An unknown name.
    """
    if names is None:
        return list(ARMS.values())
    wanted = {REFERENCE, *names}
    if unknown := sorted(wanted - set(ARMS)):
        raise ArmError(f"arms: unknown {unknown}; known are {', '.join(ARMS)}")
    return [arm for arm in ARMS.values() if arm.name in wanted]
