"""What a network needs and answers: an image, perhaps masks; attributes, perhaps masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from far_keras.errors import ModelError

if TYPE_CHECKING:
    import keras

__all__ = ["given_mask_size", "mask_size", "require_recogniser"]


def given_mask_size(model: keras.Model) -> int | None:
    """Height and width of the masks (B, h, h, G) that are an input, see `mgmtn`; None without."""
    return next((tensor.shape[1] for tensor in model.inputs if tensor.name == "masks"), None)


def mask_size(model: keras.Model) -> int | None:
    """Height and width of the masks that a network predicts or is given; None without masks."""
    return model.output["masks"].shape[1] if "masks" in model.output else given_mask_size(model)


def require_recogniser(model: keras.Model, purpose: str) -> None:
    """Refuses a network that does not answer attributes from an image alone.

    Args:
        model: The network.
        purpose: What is to be done with it, such as ``"recognition"``.

    Raises:
        ModelError: Masks are one of its inputs, or it answers masks only.
    """
    if "attributes" not in model.output:
        raise ModelError(
            f"model: {purpose} needs a network that answers attributes. Received: {model.name!r} "
            "of task 'masks', a mask network alone, which `far-keras evaluate` measures and "
            "`far-keras train --mask-mode two_stage --masks-from` starts from"
        )
    if given_mask_size(model) is not None:
        raise ModelError(
            f"model: {purpose} needs a network that answers from images alone. Received: "
            f"{model.name!r} with mask_mode 'given', whose masks come from records: it is an upper "
            "bound to measure with `far-keras evaluate`. Train with mask_mode joint or two_stage"
        )
