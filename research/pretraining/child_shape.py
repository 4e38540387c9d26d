"""Fits `far_keras.faces.child_shape` on rendered people, each as adult and as child.

    python -m far_keras.pretraining.child_shape far_keras/faces/child_shape.npz

11 minutes on one core. Like the model that comes with the package, it has seen no photograph.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from far_keras.faces.child_shape import CHILD_SHAPE, SKIN, ChildShape, align_shapes
from far_keras.faces.detector import FaceDetector
from far_keras.synthetic.children import OLDEST, YOUNGEST, as_child
from far_keras.synthetic.head.morphs import ANCESTRIES
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render

__all__ = ["Faces", "fit_child_shape", "render_faces"]

PEOPLE = 1000
SEED = 95_000  # no data set and no stand-in is rendered with it
COMPONENTS = 40
"""Principal components of adults' shapes: what faces differ in, without the landmarks' noise."""
SHARE = 0.1
"""Of children among the faces of a photograph, by convention."""
_KINDS = ("women", "men", *ANCESTRIES)


@dataclass(frozen=True, eq=False)
class Faces:
    """Landmarks of rendered people.

    Args:
        grown_ups: (N, 478, 3).
        children: (M, 478, 3); of the same people, some of whom were not found.
        kinds: By a kind of people, (N,) bool, which of the adults are of it: women, men, and
            those whose head is mostly of one of the mesh's base shapes.
    """

    grown_ups: np.ndarray
    children: np.ndarray
    kinds: Mapping[str, np.ndarray]


def render_faces(numbers: Sequence[int], workers: int | None = None) -> Faces:
    """Renders people as adults and as children of 6 to 10 years, and finds their landmarks.

    Args:
        numbers: Of the people, from 1.
        workers: Processes; one a core by default.
    """
    workers = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        found = list(
            track(
                pool.map(_landmarks, numbers, chunksize=5),
                "rendering",
                len(numbers),
                console=Console(stderr=True),
            )
        )
    grown_ups = [(face, kinds) for face, _, kinds in found if face is not None]
    return Faces(
        np.stack([face for face, _ in grown_ups]),
        np.stack([face for _, face, _ in found if face is not None]),
        {kind: np.array([kind in kinds for _, kinds in grown_ups]) for kind in _KINDS},
    )


def fit_child_shape(faces: Faces) -> ChildShape:
    """Fisher's linear discriminant (1936) of shapes, on the principal components of adults'.

    Raises:
        ValueError: There are too few faces.
    """
    fewest = min(len(faces.grown_ups), len(faces.children))
    if fewest <= 2 * COMPONENTS:
        raise ValueError(f"faces: expected more than {2 * COMPONENTS} of each. Received: {fewest}")
    mean = _mean_shape(faces.grown_ups)
    grown_ups, children = (
        align_shapes(landmarks, mean).reshape(len(landmarks), -1)
        for landmarks in (faces.grown_ups, faces.children)
    )
    center = grown_ups.mean(0)
    components = np.linalg.svd(grown_ups - center, full_matrices=False)[2][:COMPONENTS]
    scores = [(shapes - center) @ components.T for shapes in (grown_ups, children)]
    within = np.mean([np.cov(score.T) for score in scores], axis=0)
    of_grown_ups, of_children = (score.mean(0) for score in scores)
    direction = np.linalg.solve(within, of_children - of_grown_ups)
    weights = direction @ components
    middle = direction @ (of_children + of_grown_ups) / 2 + weights @ center
    bias = np.log(SHARE / (1 - SHARE)) - middle
    return ChildShape(mean, weights.reshape(mean.shape), float(bias))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help=f"the package's own is {CHILD_SHAPE.name}")
    parser.add_argument("--people", type=int, default=PEOPLE, help="default: %(default)s")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    options = parser.parse_args()
    last = options.people
    shape = fit_child_shape(render_faces(range(1, last + 1), options.workers))
    shape.save(options.out)
    others = render_faces(range(last + 1, last + last // 3 + 1), options.workers)
    children, grown_ups = (shape.log_odds(x) > 0 for x in (others.children, others.grown_ups))
    print(f"{options.out}: of rendered people who were not fitted on, taken for children are")
    print(f"  {children.sum()} of {len(children)} children")
    for kind, of_kind in others.kinds.items():
        print(f"  {grown_ups[of_kind].sum()} of {of_kind.sum()} adults ({kind})")


def _mean_shape(landmarks: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Generalized Procrustes analysis: the shape that all are turned to is their mean."""
    mean = align_shapes(landmarks[:1], landmarks[0, :SKIN])[0]
    for _ in range(rounds):
        mean = align_shapes(landmarks, mean).mean(0)
        mean /= np.linalg.norm(mean)
    return mean


@cache
def _detector() -> FaceDetector:
    return FaceDetector()


def _landmarks(number: int) -> tuple[np.ndarray | None, np.ndarray | None, set[str]]:
    """Of one person as adult and as child, None where no face was found; and their kinds."""
    subject = Population(SEED).identity(number)
    assert subject.person is not None  # a population without negatives
    person, shot = subject.person, subject.shots[0]
    age = float(np.random.default_rng([SEED, number]).uniform(YOUNGEST, OLDEST))
    return (
        _find(render(person, shot).image),
        _find(render(*as_child(person, shot, age)).image),
        {"men" if person.male else "women", ANCESTRIES[int(np.argmax(person.face.ancestry))]},
    )


def _find(picture: np.ndarray) -> np.ndarray | None:
    faces = _detector().find(picture)
    return faces[0].landmarks if faces else None


if __name__ == "__main__":
    main()
