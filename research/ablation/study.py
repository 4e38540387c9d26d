"""Trains configurations of the network, one change at a time, and keeps their predictions."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from far_keras.console import progress_bar
from far_keras.datasets.records import Manifest, RecordTable, read_manifest, read_table_of_records
from far_keras.errors import DatasetError, FarError
from far_keras.evaluation.evaluate import person_clusters
from far_keras.files import atomic_path
from far_keras.schema import AttributeSchema
from far_keras.training.config import TrainConfig
from research.ablation.comparison import ConfigurationScores, StudyPredictions, compare

__all__ = [
    "CONFIGURATIONS",
    "REFERENCE",
    "TRANSFER_CONFIGURATIONS",
    "Configuration",
    "ConfigurationError",
    "Study",
    "Training",
    "choose_configurations",
    "load_predictions",
    "run_study",
    "run_trainings",
]

REFERENCE = "mgmtn"


class ConfigurationError(FarError, ValueError):
    """A study that cannot be: an unknown configuration, or values that do not fit together."""


@dataclass(frozen=True)
class Configuration:
    """A network and its training, one change away from the reference.

    Args:
        name: What it is called in tables and folders.
        change: What differs from the reference, for the table.
        network: ``"mgmtn"`` or ``"baseline"``.
        model: Arguments of the network that differ from its defaults.
        training: Fields of `TrainConfig` that differ from the study's.
    """

    name: str
    change: str
    network: str = "mgmtn"
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def train_config(self, settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Fields of `TrainConfig`: the study's settings, changed by the configuration's."""
        study = {key: value for key, value in settings.items() if key != "backbone"}
        reference = CONFIGURATIONS[REFERENCE]
        common = reference.model if self.network == reference.network else {}
        return {
            **study,
            **self.training,
            **more,
            "variant": f"{self.network}_{settings['backbone']}",
            "model": {**study.get("model", {}), **common, **self.model},
        }


def _by_name(*configurations: Configuration) -> dict[str, Configuration]:
    return {each.name: each for each in configurations}


_FUSED = {"global_path": True}

CONFIGURATIONS = _by_name(
    Configuration(
        "mgmtn",
        "the reference: predicted masks, shared decoder, P3 and P4, no global feature",
        model={"levels": ["P3", "P4"], "global_path": False},
    ),
    Configuration("baseline", "plain multi-task network on the same backbone", "baseline"),
    Configuration(
        "baseline_p4", "the same, ending at P4 like the reference", "baseline", {"level": "P4"}
    ),
    # Masks.
    Configuration("ones", "no masks: every group sees the whole image", model={"masks": "ones"}),
    Configuration("unet", "the paper's separate mask network", model={"mask_network": "unet"}),
    Configuration("true_targets", "masks trained on the true regions", training={"masks": "true"}),
    Configuration(
        "given_landmarks",
        "landmark masks as an input, at the test too",
        training={"mask_mode": "given", "masks": "landmarks"},
    ),
    Configuration(
        "given_true",
        "the true regions as an input, at the test too: an upper bound",
        training={"mask_mode": "given", "masks": "true"},
    ),
    # Fusion with the global feature.
    Configuration("concat", "global feature by concat, and a shortcut", model=_FUSED),
    Configuration(
        "gated", "global feature by gates, and a shortcut", model=_FUSED | {"fusion": "gated"}
    ),
    Configuration("sum", "global feature by sum, and a shortcut", model=_FUSED | {"fusion": "sum"}),
    Configuration(
        "no_shortcut",
        "global feature by concat, without the shortcut",
        model=_FUSED | {"global_shortcut": False},
    ),
    Configuration("no_group", "the global feature alone", model=_FUSED | {"group_path": False}),
    # Levels.
    Configuration("p345", "P3, P4 and P5", model={"levels": ["P3", "P4", "P5"]}),
    Configuration(
        "p345_concat",
        "P3 to P5 with global feature and shortcut, as the paper draws it",
        model=_FUSED | {"levels": ["P3", "P4", "P5"]},
    ),
    Configuration(
        "p345_true_targets",
        "P3 to P5, masks trained on the true regions: the shipped model's recipe",
        model={"levels": ["P3", "P4", "P5"]},
        training={"masks": "true"},
    ),
)
"""By name, in the order of the tables."""

