"""Compares masks from landmarks with the true regions of rendered faces.

    python benchmarks/masks.py --count 300           # renders fresh faces
    python benchmarks/masks.py --data DIR            # a folder that far-keras synthesize wrote

Prints for each region the mean intersection over union of the mask with the renderer's truth, with
a 95% interval (normal approximation), over the images in which the region is visible and a face
was found; from the landmarks alone, and with the image's colours as annotation uses them. The
truth is `far_keras.faces.region_map.true_masks`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from far_keras.faces.landmarks import FaceLandmarker
from far_keras.faces.region_map import Region, true_masks
from far_keras.faces.regions import region_masks
from far_keras.images import list_images, read_image
from far_keras.schema import REGIONS
from far_keras.synthetic.dataset import synthesize

SEED = 30_000  # far from the seeds that anything was tuned on
TRUTHS = {
    "mouth": "lips and what is visible between them",
    "ear": "ears and earrings, where at least one pixel shows",
    "lower_face": "skin without neck, beard, mouth, below the nose",
    "cheeks": "skin, beard between eyes and mid-mouth, outside the nose's columns",
    "nose": "nose",
    "eyes": "hull of brow and eye on each side",
    "hair": "head hair and hat",
    "object": "the whole head without neck",
}
TARGETS = {"mouth": 0.75, "ear": 0.30, "eyes": 0.75, "hair": 0.55, "object": 0.80}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="rendered set with regions/ (default: fresh)")
    parser.add_argument("--count", type=int, default=300, help="images at most")
    parser.add_argument("--seed", type=int, default=SEED, help="of fresh images")
    options = parser.parse_args()
    if options.data is not None:
        compare(options.data, options.count)
        return
    with tempfile.TemporaryDirectory() as folder:
        synthesize(folder, options.count, options.seed, negatives=0.0)
        compare(Path(folder), options.count)


def compare(folder: Path, count: int) -> None:
    scores: list[list[np.ndarray]] = [[], []]
    seconds = np.zeros(2)
    missed = 0
    files = list_images(folder / "img_align_celeba")[:count]
    with FaceLandmarker() as landmarker:
        for file in track(files, "comparing", console=Console(stderr=True)):
            image = read_image(file)
            region_map = read_image(folder / "regions" / f"{file.stem}.png")[..., 0]
            if not (region_map == Region.SKIN).any():
                continue  # an image without a face
            if not (faces := landmarker.detect(image)):
                missed += 1
                continue
            truth = true_masks(region_map)
            for variant, colours in enumerate((None, image)):
                started = time.perf_counter()
                masks = region_masks(faces[0], truth.shape[:2], colours)
                seconds[variant] += time.perf_counter() - started
                scores[variant].append(overlaps(masks, truth))
    show(np.array(scores))
    per_image = seconds / max(1, len(scores[0])) * 1e3
    print(
        f"{len(scores[0])} faces found, {missed} not found. An image took "
        f"{per_image[0]:.1f} ms from landmarks alone, {per_image[1]:.1f} ms with colours "
        "(without finding the landmarks)."
    )


def overlaps(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each region, (8,); NaN where nothing of it is visible."""
    both = (masks & truth).sum((0, 1))
    either = (masks | truth).sum((0, 1))
    return np.where(truth.any((0, 1)), both / np.maximum(either, 1), np.nan)


def show(scores: np.ndarray) -> None:
    table = Table("region", "landmarks", "with colours", "aim", "visible in", "truth")
    for index, region in enumerate(REGIONS):
        cells = []
        for values in scores[..., index]:
            visible = values[np.isfinite(values)]
            spread = 1.96 * visible.std() / math.sqrt(max(1, len(visible)))
            cells.append(f"{visible.mean():.3f} ± {spread:.3f}" if len(visible) else "-")
        aim = f"{TARGETS[region]:.2f}" if region in TARGETS else ""
        table.add_row(region, *cells, aim, str(len(visible)), TRUTHS[region])
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
