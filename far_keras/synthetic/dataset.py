"""Renders a data set in CelebA's own layout.

```
img_align_celeba/000001.jpg   178x218, aligned like CelebA's
list_attr_celeba.txt          1 yes, -1 no, 0 missing
list_eval_partition.txt       0 train, 1 valid, 2 test; identities are in one of them only
identity_CelebA.txt
list_no_face.txt              names of the images without a face: no labels (0)
regions/000001.png            what each pixel shows: ids of `faces.region_map.Region`
synthesis.json                the settings that made it
```
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from far_keras import __version__
from far_keras.console import message_console, progress_bar
from far_keras.errors import DatasetError
from far_keras.files import exclusive, remove_temporary_files, write_atomically, writing
from far_keras.geometry import ALIGNED_SIZE
from far_keras.jobs import WorkerPool, check_settings, usable_cores
from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.labels import negative_labels, visible_labels
from far_keras.synthetic.negatives import render_negative
from far_keras.synthetic.people.attributes import Correlations
from far_keras.synthetic.people.population import Identity, Population
from far_keras.synthetic.renderer import render

__all__ = ["LabelRow", "Synthesis", "split_of", "synthesize", "write_lists"]

RENDERER = 9
"""Raised whenever the same settings give other images: no folder mixes two renderers."""

IMAGES, REGION_MAPS = "img_align_celeba", "regions"
NEGATIVE_QUALITY = 90  # of JPEG
_PROVENANCE = "synthesis.json"
# Each process computes on one core, so that sums are the same on any number of them.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Synthesis:
    """What `synthesize` did."""

    directory: Path
    count: int
    rendered: int  # the others existed already
    negatives: int
    identities: int
    seconds: float


@dataclass(frozen=True)
class LabelRow:
    """What the text files say about one image."""

    number: int  # counted from 1
    identity: int
    negative: bool  # shows no face
    labels: np.ndarray  # (40,) int8: 1, 0, MISSING

    @property
    def name(self) -> str:
        return f"{self.number:06d}.jpg"


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
    Stopped at any moment, even by a kill, the same call resumes; with a larger count it adds
    images. It starts processes: a script calls it under ``if __name__ == "__main__":``.

    Args:
        directory: Created if it does not exist.
        count: Number of images, at least 1. An identity has 1 to 5 of them.
        seed: At least 0; another seed gives other people.
        workers: Number of processes; by default one for every core that this process may use.
        force: Attributes that every face has (1) or lacks (0), such as ``{"Smiling": 1}``.
        negatives: Share of images without a face (`render_negative`), 0 .. 1.
        correlations: How attributes go together; see `Population`.
        agreements: Further ties between attributes; see `Population`.
        console: Where progress is shown; standard error by default.

    Returns:
        What was written.

    Raises:
        DatasetError: A wrong argument; `directory` holds a set of other settings, or a larger
            one; another process is working there; the disk is full or not writable.

    Example:
        >>> synthesize("faces", 5000, seed=0)  # doctest: +SKIP
    """
    population = Population(seed, force, correlations, negatives, agreements)
    if not isinstance(count, int) or count < 1:
        raise DatasetError(f"count: expected an integer of at least 1. Received: {count!r}")
    workers = usable_cores() if workers is None else workers
    if workers < 1:
        raise DatasetError(f"workers: expected at least 1. Received: {workers!r}")
    directory = Path(directory)
    started = time.monotonic()
    advice = (
        "Images that are there are complete. Free some space or choose another folder, then run "
        "the same command again: it resumes"
    )
    with writing(directory, DatasetError, advice):
        directory.mkdir(parents=True, exist_ok=True)
        with exclusive(directory, DatasetError):
            _prepare(directory, count, population)
            rows, rendered = _render_all(
                directory, count, population, workers, console or message_console()
            )
            write_lists(directory, rows)
            _write_provenance(directory, _provenance(count, population, complete=True))
    return Synthesis(
        directory=directory,
        count=count,
        rendered=rendered,
        negatives=sum(row.negative for row in rows),
        identities=len({row.identity for row in rows}),
        seconds=time.monotonic() - started,
    )


def split_of(identity: int) -> int:
    """0 train, 1 valid, 2 test, about 80/10/10; a small set has all three from identity 3 on."""
    return {2: 1, 3: 2}.get(identity % 10, 0)


def write_lists(directory: Path, rows: Sequence[LabelRow]) -> None:
    """Writes CelebA's lists and ``list_no_face.txt``; a missing label is 0, a no is -1."""
    signs = {1: " 1", 0: "-1", MISSING: " 0"}
    files = {
        "list_eval_partition.txt": [f"{row.name} {split_of(row.identity)}" for row in rows],
        "identity_CelebA.txt": [f"{row.name} {row.identity}" for row in rows],
        "list_no_face.txt": [row.name for row in rows if row.negative],
        "list_attr_celeba.txt": [
            str(len(rows)),
            " ".join(CELEBA.attributes),
            *(" ".join([row.name, *(signs[int(label)] for label in row.labels)]) for row in rows),
        ],
    }
    for name, lines in files.items():
        write_atomically(directory / name, "".join(f"{line}\n" for line in lines))