TRANSFER_CONFIGURATIONS = _by_name(
    Configuration(
        "slow_backbone",
        "a tenth of the learning rate for the backbone",
        training={"backbone_rate": 0.1},
    ),
    Configuration(
        "frozen_backbone", "the backbone as ImageNet left it", training={"backbone_rate": 0.0}
    ),
    Configuration("larger_input", "160 pixels a side", training={"image_size": 160}),
    Configuration("longer_schedule", "12 epochs", training={"epochs": 12}),
)
"""By name: what may help a network on another kind of image than it was trained on.

They are trained only when they are requested by name.
"""


def choose_configurations(names: Iterable[str] | None) -> list[Configuration]:
    """The configurations of these names, in the order of the two tables.

    Args:
        names: The reference is always among them; None for all of `CONFIGURATIONS`.

    Raises:
        ConfigurationError: An unknown name.
    """
    if names is None:
        return list(CONFIGURATIONS.values())
    known = CONFIGURATIONS | TRANSFER_CONFIGURATIONS
    wanted = {REFERENCE, *names}
    if unknown := sorted(wanted - set(known)):
        raise ConfigurationError(f"configurations: unknown {unknown}; known are {', '.join(known)}")
    return [each for each in known.values() if each.name in wanted]


@dataclass(frozen=True)
class Study:
    """What `run_study` measured.

    Args:
        settings: Records, backbone, image size, epochs and so on, for the table's caption.
        configurations: In the order of the tables.
        scores: By training-set size, by test set, by part of the attributes (``"all"``, or
            ``"focus"`` and ``"others"``): one row per configuration. The test set ``"test"`` is the
            test split of the records that were trained on.
        focus: The attributes of the part ``"focus"``.
        images: By test set, the number of images.
        persons: By test set, the number of persons in them; an image of an unknown person counts
            as one.
        attributes: By test set, by part of the attributes: the number that the means are over.
        synthetic: Whether the images are rendered.
    """

    settings: Mapping[str, Any]
    configurations: tuple[Configuration, ...]
    scores: Mapping[int, Mapping[str, Mapping[str, Sequence[ConfigurationScores]]]]
    focus: tuple[str, ...]
    images: Mapping[str, int]
    persons: Mapping[str, int]
    attributes: Mapping[str, Mapping[str, int]]
    synthetic: bool


