"""What each part of the network is worth: one change at a time, several seeds, several sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from far_keras.datasets.manifest import read_manifest
from far_keras.datasets.records import read_table_of_records
from far_keras.errors import DatasetError
from far_keras.experiments.arms import REFERENCE, Arm, ArmError, choose_arms
from far_keras.experiments.comparison import ArmFigures, compare
from far_keras.experiments.jobs import Job, load_answers, run_jobs

__all__ = ["Ablation", "ablate"]


@dataclass(frozen=True)
class Ablation:
    """What `ablate` measured.

    Args:
        settings: Records, backbone, image size, epochs and so on, for the table's caption.
        arms: The arms, in the order of the tables.
        figures: By training-set size, one row an arm.
        pictures: Number of test pictures.
        persons: Number of persons in them.
        synthetic: Whether the pictures are rendered.
    """

    settings: Mapping[str, Any]
    arms: tuple[Arm, ...]
    figures: Mapping[int, Sequence[ArmFigures]]
    pictures: int
    persons: int
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
    workers: int = 1,
    resamples: int = 1000,
    console: Console | None = None,
) -> Ablation:
    """Trains every arm with every seed on every number of pictures, and compares them.

    Resumable, see `run_jobs`: what is done is in ``output/answers``.

    Args:
        records: Folder that `annotate` wrote; its validation split chooses the best epoch and the
            thresholds, its test split is measured.
        output: Folder of the study.
        arms: Names in `ARMS`; None for all. The reference is always among them.
        seeds: Of the trainings, at least one; three or more for a claim.
        sizes: Numbers of training pictures.
        backbone: Of all networks.
        image_size: Height and width of the input in pixels.
        epochs: Passes over the training pictures, the same number for every size.
        training: Further fields of `TrainConfig` for every training.
        workers: Trainings at once.
        resamples: Bootstrap resamples.
        console: Where progress is shown.

    Raises:
        ArmError: An unknown arm, no seed or no size, or a seed or size given twice.
        DatasetError: The records cannot be used, or have fewer training pictures than a size.
    """
    chosen = choose_arms(arms)
    for name, values in (("seeds", seeds), ("sizes", sizes)):
        if not values or len(set(values)) != len(values):
            raise ArmError(f"{name}: expected different numbers. Received: {list(values)}")
    manifest = read_manifest(Path(records))
    if max(sizes) > manifest.count("train"):
        raise DatasetError(
            f"{records}: sizes: expected at most {manifest.count('train')}, the number of training "
            f"pictures. Received: {max(sizes)}"
        )
    settings = {
        "records": str(records),
        "backbone": backbone,
        "image_size": image_size,
        "epochs": epochs,
        **(training or {}),
    }
    jobs = {
        (size, arm.name, seed): Job(
            f"{size}/{arm.name}-{seed}",
            str(output),
            job_config(arm, settings, seed=seed, limit=size),
            {"test": (str(records), ("test",))},
        )
        for size in sizes
        for seed in seeds
        for arm in chosen
    }
    run_jobs(list(jobs.values()), workers=workers, console=console)
    identities = read_table_of_records(records, "test").identities
    figures = {}
    for size in sizes:
        said = {
            arm.name: [load_answers(jobs[size, arm.name, seed])["test"] for seed in seeds]
            for arm in chosen
        }
        figures[size] = compare(said, REFERENCE, identities=identities, resamples=resamples)
    return Ablation(
        {**settings, "seeds": list(seeds)},
        tuple(chosen),
        figures,
        len(identities),
        len(set(identities.tolist())),
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
    if arm.model:
        config["model"] = {**study.get("model", {}), **arm.model}
    return config
