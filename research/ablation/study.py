"""What each part of the network is worth: one change at a time, several seeds, several sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from far_keras.datasets.manifest import Manifest, read_manifest
from far_keras.datasets.records import RecordTable, read_table_of_records
from far_keras.errors import DatasetError
from far_keras.evaluation.subjects import person_clusters
from far_keras.experiments.arms import ARMS, REFERENCE, Arm, ArmError, choose_arms
from far_keras.experiments.comparison import ArmFigures, compare
from far_keras.experiments.jobs import Job, load_answers, run_jobs
from far_keras.schema import CELEBA, AttributeSchema
from far_keras.training.config import TrainConfig

__all__ = ["Ablation", "ablate"]


@dataclass(frozen=True)
class Ablation:
    """What `ablate` measured.

    Args:
        settings: Records, backbone, image size, epochs and so on, for the table's caption.
        arms: The arms, in the order of the tables.
        figures: By training-set size, by test set, by part of the attributes (``"all"``, or
            ``"focus"`` and ``"others"``): one row an arm. The test set ``"test"`` is the test split
            of the records that were trained on.
        focus: The attributes of the part ``"focus"``.
        images: By test set, the number of images.
        persons: By test set, the number of persons in them; an image of nobody known counts as
            one.
        attributes: By test set, by part of the attributes: the number that the means are over.
        synthetic: Whether the images are rendered.
    """

    settings: Mapping[str, Any]
    arms: tuple[Arm, ...]
    figures: Mapping[int, Mapping[str, Mapping[str, Sequence[ArmFigures]]]]
    focus: tuple[str, ...]
    pictures: Mapping[str, int]
    persons: Mapping[str, int]
    attributes: Mapping[str, Mapping[str, int]]
    synthetic: bool


def ablate(
    records: str | Path,
    output: str | Path,
    *,
    arms: Iterable[str] | None = None,
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
) -> Ablation:
    """Trains every arm with every seed on every number of images, and compares them.

    Resumable, see `run_jobs`: what is done is in ``output/answers``.

    Args:
        records: Folder that `annotate` wrote; its validation split chooses the best epoch and the
            thresholds, its test split is measured.
        output: Folder of the study.
        arms: Names in `ARMS` and `TRANSFER_ARMS`; None for all of the former. The reference is
            always among them.
        seeds: Of the trainings, at least one; three or more for a claim.
        sizes: Numbers of training images.
        backbone: Of all networks.
        image_size: Height and width of the input in pixels.
        epochs: Passes over the training images, the same number for every size.
        training: Further fields of `TrainConfig` for every training.
        shifted: By name, further folders of records to measure on, with all of their splits, such
            as faces whose attributes go together in another way.
        focus: Attributes to give figures of their own, beside those of the others.
        least: Labels of each class that an attribute needs in a test set to count in its means.
        workers: Trainings at once.
        resamples: Bootstrap resamples.
        console: Where progress is shown.

    Raises:
        ArmError: An unknown arm, no seed or no size, a seed or size given twice, or an arm that
            is given true masks and a test set without them.
        ConfigError: An arm that cannot be trained with these settings.
        DatasetError: The records cannot be used, have fewer training images than a size, or
            lack labels for any figure that is asked of them.
    """
    chosen = choose_arms(arms)
    for name, values in (("seeds", seeds), ("sizes", sizes)):
        if not values or len(set(values)) != len(values):
            raise ArmError(f"{name}: expected different numbers. Received: {list(values)}")
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
    schema = _schema(settings)
    parts = _parts(schema, focus)
    tables = {
        name: [read_table_of_records(folder, split) for split in splits]
        for name, (folder, splits) in tests.items()
    }
    columns = {
        name: _counted(name, tables[name], folder, schema, parts, least)
        for name, (folder, _) in tests.items()
    }
    jobs = {
        (size, arm.name, seed): Job(
            f"{size}/{arm.name}-{seed}",
            str(output),
            job_config(arm, settings, seed=seed, limit=size),
            tests,
        )
        for size in sizes
        for seed in seeds
        for arm in chosen
    }
    for job in jobs.values():  # before the first is trained, not after hours
        _check(job)
    run_jobs(list(jobs.values()), workers=workers, console=console)

    persons = {
        name: person_clusters(np.concatenate([table.identities for table in each]))[0]
        for name, each in tables.items()
    }
    figures: dict[int, dict[str, dict[str, Sequence[ArmFigures]]]] = {}
    for size in sizes:
        said = {
            arm.name: [load_answers(jobs[size, arm.name, seed]) for seed in seeds] for arm in chosen
        }
        figures[size] = {
            test: {
                part: compare(
                    {arm: [one[test] for one in each] for arm, each in said.items()},
                    REFERENCE,
                    identities=persons[test],
                    columns=columns[test][part],
                    resamples=resamples,
                )
                for part in parts
            }
            for test in tests
        }
    return Ablation(
        {**settings, "seeds": list(seeds), "least": least},
        tuple(chosen),
        figures,
        tuple(focus),
        {name: len(numbers) for name, numbers in persons.items()},
        {name: len(set(numbers.tolist())) for name, numbers in persons.items()},
        {
            name: {part: len(chosen) for part, chosen in each.items()}
            for name, each in columns.items()
        },
        manifest.true_masks,
    )


def job_config(arm: Arm, settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Fields of `TrainConfig` for one arm: the study's, changed by the arm's."""
    study = {key: value for key, value in settings.items() if key != "backbone"}
    config = {
        **study,
        **arm.training,
        **more,
        "variant": f"{arm.network}_{settings['backbone']}",
    }
    config["model"] = {**study.get("model", {}), **_reference(arm), **arm.model}
    return config


def _reference(arm: Arm) -> Mapping[str, Any]:
    return ARMS[REFERENCE].model if arm.network == ARMS[REFERENCE].network else {}


def _splits(manifest: Manifest) -> tuple[str, ...]:
    return tuple(split for split in ("train", "valid", "test") if manifest.count(split))


def _schema(settings: Mapping[str, Any]) -> AttributeSchema:
    return AttributeSchema.from_file(settings["schema"]) if settings.get("schema") else CELEBA


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
        raise ArmError(f"focus: unknown attributes {unknown} of the schema {schema.name!r}")
    numbers = range(schema.num_attributes)
    if not focus:
        return {"all": list(numbers)}
    wanted = [schema.index(name) for name in focus]
    return {"focus": wanted, "others": [n for n in numbers if n not in wanted]}


def _check(job: Job) -> None:
    """Refuses what cannot be trained, or cannot answer one of the test sets."""
    config = TrainConfig(output=str(job.model), **job.config)
    if config.mask_mode == "given" and config.masks == "true":
        for name, (folder, _) in job.tests.items():
            if not read_manifest(Path(folder)).true_masks:
                raise ArmError(
                    f"arms: {job.name!r} is given the true regions, which the test set {name!r} "
                    f"({folder}) does not have; only rendered sets do. Leave out this arm"
                )
