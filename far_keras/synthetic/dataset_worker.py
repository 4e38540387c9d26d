"""What each process of `synthesize` does: renders, labels and stores the images of identities."""

from __future__ import annotations

import io
import os
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from far_keras.files import write_atomically
from far_keras.synthetic.celeba_layout import (
    IMAGES,
    REGION_MAPS,
    Row,
    picture_name,
)
from far_keras.synthetic.labels import negative_labels, visible_labels
from far_keras.synthetic.negatives import render_negative
from far_keras.synthetic.people.population import Correlations, Population, Subject

__all__ = ["SIZE", "Settings", "make_pictures", "start_worker"]

SIZE = (218, 178)  # height, width of CelebA's aligned images
_QUALITY_OF_NEGATIVES = 90  # of JPEG


@dataclass(frozen=True)
class Settings:
    """What decides the images of a set."""

    seed: int
    negatives: float
    correlations: Correlations
    force: dict[str, int]
    agreements: dict[str, tuple[str, float]] = field(default_factory=dict)

    def population(self) -> Population:
        return Population(self.seed, self.force, self.correlations, self.negatives, self.agreements)


_worker: tuple[Path, Population]


def start_worker(directory: str, settings: Settings) -> None:
    """Prepares a process; it ends when its parent does, even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us

    def end_with_parent() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    global _worker
    _worker = Path(directory), settings.population()


def make_pictures(identity: int, first: int, pictures: int) -> tuple[list[Row], int]:
    """Renders and labels the images of one identity that are not on disk yet."""
    directory, population = _worker
    subject = population.subject(identity)
    rows, rendered = [], 0
    for index in range(pictures):
        number = first + index
        regions = _read_finished(directory, number)
        if regions is None:
            regions = _render(directory, population.seed, subject, index, number)
            rendered += 1
        if subject.person is None:
            labels = negative_labels()
        else:
            labels = visible_labels(subject.person, subject.shots[index], regions)
        rows.append(Row(number, identity, subject.person is None, labels))
    return rows, rendered


def _render(directory: Path, seed: int, subject: Subject, index: int, number: int) -> np.ndarray:
    if subject.person is None:
        image, regions = render_negative([seed, subject.identity], SIZE)
        quality = _QUALITY_OF_NEGATIVES
    else:
        from far_keras.synthetic.renderer import render

        shot = subject.shots[index]
        rendering = render(subject.person, shot, SIZE)
        image, regions = rendering.image, rendering.regions
        quality = shot.camera.jpeg_quality
    name = picture_name(number)
    png = _encode(regions, "PNG")
    write_atomically(directory / REGION_MAPS / Path(name).with_suffix(".png"), png)
    write_atomically(directory / IMAGES / name, _encode(image, "JPEG", quality=quality))
    return regions


def _encode(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _read_finished(directory: Path, number: int) -> np.ndarray | None:
    """The region map of an image whose two files are whole, else None."""
    name = picture_name(number)
    image, regions = directory / IMAGES / name, directory / REGION_MAPS / name
    try:
        with Image.open(image) as picture, Image.open(regions.with_suffix(".png")) as ids:
            if picture.size != SIZE[::-1] or ids.size != SIZE[::-1] or ids.mode != "L":
                return None
            picture.load()
            return np.asarray(ids)
    except (OSError, SyntaxError):
        return None
