"""Named networks, how one is built from its stored configuration, and the packaged model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import far_keras
from far_keras.errors import ModelError
from far_keras.extras import require_modules
from far_keras.schema import CELEBA, AttributeSchema

if TYPE_CHECKING:
    import keras

__all__ = [
    "PRETRAINED",
    "TASKS",
    "VARIANTS",
    "ModelConfig",
    "Variant",
    "build_model",
    "pretrained_folder",
]

TASKS = ("attributes", "masks")
"""What a network predicts: attributes (and masks, where it has them), or masks alone."""


class Variant(NamedTuple):
    """A network that has a name.

    Args:
        network: ``"mgmtn"`` or ``"baseline"``.
        backbone: A name in `far_keras.models.backbones.BACKBONES`.
        image_size: Default height and width of the input in pixels.
        mask_network: Default, ``"shared"`` or ``"unet"``; None for a network without masks, or for
            the default of `mgmtn`.
        options: Further defaults of the network's function.
    """

    network: str
    backbone: str
    image_size: int = 128
    mask_network: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the network's function."""
        arguments: dict[str, Any] = {"image_size": self.image_size, **self.options}
        if self.mask_network is not None:
            arguments["mask_network"] = self.mask_network
        return arguments

    @property
    def has_imagenet_weights(self) -> bool:
        """Whether ImageNet weights exist, see `load_imagenet_weights`."""
        return self.backbone == "efficientnetlite0"


# Limits each group to its own region: features that see little beyond it, and no feature of the
# whole image. docs/ablation.md has the measured effect.
_LOCAL: Mapping[str, Any] = MappingProxyType({"levels": ("P3", "P4"), "global_path": False})

VARIANTS: dict[str, tuple[Any, ...]] = {
    # The paper's, with its global feature: arXiv 2601.01408.
    "mgmtn_resnest50": Variant("mgmtn", "resnest50", 227, "unet"),
    # The same on a backbone of keras-cv.
    "mgmtn_resnet50": Variant("mgmtn", "resnet50", 227, "unet"),
    # For laptops and phones.
    "mgmtn_efficientnetlite0": Variant("mgmtn", "efficientnetlite0", 128, "shared", _LOCAL),
    "mgmtn_mobilenetv3small": Variant("mgmtn", "mobilenetv3small", 128, "shared", _LOCAL),
    # Baselines.
    "baseline_resnest50": Variant("baseline", "resnest50", 227),
    "baseline_resnet50": Variant("baseline", "resnet50", 227),
    "baseline_efficientnetlite0": Variant("baseline", "efficientnetlite0", 128),
    "baseline_mobilenetv3small": Variant("baseline", "mobilenetv3small", 128),
}
"""Named variants, each a `Variant` or a tuple of its fields."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that is needed to build a named network again, except its schema.

    Args:
        variant: A name in `VARIANTS`.
        arguments: Keyword arguments of the network's function other than backbone, schema and name:
            ``image_size``, ``fusion`` and so on. The default is the variant's
            (`Variant.arguments`), or else the function's.
        task: ``"attributes"``, or ``"masks"`` for the variant's mask network alone.
    """

    variant: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    task: str = "attributes"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ModelError(
                f"variant must be one of {sorted(VARIANTS)}. Received: {self.variant!r}"
            )
        if self.task not in TASKS:
            raise ModelError(f"task must be one of {TASKS}. Received: {self.task!r}")
        if self.task == "masks" and self.definition.network != "mgmtn":
            raise ModelError(
                f"task 'masks' needs a variant with a mask network. Received: {self.variant!r}"
            )

    @property
    def definition(self) -> Variant:
        """The variant's row of `VARIANTS`."""
        return Variant(*VARIANTS[self.variant])

    @property
    def all_arguments(self) -> dict[str, Any]:
        """The variant's arguments, overridden by those given."""
        return {**self.definition.arguments, **self.arguments}

    def written_out(self) -> ModelConfig:
        """The same network with every argument explicit, so that new defaults do not change it."""
        parameters = _parameters(self)
        arguments = {name: parameter.default for name, parameter in parameters.items()}
        return ModelConfig(self.variant, {**arguments, **_taken(self, parameters)}, self.task)


def build_model(config: ModelConfig, schema: AttributeSchema = CELEBA) -> keras.Model:
    """Builds a named network with random weights.

    Args:
        config: Which network, and its arguments.
        schema: The attributes and groups that it predicts.

    Returns:
        The model, named like the variant.

    Raises:
        ModelError: The network does not take one of the arguments, or refuses its value.
        MissingExtraError: Keras is not installed.
    """
    require_modules("train", "a Keras network", ("tensorflow", "keras", "keras_cv"))
    builder = _builder(config)
    backbone = config.definition.backbone
    allowed = set(_parameters(config))
    if unknown := sorted(set(config.arguments) - allowed):
        raise ModelError(
            f"variant {config.variant!r} does not take the arguments {unknown}; "
            f"it takes {sorted(allowed)}"
        )
    try:
        return builder(backbone, schema, name=config.variant, **_taken(config, allowed))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"variant {config.variant!r} cannot be built with {dict(config.arguments)}: {error}"
        ) from error


def _taken(config: ModelConfig, allowed: Collection[str]) -> dict[str, Any]:
    """All arguments, without the variant's that a mask network alone does not have."""
    return {
        name: value
        for name, value in config.all_arguments.items()
        if name in allowed or name in config.arguments
    }


def _parameters(config: ModelConfig) -> dict[str, inspect.Parameter]:
    """The arguments of a network's function that a `ModelConfig` may hold."""
    parameters = dict(inspect.signature(_builder(config)).parameters)
    return {
        name: parameter
        for name, parameter in parameters.items()
        if name not in ("backbone", "schema", "name")
    }


def _builder(config: ModelConfig) -> Callable[..., keras.Model]:
    # Imported here, so that the names are available without Keras.
    if config.task == "masks":
        from far_keras.models.mask_network import segmentation

        return segmentation
    if config.definition.network == "mgmtn":
        from far_keras.models.mgmtn import mgmtn

        return mgmtn
    from far_keras.models.baseline import baseline

    return baseline


PRETRAINED = "mgmtn_efficientnetlite0"
"""The default model."""


def pretrained_folder(name: str = PRETRAINED) -> Path:
    """The folder of a model that comes with the package, for `load_model`.

    Args:
        name: Which one; its ``MODEL_CARD.md`` describes its training and its quality.

    Raises:
        ModelError: No model of this name comes with the package.
    """
    models = Path(far_keras.__file__).with_name("pretrained")
    if not (models / name / "config.json").is_file():
        known = sorted(path.parent.name for path in models.glob("*/config.json"))
        raise ModelError(
            f"{name!r}: expected one of the models that come with far_keras: "
            f"{', '.join(known) or 'none is installed'}"
        )
    return models / name
