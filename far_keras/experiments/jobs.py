"""Many trainings, some at once, each done once: what a study consists of."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from far_keras.files import atomic_path

__all__ = ["Job", "Said", "load_answers", "run_jobs"]


@dataclass(frozen=True)
class Job:
    """One training, and the test sets that it answers.

    Args:
        name: Unique within the study, such as ``"800/gated-1"``; part of file names.
        folder: The study's folder.
        config: Fields of `TrainConfig`, all but ``output``.
        tests: By name, a folder of records and its splits to answer.
    """

    name: str
    folder: str
    config: dict[str, Any]
    tests: dict[str, tuple[str, tuple[str, ...]]]

    @property
    def answers(self) -> Path:
        """Where what the trained network says is kept."""
        return Path(self.folder) / "answers" / f"{self.name}.npz"

    @property
    def model(self) -> Path:
        """The trained network, which is deleted once it has answered."""
        return Path(self.folder) / "models" / self.name


@dataclass(frozen=True)
class Said:
    """What one trained network says to one test set.

    Args:
        labels: (N, A) int8.
        probabilities: (N, A).
        thresholds: (A,), fitted on the validation split of the training's records.
        iou: (N, G) overlaps of predicted and landmark masks, or None.
    """

    labels: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    iou: NDArray[np.float64] | None


def run_jobs(jobs: Sequence[Job], *, workers: int = 1, console: Console | None = None) -> None:
    """Trains and answers what is not done yet.

    Stopped at any moment, the same call goes on where it stopped: finished trainings are kept as
    their answers, unfinished ones as `far_keras.training.trainer.train` keeps them. It starts
    processes: a script calls it under ``if __name__ == "__main__":``.

    Args:
        jobs: What is to be done.
        workers: Trainings at once; each gets its share of the cores.
        console: Where progress is shown; standard error by default.

    Raises:
        FarError: What a training raised.
    """
    waiting = [job for job in jobs if not job.answers.is_file()]
    columns = (
        TextColumn("training networks"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        Remaining(), TextColumn("{task.fields[last]}"),
    )  # fmt: skip
    threads = max(1, (os.cpu_count() or 1) // workers)
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(jobs), completed=len(jobs) - len(waiting), last="")
        for name in _carry_out(waiting, workers, threads):
            progress.update(task, advance=1, last=name)


def load_answers(job: Job) -> dict[str, Said]:
    """What a finished job's network says, by test set."""
    with np.load(job.answers) as file:
        return {
            test: Said(
                file[f"{test}/labels"],
                file[f"{test}/probabilities"].astype(np.float64),
                file["thresholds"],
                file.get(f"{test}/iou", None),
            )
            for test in job.tests
        }


def _carry_out(jobs: Iterable[Job], workers: int, threads: int) -> Iterator[str]:
    # A process each: TensorFlow does not give the memory of a finished training back.
    with ProcessPoolExecutor(
        workers, get_context("spawn"), _start_worker, (threads,), max_tasks_per_child=1
    ) as pool:
        futures = {pool.submit(_train_and_answer, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future].name
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _start_worker(threads: int) -> None:
    # Ctrl-C reaches every process of the terminal; each training then saves its state.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    from far_keras.quiet import load_tensorflow

    load_tensorflow()


def _train_and_answer(job: Job) -> None:
    from far_keras.evaluation.answers import answer_split
    from far_keras.models.storage import load_model
    from far_keras.training.config import TrainConfig
    from far_keras.training.trainer import train

    config = TrainConfig(output=str(job.model), **job.config)
    job.model.parent.mkdir(parents=True, exist_ok=True)
    loaded = load_model(train(config, progress=False).folder)
    arrays: dict[str, NDArray] = {
        "thresholds": np.array([loaded.thresholds[name] for name in loaded.schema.attributes])
    }
    for test, (records, splits) in job.tests.items():
        parts = [
            answer_split(
                loaded.model,
                loaded.schema,
                records,
                split,
                given_masks=config.masks,  # type: ignore[arg-type]
                calibration=loaded.calibration,  # the thresholds are of calibrated probabilities
            )
            for split in splits
        ]
        arrays[f"{test}/labels"] = np.concatenate([part.labels for part in parts])
        said = np.concatenate([part.probabilities for part in parts])
        arrays[f"{test}/probabilities"] = said.astype(np.float32)
        overlaps = [part.iou for part in parts if part.iou is not None]
        if overlaps:
            arrays[f"{test}/iou"] = np.concatenate(overlaps).astype(np.float32)
    job.answers.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(job.answers) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    shutil.rmtree(job.model)