def run_study(
    records: str | Path,
    output: str | Path,
    *,
    configurations: Iterable[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    sizes: Sequence[int] = (800, 3000),
    backbone: str = "efficientnetlite0",
    image_size: int = 96,
    epochs: int = 8,
    training: Mapping[str, Any] | None = None,
    shifted: Mapping[str, str | Path] | None = None,
    focus: Sequence[str] = (),
    least: int = 0,
    workers: int = 1,
    resamples: int = 1000,
    console: Console | None = None,
) -> Study:
    """Trains every configuration with every seed on every number of images, and compares them.

    Resumable, see `run_trainings`: finished trainings are in ``output/predictions``.

    Args:
        records: Folder that `annotate` wrote; its validation split chooses the best epoch and the
            thresholds, its test split is measured.
        output: Folder of the study.
        configurations: Names in `CONFIGURATIONS` and `TRANSFER_CONFIGURATIONS`; None for all of the
            former. The reference is always among them.
        seeds: Of the trainings, at least one; three or more for a claim.
        sizes: Numbers of training images.
        backbone: Of all networks.
        image_size: Height and width of the input in pixels.
        epochs: Passes over the training images, the same number for every size.
        training: Further fields of `TrainConfig` for every training.
        shifted: By name, further folders of records to measure on, with all of their splits, such
            as faces whose attributes are correlated in another way.
        focus: Attributes with means of their own, next to those of the others.
        least: Labels of each class that an attribute needs in a test set to count in its means.
        workers: Trainings at once.
        resamples: Bootstrap resamples.
        console: Where progress is shown.

    Raises:
        ConfigurationError: An unknown configuration, no seed or no size, a seed or size given
            twice, or a configuration with true masks as an input and a test set without them.
        ConfigError: A configuration that cannot be trained with these settings.
        DatasetError: The records cannot be used, have fewer training images than a size, or
            lack labels for any requested score.
    """
    chosen = choose_configurations(configurations)
    for name, values in (("seeds", seeds), ("sizes", sizes)):
        if not values or len(set(values)) != len(values):
            raise ConfigurationError(
                f"{name}: expected different numbers. Received: {list(values)}"
            )
    manifest = read_manifest(Path(records))
    if max(sizes) > manifest.count("train"):
        raise DatasetError(
            f"{records}: sizes: expected at most {manifest.count('train')}, the number of training "
            f"images. Received: {max(sizes)}"
        )
    tests: dict[str, tuple[str, tuple[str, ...]]] = {"test": (str(records), ("test",))}
    tests |= {
        name: (str(folder), _splits(read_manifest(Path(folder))))
        for name, folder in (shifted or {}).items()
    }
    settings = {
        "records": str(records),
        "backbone": backbone,
        "image_size": image_size,
        "epochs": epochs,
        **(training or {}),
    }
    schema = AttributeSchema.resolve(settings.get("schema"))
    parts = _parts(schema, focus)
    tables = {
        name: [read_table_of_records(folder, split) for split in splits]
        for name, (folder, splits) in tests.items()
    }
    columns = {
        name: _counted(name, tables[name], folder, schema, parts, least)
        for name, (folder, _) in tests.items()
    }
    trainings = {
        (size, each.name, seed): Training(
            f"{size}/{each.name}-{seed}",
            str(output),
            each.train_config(settings, seed=seed, limit=size),
            tests,
        )
        for size in sizes
        for seed in seeds
        for each in chosen
    }
    for one in trainings.values():  # before the first is trained, not after hours
        _check(one)
    run_trainings(list(trainings.values()), workers=workers, console=console)

    persons = {
        name: person_clusters(np.concatenate([table.identities for table in each]))[0]
        for name, each in tables.items()
    }
    scores: dict[int, dict[str, dict[str, Sequence[ConfigurationScores]]]] = {}
    for size in sizes:
        predictions = {
            each.name: [load_predictions(trainings[size, each.name, seed]) for seed in seeds]
            for each in chosen
        }
        scores[size] = {
            test: {
                part: compare(
                    {name: [one[test] for one in each] for name, each in predictions.items()},
                    REFERENCE,
                    identities=persons[test],
                    columns=columns[test][part],
                    resamples=resamples,
                )
                for part in parts
            }
            for test in tests
        }
    return Study(
        {**settings, "seeds": list(seeds), "least": least},
        tuple(chosen),
        scores,
        tuple(focus),
        {name: len(numbers) for name, numbers in persons.items()},
        {name: len(set(numbers.tolist())) for name, numbers in persons.items()},
        {
            name: {part: len(counted) for part, counted in each.items()}
            for name, each in columns.items()
        },
        manifest.true_masks,
    )


def _splits(manifest: Manifest) -> tuple[str, ...]:
    return tuple(split for split in ("train", "valid", "test") if manifest.count(split))


def _counted(
    name: str,
    tables: Sequence[RecordTable],
    folder: str,
    schema: AttributeSchema,
    parts: Mapping[str, Sequence[int]],
    least: int,
) -> dict[str, list[int]]:
    """Of each part the attributes with labels enough of both classes in a test set."""
    known = read_manifest(folder).attributes
    labels = np.concatenate([table.labels for table in tables])
    if absent := sorted(set(schema.attributes) - set(known)):
        raise DatasetError(
            f"{folder}: expected all attributes of {schema.name!r}. Missing: {absent}"
        )
    labels = labels[:, [known.index(attribute) for attribute in schema.attributes]]
    enough = np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0)) >= least
    counted = {part: [n for n in numbers if enough[n]] for part, numbers in parts.items()}
    for part, numbers in counted.items():
        if not numbers:
            raise DatasetError(
                f"{folder}: expected an attribute ({part}) with {least} or more labels of each "
                f"class in the test set {name!r}. Received: none; lower least, or leave it out"
            )
    return counted


def _parts(schema: AttributeSchema, focus: Sequence[str]) -> dict[str, list[int]]:
    if unknown := sorted(set(focus) - set(schema.attributes)):
        raise ConfigurationError(
            f"focus: unknown attributes {unknown} of the schema {schema.name!r}"
        )
    numbers = range(schema.num_attributes)
    if not focus:
        return {"all": list(numbers)}
    wanted = [schema.index(name) for name in focus]
    return {"focus": wanted, "others": [n for n in numbers if n not in wanted]}


