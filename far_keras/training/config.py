"""The settings of a training: `TrainConfig`, its constraints, files and command-line flags."""

from __future__ import annotations

import argparse
import json
import operator
import re
from collections.abc import Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from far_keras.errors import FarError

if TYPE_CHECKING:
    from far_keras.models.variants import ModelConfig, Variant

__all__ = ["ConfigError", "TrainConfig", "add_flags", "given_flags"]

_COMPARISONS = {
    "at least": operator.ge,
    "above": operator.gt,
    "at most": operator.le,
    "below": operator.lt,
}

# Fields of version 0.1 that experiments refuted, each with the value that means "not used".
_REMOVED = {
    "photometric": "standard",
    "region_swap": 0.0,
    "ema": 0.0,
    "label_smoothing": 0.0,
    "mix_style": 0.0,
}


class ConfigError(FarError, ValueError):
    """A training configuration cannot be read, or one of its values cannot be used."""


def _setting(
    default: Any = NO_DEFAULT, *, choices: tuple[str, ...] = (), path: bool = False, **limits: float
) -> Any:
    """Declares a field: its default and constraints. Its help is in the class's docstring.

    Args:
        default: Left out if the field is required.
        choices: Allowed values.
        path: Whether the flag takes a path.
        **limits: ``at_least``, ``above``, ``at_most``, ``below``.
    """
    bounds = {name.replace("_", " "): value for name, value in limits.items()}
    metadata = {"choices": choices, "path": path, "limits": bounds}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What to train, on which data, how, and where to save it.

    The fields are also the flags of ``far-keras train``; the first sentence is their help.

    Args:
        records: Folder of records that `far_keras.datasets.annotate` wrote.
        output: Folder of the finished model; ``<output>.partial`` holds an unfinished training.
        variant: Name of the network, see `far_keras.models.variants.VARIANTS`.
        task: What to train: ``"attributes"``, or ``"masks"`` for the variant's mask network alone.
        schema: File of an attribute schema (.json, .yaml), or None for CelebA's.
        image_size: Height and width of the network's input in pixels; None becomes the variant's.
        model: Further arguments of the network, as a flag ``--model fusion=gated``, which can be
            repeated; see `far_keras.models.mgmtn.mgmtn`.
        imagenet: Start the backbone from ImageNet weights instead of random ones; None becomes
            True for the variants with such weights, and False for the others.
        masks: The target of the mask network: ``"landmarks"``, or ``"true"`` for the regions of
            rendered images. A variant without masks ignores it.
        mask_mode: How masks and attributes are trained (Adaptive Mask Learning): ``"joint"``, both
            at once; ``"two_stage"``, first the mask network alone, then, with the best epoch's
            mask network frozen, the rest; or ``"given"``, no mask network: the network gets the
            records' own `masks` in training and in evaluation, as an upper bound. Two stages need
            a separate mask network, ``model={"mask_network": "unet"}``: the shared decoder reads
            the backbone, which changes in the second stage. A variant without masks and the task
            ``"masks"`` take ``"joint"`` only.
        mask_epochs: Epochs of the first of two stages; None becomes `epochs`.
        masks_from: Folder of a model with a UNet, such as one of the task ``"masks"``, that
            replaces the first of two stages.
        mask_weight: Weight of the mask loss relative to the attribute loss, where both are trained
            at once.
        augment: Whether training images are flipped, moved and recolored.
        limit: Train only on this many images, the first ones of the split.
        batch_size: Images per step, over all devices.
        epochs: Passes over the training split; of two stages, those of the second.
        learning_rate: AdamW's highest learning rate, reached after the warm-up.
        warmup: Share of all steps in which the learning rate rises linearly from 0; after it, it
            falls as a half cosine to 0. Each stage has its own warm-up and decay.
        weight_decay: AdamW's decay, multiplied by the learning rate; biases and normalizations are
            exempt.
        backbone_rate: Factor of the backbone's learning rate, to keep more of the ImageNet
            weights; 0 freezes it, weights and batch statistics. Without ImageNet weights it must
            be 1.
        precision: Keras dtype policy; ``"mixed_float16"`` is faster on recent GPUs.
        seed: Seed of weights, order, augmentation and dropout.

    Raises:
        ConfigError: A value has the wrong type or violates a constraint.

    Example:
        >>> TrainConfig(records="records", output="models/first", epochs=4).learning_rate
        0.002
    """

    records: str = _setting(path=True)
    output: str = _setting(path=True)
    variant: str = _setting("mgmtn_efficientnetlite0")
    task: str = _setting("attributes", choices=("attributes", "masks"))
    schema: str | None = _setting(None, path=True)
    image_size: int | None = _setting(None, at_least=32)
    model: Mapping[str, Any] = _setting({})
    imagenet: bool | None = _setting(None)
    masks: str = _setting("landmarks", choices=("landmarks", "true"))
    mask_mode: str = _setting("joint", choices=("joint", "two_stage", "given"))
    mask_epochs: int | None = _setting(None, at_least=1)
    masks_from: str | None = _setting(None, path=True)
    mask_weight: float = _setting(1.0, at_least=0)
    augment: bool = _setting(True)
    limit: int | None = _setting(None, at_least=1)
    batch_size: int = _setting(32, at_least=1)
    epochs: int = _setting(14, at_least=1)
    learning_rate: float = _setting(2e-3, above=0, below=10)
    warmup: float = _setting(0.05, at_least=0, below=1)
    weight_decay: float = _setting(0.01, at_least=0, below=10)
    backbone_rate: float = _setting(1.0, at_least=0, at_most=1)
    precision: str = _setting("float32", choices=("float32", "mixed_float16", "mixed_bfloat16"))
    seed: int = _setting(0, at_least=0, below=2**31)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            self._check_field(item, hints[item.name])
        from far_keras.models.variants import VARIANTS, ModelConfig

        self._check("variant", self.variant in VARIANTS, f"expected one of {sorted(VARIANTS)}")
        variant = ModelConfig(self.variant).definition
        if self.image_size is None:
            object.__setattr__(self, "image_size", variant.image_size)
        self._check("model", "image_size" not in self.model, "image_size has a field of its own")
        self._check_masks(variant)
        unet_only = self.task == "masks" and self._has_unet
        if self.imagenet is None:
            object.__setattr__(self, "imagenet", variant.has_imagenet_weights and not unet_only)
        self._check(
            "imagenet",
            not (self.imagenet and unet_only),
            "expected False: the UNet alone has no backbone",
        )
        self._check(
            "backbone_rate",
            self.backbone_rate == 1 or bool(self.imagenet),
            "expected 1 for a backbone without ImageNet weights",
        )

    def _check_field(self, item: Field[Any], hint: Any) -> None:
        """Checks one value's type, choices and limits; converts paths and whole numbers."""
        value = getattr(self, item.name)
        if isinstance(value, Path):
            value = str(value)
        elif hint is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        object.__setattr__(self, item.name, value)
        self._check(item.name, _fits(value, hint), f"expected {item.type}")
        choices, limits = item.metadata["choices"], item.metadata["limits"]
        self._check(item.name, not choices or value in choices, f"expected one of {choices}")
        good = value is None or all(_COMPARISONS[key](value, limits[key]) for key in limits)
        text = " and ".join(f"{name} {limit}" for name, limit in limits.items())
        self._check(item.name, good, f"expected {text}")

    def _check_masks(self, variant: Variant) -> None:
        has_masks = variant.network == "mgmtn"
        two_stage = self.mask_mode == "two_stage"
        self._check(
            "variant",
            has_masks or self.task != "masks",
            "expected one with a mask network for the task 'masks'",
        )
        self._check(
            "mask_mode",
            self.mask_mode == "joint" or (has_masks and self.task == "attributes"),
            "expected one of ('joint',) for the task 'masks' and for a variant without masks",
        )
        in_model = self.model.get("masks")
        self._check(
            "model",
            in_model is None or (in_model != "given" and self.mask_mode != "given"),
            "expected masks to be left to mask_mode",
        )
        self._check(
            "mask_mode",
            not two_stage or self._has_unet,
            "two stages need a separate mask network, mask_network 'unet' in model "
            "(--mask-network unet): the shared decoder reads the backbone, which changes in the "
            "second stage. Expected joint",
        )
        for name in ("mask_epochs", "masks_from"):
            self._check(
                name,
                two_stage or getattr(self, name) is None,
                "expected none without mask_mode two_stage",
            )
        self._check(
            "mask_epochs",
            self.mask_epochs is None or self.masks_from is None,
            "expected none with masks_from, which replaces the first stage",
        )

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ConfigError(f"{name}: {expected}. Received: {getattr(self, name)!r}")

    @property
    def _has_unet(self) -> bool:
        from far_keras.models.variants import ModelConfig

        return ModelConfig(self.variant, self.model).all_arguments.get("mask_network") == "unet"

    @property
    def model_config(self) -> ModelConfig:
        """The network to build."""
        from far_keras.models.variants import ModelConfig

        given = {"masks": "given"} if self.mask_mode == "given" else {}
        arguments = {"image_size": self.image_size, **self.model, **given}
        return ModelConfig(self.variant, arguments, self.task)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` reads it back."""
        return {**asdict(self), "model": dict(self.model)}

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], source: str = "training configuration"
    ) -> TrainConfig:
        """Builds a configuration from plain data; missing keys get their default.

        Raises:
            ConfigError: An unknown or missing key, or a value that cannot be used.
        """
        if not isinstance(data, Mapping):
            raise ConfigError(f"{source}: expected a mapping. Received: {data!r:.80}")
        data = without_removed(data)
        if removed := sorted(set(data) & set(_REMOVED)):
            given = ", ".join(f"{name} {data[name]!r}" for name in removed)
            raise ConfigError(
                f"{source}: {given}: removed in version 0.2, because no experiment showed a "
                "benefit (docs/transfer.md). Delete these keys, or train with far_keras 0.1"
            )
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(data) - known, key=str):
            raise ConfigError(f"{source}: unknown keys {unknown}; known are {sorted(known)}")
        if missing := [name for name in ("records", "output") if name not in data]:
            raise ConfigError(f"{source}: the keys {missing} are missing")
        try:
            return cls(**data)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    @classmethod
    def from_file(cls, path: str | Path, **overrides: Any) -> TrainConfig:
        """Reads a ``.yaml``, ``.yml`` or ``.json`` file.

        Args:
            path: The file.
            **overrides: Values that replace the file's; in `model`, key by key.

        Raises:
            ConfigError: The file is missing or is not a valid configuration.
        """
        import yaml

        path = Path(path)
        if path.suffix not in (".json", ".yaml", ".yml"):
            raise ConfigError(f"{path}: expected a .json, .yaml or .yml file")
        try:
            text = path.read_text(encoding="utf-8")
            data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot read the configuration: {error}") from error
        if not isinstance(data, Mapping):
            raise ConfigError(f"{path}: expected a mapping. Received: {data!r:.80}")
        in_file = data.get("model")
        if "model" in overrides and isinstance(in_file, Mapping):
            overrides["model"] = {**in_file, **overrides["model"]}
        return cls.from_dict({**data, **overrides}, source=str(path))


def without_removed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without fields of version 0.1 that are removed and were not used."""
    return {k: v for k, v in data.items() if k not in _REMOVED or v != _REMOVED[k]}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag per field of `TrainConfig`, and ``records`` as a positional argument."""
    hints, texts = get_type_hints(TrainConfig), _help_texts()
    for item in fields(TrainConfig):
        hint, metadata, default = hints[item.name], item.metadata, item.default
        kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint  # such as int | None
        options: dict[str, Any] = {"help": texts[item.name], "default": argparse.SUPPRESS}
        if default not in (None, NO_DEFAULT) and kind is not bool:
            options["help"] += f" (default: {default})"
        if metadata["path"]:
            options |= {"type": Path, "metavar": "PATH"}
        elif kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind in (int, float):
            options |= {"type": kind, "metavar": "N" if kind is int else "X"}
        elif metadata["choices"]:
            options["choices"] = metadata["choices"]
        elif kind is not str:
            options |= {"type": _key_value, "action": "append", "metavar": "KEY=VALUE"}
        if item.name == "records":
            parser.add_argument(item.name, type=Path, help=options["help"])
        else:
            options["required"] = item.name == "output"
            parser.add_argument("--" + item.name.replace("_", "-"), **options)


def _help_texts() -> dict[str, str]:
    """The first sentence of each argument in the docstring of `TrainConfig`."""
    arguments = re.split(r"\n        (\w+): ", TrainConfig.__doc__ or "")
    pairs = zip(arguments[1::2], arguments[2::2], strict=True)
    return {
        name: " ".join(text.split()).split(". ")[0].rstrip(".").replace("`", "").replace("%", "%%")
        for name, text in pairs
    }


def given_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `TrainConfig` that were given on the command line."""
    names = {item.name for item in fields(TrainConfig)}
    given = {name: value for name, value in vars(options).items() if name in names}
    if "model" in given:
        given["model"] = dict(given["model"])
    return given


def _key_value(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE. Received: {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:  # text without quotes
        return key, value


def _fits(value: Any, hint: Any) -> bool:
    if hint in (int, float):
        return isinstance(value, hint) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if isinstance(hint, UnionType):  # such as int | None
        return any(
            value is None if kind is NoneType else _fits(value, kind) for kind in get_args(hint)
        )
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
