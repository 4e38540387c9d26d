"""Renders a whole data set onto disk, in CelebA's own layout.

```
img_align_celeba/000001.jpg   178x218, aligned like CelebA's
list_attr_celeba.txt          1 yes, -1 no, 0 missing
list_eval_partition.txt       0 train, 1 valid, 2 test; identities are in one of them only
identity_CelebA.txt
list_no_face.txt              names of the negatives, which are not to be answered: no labels (0)
regions/000001.png            what each pixel shows: ids of `regions.Region`
synthesis.json                the settings that made it
```
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from far_keras import __version__
from far_keras.errors import DatasetError
from far_keras.files import exclusive, write_atomically
from far_keras.synthetic.celeba_layout import (
    IMAGES,
    REGION_MAPS,
    Row,
    write_lists,
)
from far_keras.synthetic.dataset_worker import Settings, make_pictures, start_worker
from far_keras.synthetic.people.population import Correlations

__all__ = ["Synthesis", "synthesize"]

_PROVENANCE = "synthesis.json"
RENDERER = 9
"""Raised whenever the same settings give other images: no folder mixes two renderers."""
# What folders were made with that do not say it.
_BEFORE = {"agreements": {}, "renderer": 1}


@dataclass(frozen=True)
class Synthesis:
    """What `synthesize` did."""

    directory: Path
    count: int
    rendered: int  # the others were there already
    negatives: int
    identities: int
    seconds: float


def synthesize(
    directory: str | Path,
    count: int,
    seed: int = 0,
    *,
    workers: int | None = None,
    force: Mapping[str, int] | None = None,
    negatives: float = 0.03,
    correlations: Correlations = "people",
    agreements: Mapping[str, tuple[str, float]] | None = None,
    console: Console | None = None,
) -> Synthesis:
    """Renders `count` images of people who do not exist, with labels, into `directory`.

    Images and labels depend on the seed and the settings only, not on the number of workers.
    Stopped at any moment, even by a kill, the same call goes on where it stopped; with a larger
    count it adds images. It starts processes: a script calls it under
    ``if __name__ == "__main__":``.

    Args:
        directory: Made if it does not exist.
        count: Number of images, at least 1. An identity has 1 to 5 of them.
        seed: At least 0; another seed, other people.
        workers: Number of processes; by default one for every core that this process may use.
        force: Attributes that every face has (1) or lacks (0), such as ``{"Smiling": 1}``.
        negatives: Share of images that are not to be answered (`render_negative`), 0 .. 1.
        correlations: How attributes go together; see `Population`.
        agreements: Further ties between attributes; see `Population`.
        console: Where progress is shown; standard error by default.

    Returns:
        What was written.

    Raises:
        DatasetError: A wrong argument; `directory` holds a set of other settings, or a larger
            one; another process is at work there; the disk is full or not writable.

    Example:
        >>> synthesize("faces", 5000, seed=0)  # doctest: +SKIP
    """
    settings = Settings(seed, negatives, correlations, dict(force or {}), dict(agreements or {}))
    settings.population()  # refuses wrong settings before anything is written
    if not isinstance(count, int) or count < 1:
        raise DatasetError(f"count: expected an integer of at least 1. Received: {count!r}")
    workers = _usable_cores() if workers is None else workers
    if workers < 1:
        raise DatasetError(f"workers: expected at least 1. Received: {workers!r}")
    directory = Path(directory)
    console = console or Console(stderr=True)
    started = time.monotonic()
    with _disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with exclusive(directory, DatasetError):
            _prepare(directory, count, settings)
            rows, rendered = _render_all(directory, count, settings, workers, console)
            write_lists(directory, rows)
            _write_provenance(directory, count, settings, complete=True)
    return Synthesis(
        directory=directory,
        count=count,
        rendered=rendered,
        negatives=sum(row.negative for row in rows),
        identities=len({row.identity for row in rows}),
        seconds=time.monotonic() - started,
    )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: fewer than all in a container
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _prepare(directory: Path, count: int, settings: Settings) -> None:
    """Makes the folder, or checks that it was made with the same settings."""
    provenance = directory / _PROVENANCE
    for name in (IMAGES, REGION_MAPS):
        (directory / name).mkdir(parents=True, exist_ok=True)
    if provenance.exists():
        try:
            found = json.loads(provenance.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DatasetError(f"{provenance}: not valid JSON ({error}); delete it") from error
        wanted = _provenance(count, settings)
        for name in [name for name in wanted if name not in ("made_by", "count")]:
            if (value := found.get(name, _BEFORE.get(name))) != wanted[name]:
                raise DatasetError(
                    f"{directory} holds images made with {name} = {value!r}. "
                    f"Received: {wanted[name]!r}. Use another folder, or the same settings"
                )
        if found.get("count", 0) > count:
            raise DatasetError(
                f"{directory} was begun with a count of {found['count']}. Received: {count}. "
                "Use another folder, or at least that count"
            )
    elif any((directory / IMAGES).iterdir()):
        raise DatasetError(
            f"{directory / IMAGES} holds images that were not rendered here (there is no "
            f"{_PROVENANCE}). Use another folder"
        )
    for folder in (directory, directory / IMAGES, directory / REGION_MAPS):
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    _write_provenance(directory, count, settings, complete=False)


def _provenance(count: int, settings: Settings) -> dict[str, Any]:
    return {
        "made_by": "far_keras.synthetic",
        "version": __version__,
        "renderer": RENDERER,
        "seed": settings.seed,
        "count": count,
        "negatives": settings.negatives,
        "correlations": settings.correlations,
        "force": dict(sorted(settings.force.items())),
        "agreements": {name: list(tie) for name, tie in sorted(settings.agreements.items())},
    }


def _write_provenance(directory: Path, count: int, settings: Settings, complete: bool) -> None:
    data = _provenance(count, settings) | {"complete": complete}
    write_atomically(directory / _PROVENANCE, (json.dumps(data, indent=2) + "\n").encode())


def _render_all(
    directory: Path, count: int, settings: Settings, workers: int, console: Console
) -> tuple[list[Row], int]:
    """All rows in the order of the images, and how many were rendered now."""
    rows: list[Row] = []
    rendered = 0
    jobs = _jobs(count, settings)
    with (
        Progress(
            TextColumn("rendering faces"),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as progress,
        _single_threaded_children(),
    ):
        task = progress.add_task("", total=count, rate="")
        pool = ProcessPoolExecutor(
            workers,
            mp_context=get_context("spawn"),
            initializer=start_worker,
            initargs=(str(directory), settings),
        )
        pending: set[Future] = set()
        try:
            while True:
                while len(pending) < 3 * workers and (job := next(jobs, None)):
                    pending.add(pool.submit(make_pictures, *job))
                if not pending:
                    break
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    made, fresh = future.result()
                    rows += made
                    rendered += fresh
                    progress.advance(task, len(made))
        except KeyboardInterrupt:
            progress.stop()
            console.print("Stopping: finishing the images in hand ...")
            pool.shutdown(wait=True, cancel_futures=True)
            whole = len(list((directory / IMAGES).glob("[0-9]*.jpg")))
            console.print(f"{whole} of {count} images are in {directory}.", markup=False)
            console.print("The same command goes on from there.")
            raise
        except BrokenProcessPool as error:
            raise DatasetError(
                f"{directory}: a rendering process was ended from outside, perhaps for want of "
                "memory; run the same command again to go on, with fewer workers"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return sorted(rows, key=lambda row: row.number), rendered


def _jobs(count: int, settings: Settings) -> Iterator[tuple[int, int, int]]:
    """Per identity: its number, the number of its first image, how many images."""
    population, identity, number = settings.population(), 0, 1
    while number <= count:
        identity += 1
        pictures = min(population.subject(identity).num_pictures, count - number + 1)
        yield identity, number, pictures
        number += pictures


class _RateColumn(TextColumn):
    """Images a second."""

    def render(self, task: Task):
        from rich.text import Text

        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Each process computes on one core, so that sums come out the same on any number of them."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    """Turns what the disk refuses into a message that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(
                f"{directory}: the disk is full. Every image that is there is whole; make room "
                "and run the same command again to go on"
            ) from error
        raise DatasetError(f"{directory}: cannot write the data set: {error}") from error
