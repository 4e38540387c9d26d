"""The networks and trainings that are compared, each one change away from the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from far_keras.errors import FarError

__all__ = ["ARMS", "REFERENCE", "TRANSFER_ARMS", "Arm", "ArmError", "choose_arms"]

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
        Arm("ones", "no masks: every group sees the whole image", model={"masks": "ones"}),
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
        Arm(
            "p345_taught_true",
            "P3 to P5, masks taught by the true regions: the shipped model's recipe",
            model={"levels": ["P3", "P4", "P5"]},
            training={"masks": "true"},
        ),
        # Training.
        Arm("swap", "regions swapped in half of the images", training={"region_swap": 0.5}),
    )
}
"""By name, in the order of the tables."""

TRANSFER_ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("ema", "averaged weights", training={"ema": 0.99}),
        Arm("smoothing", "targets of 0.05 and 0.95", training={"label_smoothing": 0.1}),
        Arm(
            "slow_backbone",
            "a tenth of the learning rate for the backbone",
            training={"backbone_rate": 0.1},
        ),
        Arm("frozen_backbone", "the backbone as ImageNet left it", training={"backbone_rate": 0.0}),
        Arm("strong", "the look of images changed further", training={"photometric": "strong"}),
        Arm("larger_input", "160 pixels a side", training={"image_size": 160}),
        Arm("longer_schedule", "12 epochs", training={"epochs": 12}),
    )
}
"""By name: what may help a network to answer images of another kind than it learned from.

They are trained when they are asked for by name.
"""


def choose_arms(names: Iterable[str] | None) -> list[Arm]:
    """The arms of these names, in the order of `ARMS` and `TRANSFER_ARMS`.

    Args:
        names: The reference is always among them; None for all of `ARMS`.

    Raises:
        ArmError: An unknown name.
    """
    if names is None:
        return list(ARMS.values())
    known = ARMS | TRANSFER_ARMS
    wanted = {REFERENCE, *names}
    if unknown := sorted(wanted - set(known)):
        raise ArmError(f"arms: unknown {unknown}; known are {', '.join(known)}")
    return [arm for arm in known.values() if arm.name in wanted]
