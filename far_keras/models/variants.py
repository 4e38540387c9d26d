"""Networks that have a name, and how one is built from its stored description."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from far_keras.errors import ModelError
from far_keras.schema import CELEBA, AttributeSchema

if TYPE_CHECKING:
    import keras

__all__ = ["VARIANTS", "ModelConfig", "build_model"]

# The name's two parts: the network, and its backbone by its name in `backbones.BACKBONES`.
VARIANTS: dict[str, tuple[str, str]] = {
    "mgmtn_efficientnetlite0": ("mgmtn", "efficientnetlite0"),
    "baseline_efficientnetlite0": ("baseline", "efficientnetlite0"),
}
"""Named variants: (network, backbone)."""


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a named network again, apart from its schema.

    Args:
        variant: A name in `VARIANTS`.
        arguments: Keyword arguments of the network's function beside backbone, schema and name:
            ``image_size``, ``fusion`` and so on. What is left out keeps its default.
    """

    variant: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ModelError(
                f"variant must be one of {sorted(VARIANTS)}. Received: {self.variant!r}"
            )


def build_model(config: ModelConfig, schema: AttributeSchema = CELEBA) -> keras.Model:
    """Builds a named network with fresh weights.

    Args:
        config: Which network, and its arguments.
        schema: The attributes and groups that it answers.

    Returns:
        The model, named like the variant.

    Raises:
        ModelError: The network does not take one of the arguments, or refuses its value.
    """
    network, backbone = VARIANTS[config.variant]
    builder = _builder(network)
    allowed = set(inspect.signature(builder).parameters) - {"backbone", "schema", "name"}
    if unknown := sorted(set(config.arguments) - allowed):
        raise ModelError(
            f"variant {config.variant!r} does not take the arguments {unknown}; "
            f"it takes {sorted(allowed)}"
        )
    try:
        return builder(backbone, schema, name=config.variant, **config.arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"variant {config.variant!r} cannot be built with {dict(config.arguments)}: {error}"
        ) from error


def _builder(network: str) -> Callable[..., keras.Model]:
    # Imported here, so that the names are known without loading Keras.
    if network == "mgmtn":
        from far_keras.models.mgmtn import mgmtn

        return mgmtn
    from far_keras.models.baseline import baseline

    return baseline
