"""All that a training depends on, as one object that reads and writes YAML and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from far_keras.errors import FarError
from far_keras.files import atomic_path
from far_keras.models.variants import TASKS, VARIANTS, ModelConfig, Variant

__all__ = ["MASK_MODES", "ConfigError", "TrainConfig"]

MASK_MODES = ("joint", "two_stage", "given")
PHOTOMETRIC = ("standard", "strong")


class ConfigError(FarError, ValueError):
    """A training configuration cannot be read, or a value of it cannot be used."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What to train, on what, how, and where to put it.

    Args:
        records: Folder of records that `far_keras.datasets.annotate` wrote.
        output: Folder that the finished model becomes; ``<output>.partial`` holds the unfinished.
        variant: A name in `far_keras.models.variants.VARIANTS`.
        task: ``"attributes"``, or ``"masks"`` for the variant's mask network alone.
        schema: File of an attribute schema (.json, .yaml), or None for CelebA's.
        image_size: Height and width of the network's input in pixels; None becomes the variant's.
        model: Further arguments of the network, such as ``{"fusion": "gated"}``, see
            `far_keras.models.mgmtn.mgmtn`.
        imagenet: Start the backbone from ImageNet weights instead of random ones; None becomes
            True for the variants that there are such weights for, and False for the others.
        masks: Which masks teach the mask network: ``"landmarks"``, or ``"true"`` for the regions
            that rendered images come with. A variant without masks ignores it.
        mask_mode: How masks and attributes are learned (Adaptive Mask Learning): ``"joint"``, both
            at once; ``"two_stage"``, first the mask network alone, then, with the mask network's
            best epoch frozen, the rest; or ``"given"``, no mask network: the network is given the
            records' own `masks` in training and in evaluation, as an upper bound. Two stages need
            a mask network of its own, ``model={"mask_network": "unet"}``: the shared decoder reads
            the backbone, which goes on changing in the second stage, so that frozen it would read
            what it was not trained on. A variant without masks and the task ``"masks"`` take
            ``"joint"`` only.
        mask_epochs: Epochs of the first of two stages; None becomes `epochs`.
        masks_from: Folder of a model with a UNet, such as one of the task ``"masks"``, that takes
            the place of the first of two stages.
        mask_weight: Weight of the mask loss beside the attribute loss, where both are learned at
            once.
        augment: Whether training images are flipped, moved and recoloured.
        photometric: ``"strong"`` to change the look of augmented images further, as of other
            cameras, lights and files (see `far_keras.datasets.degradation.degrade`), at the price
            of some false labels; ``"standard"`` not to.
        region_swap: Share of the training images that get facial regions of others, see
            `far_keras.datasets.region_swap.swap_regions`.
        limit: Train on the split's first so many images only.
        batch_size: Images a step, over all devices.
        epochs: Passes over the training split; of two stages, those of the second.
        learning_rate: AdamW's highest learning rate, reached after the warm-up.
        warmup: Share of all steps in which the learning rate rises linearly from 0; after it, it
            falls as a half cosine to 0. Each stage has a warm-up and a decay of its own.
        weight_decay: AdamW's, multiplied with the learning rate; biases and normalisations are
            exempt.
        ema: Momentum of an exponential moving average of the weights, in [0, 1), see
            `far_keras.training.weight_average.WeightAverage`. The averaged weights are what is
            validated and saved; 0 is the weights themselves.
        label_smoothing: How far the attributes' targets are pulled to one half, in [0, 0.5]: 0.1
            makes them 0.05 and 0.95. It counts in the losses, not in the other figures.
        backbone_rate: Factor of the backbone's learning rate, in [0, 1], to keep more of what it
            knows from ImageNet; 0 freezes it, weights and batch statistics. Without ImageNet
            weights it must be 1.
        precision: Keras dtype policy; ``"mixed_float16"`` is faster on recent GPUs.
        seed: Of weights, order, augmentation and dropout.

    Raises:
        ConfigError: A value has the wrong type or is out of its range.

    Example:
        >>> TrainConfig(records="records", output="models/first", epochs=4).learning_rate
        0.002
    """

    records: str
    output: str
    variant: str = "mgmtn_efficientnetlite0"
    task: str = "attributes"
    schema: str | None = None
    image_size: int | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    imagenet: bool | None = None
    masks: str = "landmarks"
    mask_mode: str = "joint"
    mask_epochs: int | None = None
    masks_from: str | None = None
    mask_weight: float = 1.0
    augment: bool = True
    photometric: str = "standard"
    region_swap: float = 0.0
    limit: int | None = None
    batch_size: int = 32
    epochs: int = 14
    learning_rate: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    ema: float = 0.0
    label_smoothing: float = 0.0
    backbone_rate: float = 1.0
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("records", "output", "schema", "masks_from"):
            value = getattr(self, name)
            if isinstance(value, Path):
                object.__setattr__(self, name, str(value))
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = getattr(self, item.name)
            if hints[item.name] is float and isinstance(value, int) and type(value) is not bool:
                object.__setattr__(self, item.name, float(value))
            elif not _fits(value, hints[item.name]):
                self._refuse(item.name, f"expected {item.type}")
        self._check("variant", self.variant in VARIANTS, f"expected one of {sorted(VARIANTS)}")
        variant = ModelConfig(self.variant).definition
        if self.image_size is None:
            object.__setattr__(self, "image_size", variant.image_size)
        self._check_masks(variant)
        if self.imagenet is None:
            # The UNet alone has no backbone.
            has_backbone = self.task == "attributes" or not self._has_unet
            object.__setattr__(self, "imagenet", variant.has_imagenet_weights and has_backbone)
        if self.imagenet and self.task == "masks" and self._has_unet:
            self._refuse("imagenet", "expected False: the UNet alone has no backbone")
        self._check("image_size", (self.image_size or 0) >= 32, "expected at least 32")
        self._check("mask_weight", self.mask_weight >= 0, "expected at least 0")
        self._check("region_swap", 0 <= self.region_swap <= 1, "expected a share in [0, 1]")
        looks = PHOTOMETRIC if self.augment else ("standard",)
        self._check("photometric", self.photometric in looks, f"expected one of {looks}")
        self._check("limit", self.limit is None or self.limit >= 1, "expected at least 1")
        self._check("batch_size", self.batch_size >= 1, "expected at least 1")
        self._check("epochs", self.epochs >= 1, "expected at least 1")
        self._check("learning_rate", 0 < self.learning_rate < 10, "expected above 0, below 10")
        self._check("warmup", 0 <= self.warmup < 1, "expected a share in [0, 1)")
        self._check("weight_decay", 0 <= self.weight_decay < 10, "expected in [0, 10)")
        self._check("ema", 0 <= self.ema < 1, "expected in [0, 1)")
        self._check("label_smoothing", 0 <= self.label_smoothing <= 0.5, "expected in [0, 0.5]")
        self._check("backbone_rate", 0 <= self.backbone_rate <= 1, "expected in [0, 1]")
        if self.backbone_rate != 1 and not self.imagenet:
            self._refuse("backbone_rate", "expected 1 for a backbone without ImageNet weights")
        precisions = ("float32", "mixed_float16", "mixed_bfloat16")
        self._check("precision", self.precision in precisions, f"expected one of {precisions}")
        self._check("seed", 0 <= self.seed < 2**31, "expected in [0, 2^31)")
        if "image_size" in self.model:
            self._refuse("model", "image_size has a field of its own")

    def _check_masks(self, variant: Variant) -> None:
        has_masks = variant.network == "mgmtn"
        self._check("masks", self.masks in ("landmarks", "true"), "expected landmarks or true")
        self._check("task", self.task in TASKS, f"expected one of {TASKS}")
        if self.task == "masks" and not has_masks:
            self._refuse("variant", "expected one with a mask network for the task 'masks'")
        modes = MASK_MODES if has_masks and self.task == "attributes" else ("joint",)
        self._check("mask_mode", self.mask_mode in modes, f"expected one of {modes}")
        in_model = self.model.get("masks")
        if in_model == "given" or (in_model is not None and self.mask_mode == "given"):
            self._refuse("model", "expected masks to be left to mask_mode")
        if self.mask_mode == "two_stage":
            if not self._has_unet:
                self._refuse(
                    "mask_mode",
                    "two stages need a mask network of its own, mask_network 'unet' in model "
                    "(--mask-network unet): the shared decoder reads the backbone, which the "
                    "second stage goes on changing. Expected joint",
                )
            if self.masks_from is not None and self.mask_epochs is not None:
                self._refuse("mask_epochs", "expected none with masks_from, which takes its place")
            enough = self.mask_epochs is None or self.mask_epochs >= 1
            self._check("mask_epochs", enough, "expected at least 1")
            return
        for name in ("mask_epochs", "masks_from"):
            if getattr(self, name) is not None:
                self._refuse(name, "expected none without mask_mode two_stage")

    @property
    def _has_unet(self) -> bool:
        return self.model_config.all_arguments.get("mask_network") == "unet"

    @property
    def model_config(self) -> ModelConfig:
        """The network to build."""
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
        """Builds a configuration from plain data; what is left out keeps its default.

        Raises:
            ConfigError: An unknown or missing key, or a value that cannot be used.
        """
        if not isinstance(data, Mapping):
            raise ConfigError(f"{source}: expected a mapping. Received: {data!r:.80}")
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
            **overrides: Values that win over the file's; in `model`, key by key.

        Raises:
            ConfigError: The file is missing or is no valid configuration.
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

    def write(self, path: str | Path) -> None:
        """Writes the configuration as ``.json``, or else as YAML."""
        import yaml

        data = self.to_dict()
        json_text = json.dumps(data, indent=1) + "\n"
        text = json_text if Path(path).suffix == ".json" else yaml.safe_dump(data, sort_keys=False)
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            self._refuse(name, expected)

    def _refuse(self, name: str, expected: str) -> None:
        raise ConfigError(f"{name}: {expected}. Received: {getattr(self, name)!r}")


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