def _prepare(directory: Path, count: int, population: Population) -> None:
    """Creates the folder, or checks that it was made with the same settings."""
    path, wanted = directory / _PROVENANCE, _provenance(count, population, complete=False)
    folders = (directory, directory / IMAGES, directory / REGION_MAPS)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DatasetError(f"{path}: not valid JSON ({error}); delete it") from error
        stored = {"agreements": {}, "renderer": 1} | stored  # what the first sets do not say
        same = [name for name in wanted if name not in ("made_by", "count", "complete")]
        check_settings(
            directory,
            {name: stored.get(name) for name in same},
            {name: wanted[name] for name in same},
            DatasetError,
            "Use the same settings, or choose another folder",
        )
        if stored.get("count", 0) > count:
            raise DatasetError(
                f"{directory} was started with a count of {stored['count']}. Received: {count}. "
                "Use another folder, or at least that count"
            )
    elif any((directory / IMAGES).iterdir()):
        raise DatasetError(
            f"{directory / IMAGES} holds images that were not rendered here (there is no "
            f"{_PROVENANCE}). Use another folder"
        )
    for folder in folders:
        remove_temporary_files(folder)
    _write_provenance(directory, wanted)


def _provenance(count: int, population: Population, complete: bool) -> dict[str, Any]:
    return {
        "made_by": "far_keras.synthetic",
        "version": __version__,
        "renderer": RENDERER,
        "seed": population.seed,
        "count": count,
        "negatives": population.negatives,
        "correlations": population.correlations,
        "force": dict(sorted(population.force.items())),
        "agreements": {name: list(tie) for name, tie in sorted(population.agreements.items())},
        "complete": complete,
    }


def _write_provenance(directory: Path, provenance: dict[str, Any]) -> None:
    write_atomically(directory / _PROVENANCE, json.dumps(provenance, indent=2) + "\n")


def _render_all(
    directory: Path, count: int, population: Population, workers: int, console: Console
) -> tuple[list[LabelRow], int]:
    """All rows in the order of the images, and how many were rendered now."""
    rows: list[LabelRow] = []
    rendered = 0
    pool = WorkerPool(
        partial(_Worker, directory, population),
        workers,
        DatasetError,
        in_process=False,
        environment=_ONE_THREAD,
    )
    with progress_bar(console=console) as bar, pool:
        bar_task = bar.add_task("Rendering faces", total=count)
        try:
            for made, fresh in pool.map(_Worker.finish, _tasks(count, population)):
                rows += made
                rendered += fresh
                bar.advance(bar_task, len(made))
        except KeyboardInterrupt:
            bar.stop()
            console.print("Stopping: finishing the images in progress ...")
            pool.close()
            whole = len(list((directory / IMAGES).glob("[0-9]*.jpg")))
            console.print(f"{whole} of {count} images are in {directory}.", markup=False)
            console.print("Run the same command again: it resumes.")
            raise
    return rows, rendered


def _tasks(count: int, population: Population) -> Iterator[tuple[int, int, int]]:
    """Per identity: its number, the number of its first image, how many images."""
    identity, first = 0, 1
    while first <= count:
        identity += 1
        images = min(population.identity(identity).num_images, count - first + 1)
        yield identity, first, images
        first += images


class _Worker:
    """Renders, labels and stores the images of identities; one per process."""

    def __init__(self, directory: Path, population: Population) -> None:
        self._directory, self._population = directory, population

    def finish(self, task: tuple[int, int, int]) -> tuple[list[LabelRow], int]:
        """Renders the images of one identity that are not on disk yet; rows of all of them."""
        number, first, images = task
        identity = self._population.identity(number)
        rows, rendered = [], 0
        for index in range(images):
            name = f"{first + index:06d}"
            regions = self._read(name)
            if regions is None:
                regions = self._render(identity, index, name)
                rendered += 1
            if identity.person is None:
                labels = negative_labels()
            else:
                labels = visible_labels(identity.person, identity.shots[index], regions)
            rows.append(LabelRow(first + index, number, identity.person is None, labels))
        return rows, rendered

    def _render(self, identity: Identity, index: int, name: str) -> np.ndarray:
        if identity.person is None:
            seed = [self._population.seed, identity.number]
            image, regions = render_negative(seed, ALIGNED_SIZE)
            quality = NEGATIVE_QUALITY
        else:
            shot = identity.shots[index]
            rendering = render(identity.person, shot)
            image, regions = rendering.image, rendering.regions
            quality = shot.camera.jpeg_quality
        write_atomically(self._directory / REGION_MAPS / f"{name}.png", _encode(regions, "PNG"))
        jpeg = _encode(image, "JPEG", quality=quality)
        write_atomically(self._directory / IMAGES / f"{name}.jpg", jpeg)
        return regions

    def _read(self, name: str) -> np.ndarray | None:
        """The region map of an image whose two files are whole, else None."""
        try:
            with (
                Image.open(self._directory / IMAGES / f"{name}.jpg") as image,
                Image.open(self._directory / REGION_MAPS / f"{name}.png") as regions,
            ):
                size = ALIGNED_SIZE[::-1]
                if image.size != size or regions.size != size or regions.mode != "L":
                    return None
                image.load()
                return np.asarray(regions)
        except (OSError, SyntaxError):
            return None


def _encode(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
