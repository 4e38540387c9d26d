"""Measures face detection on folders of images, next to MediaPipe's FaceLandmarker.

For each folder: the share of images with a face, of images whose landmarks are unreliable
(profiles), milliseconds per image (median, one core, both detectors in turn), and the distance of
the landmarks from MediaPipe's in percent of the face's width. ``--faceless`` counts false finds;
``--turned`` also searches each image turned by 90, 180 and 270 degrees and compares the eyes.

    python benchmarks/detection.py FairFace/val CelebA/wild --count 500 --turned
    python benchmarks/detection.py --faceless textures animals
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from far_keras.console import progress_bar
from far_keras.errors import ImageError
from far_keras.faces.detector import FaceDetector
from far_keras.faces.landmarks import FaceLandmarker
from far_keras.images import list_images, read_image


def images_of(folder: Path, count: int) -> list[np.ndarray]:
    """Up to `count` images of a folder, evenly spaced."""
    paths = list_images(folder)
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, count).astype(int))]
    images = []
    for path in chosen:
        try:
            images.append(read_image(path))
        except ImageError as error:
            print(f"left out: {error}")
    return images


def timed(function, image: np.ndarray):
    started = time.perf_counter()
    result = function(image)
    return result, 1000 * (time.perf_counter() - started)


def turned_right(detector: FaceDetector, image: np.ndarray, eyes: np.ndarray, quarter: int) -> bool:
    """Whether the turned image has the upright one's eyes, to 15% of their distance."""
    turned = np.ascontiguousarray(np.rot90(image, quarter))
    faces = detector.find(turned)
    if not faces:
        return False
    x, y = faces[0].eyes.T
    height, width = image.shape[:2]
    back = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}
    error = np.hypot(*(np.stack(back[quarter], axis=1) - eyes).T).max()
    return bool(error < 0.15 * np.hypot(*(eyes[1] - eyes[0])))


def measure(folder: Path, count: int, turned: bool) -> None:
    """Prints the measurements of one folder of images with a face each."""
    images = images_of(folder, count)
    ours_ms, theirs_ms, errors, found, profiles, theirs_found = [], [], [], 0, 0, 0
    upright: list[tuple[np.ndarray, np.ndarray]] = []
    with FaceDetector() as detector, FaceLandmarker() as landmarker, progress_bar() as bar:
        task = bar.add_task(folder.name, total=len(images))
        for image in images:
            faces, duration = timed(detector.find, image)
            ours_ms.append(duration)
            others, duration = timed(landmarker.detect, image)
            theirs_ms.append(duration)
            found, theirs_found = found + bool(faces), theirs_found + bool(others)
            if faces:
                profiles += faces[0].profile
                upright.append((image, faces[0].eyes))
            if faces and others and not faces[0].profile:
                distance = np.hypot(*(faces[0].landmarks[:, :2] - others[0][:, :2]).T).mean()
                errors.append(100 * distance / np.ptp(others[0][:, 0]))
            bar.advance(task)
        print(
            f"{folder}: {len(images)} images; found {found / len(images):.3f} "
            f"(MediaPipe {theirs_found / len(images):.3f}), unreliable landmarks "
            f"{profiles / len(images):.3f}; {np.median(ours_ms):.1f} ms "
            f"(MediaPipe {np.median(theirs_ms):.1f}); landmarks from MediaPipe's "
            f"{np.median(errors):.2f}% of the face's width, "
            f"95% below {np.quantile(errors, 0.95):.2f}%"
        )
        if turned:
            for quarter in (1, 2, 3):
                right = [turned_right(detector, *pair, quarter) for pair in upright]
                print(f"  turned by {90 * quarter} degrees: eyes right in {np.mean(right):.3f}")


def count_false(folders: list[Path], count: int) -> None:
    """Prints how many faces are found in images without one."""
    with FaceDetector() as detector:
        for folder in folders:
            images = images_of(folder, count)
            finds = sum(len(detector.find(image)) for image in images)
            print(f"{folder}: {finds} faces in {len(images)} images without one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="images with one main face each")
    parser.add_argument("--faceless", nargs="*", type=Path, default=[], help="images without faces")
    parser.add_argument("--count", type=int, default=500, help="images per folder")
    parser.add_argument("--turned", action="store_true", help="also turn each image")
    options = parser.parse_args()
    if not options.folders + options.faceless:
        parser.error("expected a folder of images")
    for folder in options.folders:
        measure(folder, options.count, options.turned)
    count_false(options.faceless, options.count)


if __name__ == "__main__":
    main()