@dataclass(frozen=True)
class Training:
    """One training, and the test sets that its network predicts.

    Args:
        name: Unique within the study, such as ``"800/gated-1"``; part of file names.
        folder: The study's folder.
        config: Fields of `TrainConfig`, all but ``output``.
        tests: By name, a folder of records and its splits.
    """

    name: str
    folder: str
    config: dict[str, Any]
    tests: dict[str, tuple[str, tuple[str, ...]]]

    @property
    def predictions(self) -> Path:
        """The file with the trained network's predictions."""
        return Path(self.folder) / "predictions" / f"{self.name}.npz"

    @property
    def model(self) -> Path:
        """The trained network, which is deleted after its predictions."""
        return Path(self.folder) / "models" / self.name


def _check(training: Training) -> None:
    """Refuses what cannot be trained, or cannot predict one of the test sets."""
    config = TrainConfig(output=str(training.model), **training.config)
    if config.mask_mode == "given" and config.masks == "true":
        for name, (folder, _) in training.tests.items():
            if not read_manifest(Path(folder)).true_masks:
                raise ConfigurationError(
                    f"configurations: {training.name!r} is given the true regions, which the test "
                    f"set {name!r} ({folder}) does not have; only rendered sets do. Leave it out"
                )


def run_trainings(
    trainings: Sequence[Training], *, workers: int = 1, console: Console | None = None
) -> None:
    """Trains and predicts what is not finished.

    Stopped at any moment, the same call continues: finished trainings are kept as their
    predictions, unfinished ones as `far_keras.training.trainer.train` keeps them. It starts
    processes: a script calls it under ``if __name__ == "__main__":``.

    Args:
        trainings: All of the study.
        workers: Trainings at once; each gets its share of the cores.
        console: Where progress is shown; standard error by default.

    Raises:
        FarError: What a training raised.
    """
    waiting = [each for each in trainings if not each.predictions.is_file()]
    threads = max(1, (os.cpu_count() or 1) // workers)
    with progress_bar(console=console) as bar:
        done = len(trainings) - len(waiting)
        task = bar.add_task("training networks", total=len(trainings), completed=done)
        for name in _train_all(waiting, workers, threads):
            bar.update(task, advance=1, description=f"training networks, last {name}")


def load_predictions(training: Training) -> dict[str, StudyPredictions]:
    """The predictions of a finished training's network, by test set."""
    with np.load(training.predictions) as file:
        return {
            test: StudyPredictions(
                file[f"{test}/labels"],
                file[f"{test}/probabilities"].astype(np.float64),
                file["thresholds"],
                file.get(f"{test}/iou", None),
            )
            for test in training.tests
        }


def _train_all(trainings: Iterable[Training], workers: int, threads: int) -> Iterator[str]:
    # One process per training, since TensorFlow does not return the memory of a finished one; and
    # not `far_keras.jobs.WorkerPool`, whose workers end their task after Ctrl-C: here it may take
    # an hour, and a training saves its state when Ctrl-C reaches it.
    with ProcessPoolExecutor(
        workers, get_context("spawn"), _start_worker, (threads,), max_tasks_per_child=1
    ) as pool:
        futures = {pool.submit(_train_and_predict, each): each for each in trainings}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future].name
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _start_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    from far_keras.quiet import load_tensorflow

    load_tensorflow()


def _train_and_predict(training: Training) -> None:
    from far_keras.evaluation.predict import predict_split
    from far_keras.models.storage import load_model
    from far_keras.training.trainer import train

    config = TrainConfig(output=str(training.model), **training.config)
    training.model.parent.mkdir(parents=True, exist_ok=True)
    loaded = load_model(train(config, progress=False).folder)
    arrays: dict[str, NDArray] = {
        "thresholds": np.array([loaded.thresholds[name] for name in loaded.schema.attributes])
    }
    for test, (records, splits) in training.tests.items():
        parts = [predict_split(loaded, records, split) for split in splits]
        arrays[f"{test}/labels"] = np.concatenate([part.labels for part in parts])
        probabilities = np.concatenate([part.probabilities for part in parts])
        arrays[f"{test}/probabilities"] = probabilities.astype(np.float32)
        overlaps = [part.iou for part in parts if part.iou is not None]
        if overlaps:
            arrays[f"{test}/iou"] = np.concatenate(overlaps).astype(np.float32)
    training.predictions.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(training.predictions) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    shutil.rmtree(training.model)
