"""Fits `far_keras.faces.child_shape` on rendered people, each as adult and as child.

    python -m research.pretraining.child_shape far_keras/faces/child_shape.npz

11 minutes on one core. It is fitted without photographs, like the packaged model.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from far_keras.console import progress_bar
from far_keras.errors import FarError
from far_keras.faces.child_shape import CHILD_SHAPE, SKIN, ChildShape, align_shapes
from far_keras.faces.detector import FaceDetector
from far_keras.jobs import WorkerPool, usable_cores
from far_keras.synthetic.head.morphs import ANCESTRIES
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render
from research.pretraining.children import OLDEST, YOUNGEST, as_child

__all__ = ["Faces", "fit_child_shape", "render_faces"]

PEOPLE = 1000
SEED = 95_000  # no data set and no stand-in is rendered with it
COMPONENTS = 40
"""Principal components of adults' shapes: what faces differ in, without the landmarks' noise."""
SHARE = 0.1
"""Prior share of children among the faces of a photograph."""
_KINDS = ("women", "men", *ANCESTRIES)


@dataclass(frozen=True, eq=False)
class Faces:
    """Landmarks of rendered people.

    Args:
        adults: (N, 478, 3).
        children: (M, 478, 3); of the same people, some of whom were not found.
        kinds: By a kind of people, (N,) bool, which of the adults are of it: women, men, and
            those whose head is mostly one of the mesh's base shapes.
    """

    adults: np.ndarray
    children: np.ndarray
    kinds: Mapping[str, np.ndarray]


def render_faces(numbers: Sequence[int], workers: int | None = None) -> Faces:
    """Renders people as adults and as children of 6 to 10 years, and finds their landmarks.

    Args:
        numbers: Of the people, from 1.
        workers: Processes; one per core by default.
    """
    with (
        WorkerPool(FaceDetector, workers or usable_cores(), FarError) as pool,
        progress_bar() as bar,
    ):
        people = pool.map(_landmarks, numbers)
        found = list(bar.track(people, total=len(numbers), description="rendering"))
    adults = [(face, kinds) for face, _, kinds in found if face is not None]
    return Faces(
        np.stack([face for face, _ in adults]),
        np.stack([face for _, face, _ in found if face is not None]),
        {kind: np.array([kind in kinds for _, kinds in adults]) for kind in _KINDS},
    )


def fit_child_shape(faces: Faces) -> ChildShape:
    """Fisher's linear discriminant (1936) of shapes, on the principal components of adults'.

    Raises:
        ValueError: There are too few faces.
    """
    fewest = min(len(faces.adults), len(faces.children))
    if fewest <= 2 * COMPONENTS:
        raise ValueError(f"faces: expected more than {2 * COMPONENTS} of each. Received: {fewest}")
    mean = _mean_shape(faces.adults)
    adults, children = (
        align_shapes(landmarks, mean).reshape(len(landmarks), -1)
        for landmarks in (faces.adults, faces.children)
    )
    center = adults.mean(0)
    components = np.linalg.svd(adults - center, full_matrices=False)[2][:COMPONENTS]
    scores = [(shapes - center) @ components.T for shapes in (adults, children)]
    within = np.mean([np.cov(score.T) for score in scores], axis=0)
    of_adults, of_children = (score.mean(0) for score in scores)
    direction = np.linalg.solve(within, of_children - of_adults)
    weights = direction @ components
    middle = direction @ (of_children + of_adults) / 2 + weights @ center
    bias = np.log(SHARE / (1 - SHARE)) - middle
    return ChildShape(mean, weights.reshape(mean.shape), float(bias))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help=f"the package's own is {CHILD_SHAPE.name}")
    parser.add_argument("--people", type=int, default=PEOPLE, help="default: %(default)s")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    options = parser.parse_args(arguments)
    last = options.people
    shape = fit_child_shape(render_faces(range(1, last + 1), options.workers))
    shape.save(options.out)
    others = render_faces(range(last + 1, last + last // 3 + 1), options.workers)
    children, adults = (shape.log_odds(x) > 0 for x in (others.children, others.adults))
    print(f"{options.out}: of rendered people outside the fit, classified as children:")
    print(f"  {children.sum()} of {len(children)} children")
    for kind, of_kind in others.kinds.items():
        print(f"  {adults[of_kind].sum()} of {of_kind.sum()} adults ({kind})")


def _mean_shape(landmarks: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Generalized Procrustes analysis: the shape that all are turned to is their mean."""
    mean = align_shapes(landmarks[:1], landmarks[0, :SKIN])[0]
    for _ in range(rounds):
        mean = align_shapes(landmarks, mean).mean(0)
        mean /= np.linalg.norm(mean)
    return mean


def _landmarks(
    detector: FaceDetector, number: int
) -> tuple[np.ndarray | None, np.ndarray | None, set[str]]:
    """Of one person as adult and as child, None where no face was found; and their kinds."""
    identity = Population(SEED).identity(number)
    assert identity.person is not None  # a population without negatives
    person, shot = identity.person, identity.shots[0]
    age = float(np.random.default_rng([SEED, number]).uniform(YOUNGEST, OLDEST))
    return (
        _find(detector, render(person, shot).image),
        _find(detector, render(*as_child(person, shot, age)).image),
        {"men" if person.male else "women", ANCESTRIES[int(np.argmax(person.face.ancestry))]},
    )


def _find(detector: FaceDetector, image: np.ndarray) -> np.ndarray | None:
    faces = detector.find(image)
    return faces[0].landmarks if faces else None


if __name__ == "__main__":
    main()
