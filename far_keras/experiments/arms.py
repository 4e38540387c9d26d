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


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("mgmtn", "the reference: predicted masks, concat, shared decoder"),
        Arm("baseline", "plain multi-task network on the same backbone", "baseline"),
        Arm("ones", "no masks: every group sees the whole picture", model={"masks": "ones"}),
        Arm("no_global", "groups' features alone", model={"global_path": False}),
        Arm("no_group", "the global feature alone, beside the masks", model={"group_path": False}),
        Arm("no_shortcut", "no global answer of its own", model={"global_shortcut": False}),
        Arm("gated", "gated fusion", model={"fusion": "gated"}),
        Arm("sum", "fusion by sum", model={"fusion": "sum"}),
        Arm("unet", "the paper's separate mask network", model={"mask_network": "unet"}),
        Arm(
            "given_landmarks",
            "landmark masks as an input, at the test too",
            training={"mask_mode": "given", "masks": "landmarks"},
        ),
        Arm(
            "given_true",
            "the renderer's true regions as an input: an upper bound",
            training={"mask_mode": "given", "masks": "true"},
        ),
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
