"""Turns one image into what a record holds of it: an aligned JPEG and its masks.

This runs in the worker processes of `annotate`, so it imports no TensorFlow.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from far_keras.errors import DatasetError, ImageError
from far_keras.faces.alignment import align
from far_keras.faces.detector import FaceDetector
from far_keras.faces.landmarks import FaceLandmarker
from far_keras.faces.region_map import true_masks
from far_keras.faces.regions import pack_masks, region_masks
from far_keras.geometry import ALIGNED_SIZE
from far_keras.images import read_image

__all__ = ["AnnotatedPicture", "PictureAnnotator", "PictureTask", "encode_png"]

_JPEG_QUALITY = 95
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class PictureTask:
    """One image to annotate.

    Args:
        file: The image.
        faceless: Whether it is known to show no face.
        region_map: Its rendered region map, or None.
    """

    file: Path
    faceless: bool = False
    region_map: Path | None = None


@dataclass(frozen=True)
class AnnotatedPicture:
    """What came of an image.

    Args:
        image: JPEG in CelebA's frame; empty if the image could not be read.
        masks: Packed PNG of the landmark masks; empty if no face was found.
        true_masks: Packed PNG of the rendered regions' masks, or empty.
        error: Why the image could not be read, or None.
    """

    image: bytes = b""
    masks: bytes = b""
    true_masks: bytes = b""
    error: str | None = None


class PictureAnnotator:
    """Aligns images and makes their masks; holds the landmark models.

    An image of exactly 178 x 218 pixels is taken to be aligned already, as CelebA's and rendered
    ones are; if it is an upright RGB JPEG, its bytes are kept as they are. Any other image is
    searched for faces and the largest one is aligned; if there is none, the largest upright
    rectangle of the frame's shape about its centre is taken.

    An image known to be faceless has masks without a single pixel: it teaches the mask network
    what is no face. Elsewhere an image without a found face has no masks at all.

    Args:
        model: Path of ``face_landmarker.task``; see `FaceLandmarker`.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        self._model = model
        self._landmarker = FaceLandmarker(model)
        self._detector: FaceDetector | None = None  # only own photographs need it

    def close(self) -> None:
        """Frees the native models."""
        self._landmarker.close()
        if self._detector is not None:
            self._detector.close()

    def annotate(self, task: PictureTask) -> AnnotatedPicture:
        """Annotates one image; one that cannot be read is returned with `error` set.

        Raises:
            DatasetError: Its region map is missing, damaged or of another size.
        """
        try:
            image = read_image(task.file)
        except ImageError as error:
            return AnnotatedPicture(error=str(error))
        in_frame = image.shape[:2] == ALIGNED_SIZE
        landmarks = None
        if in_frame:
            if not task.faceless and (faces := self._landmarker.detect(image)):
                landmarks = faces[0]
        else:
            image, landmarks = self._align(image, task.faceless)

        if task.faceless:
            masks = _EMPTY_MASKS
        elif landmarks is None:
            masks = b""
        else:
            masks = encode_png(pack_masks(region_masks(landmarks, ALIGNED_SIZE, image)))
        jpeg = _plain_jpeg(task.file) if in_frame else None
        return AnnotatedPicture(
            image=jpeg if jpeg is not None else _encode_jpeg(image),
            masks=masks,
            true_masks=_read_true_masks(task.region_map),
        )

    def _align(self, image: np.ndarray, faceless: bool) -> tuple[np.ndarray, np.ndarray | None]:
        faces = []
        if not faceless:
            if self._detector is None:
                self._detector = FaceDetector(self._model)
            faces = self._detector.find(image)
        if not faces:
            return _crop_to_frame(image), None
        face = faces[0]  # the largest
        aligned = align(image, face.landmarks, face.eyes)
        return aligned.image, None if face.profile else aligned.landmarks


def encode_png(image: np.ndarray) -> bytes:
    """A uint8 (H, W) array as a single-channel PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


_EMPTY_MASKS = encode_png(np.zeros(ALIGNED_SIZE, np.uint8))


def _encode_jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _plain_jpeg(file: Path) -> bytes | None:
    """The file's bytes if any JPEG decoder reads from them what `read_image` does, else None."""
    data = file.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        upright = image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        plain = image.format == "JPEG" and image.mode == "RGB" and upright
    return data if plain else None


def _crop_to_frame(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(height / ALIGNED_SIZE[0], width / ALIGNED_SIZE[1])
    crop_height, crop_width = scale * ALIGNED_SIZE[0], scale * ALIGNED_SIZE[1]
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    resized = Image.fromarray(image).resize(
        (ALIGNED_SIZE[1], ALIGNED_SIZE[0]),
        Image.Resampling.BILINEAR,
        box=(left, top, left + crop_width, top + crop_height),
    )
    return np.asarray(resized)


def _read_true_masks(region_map: Path | None) -> bytes:
    if region_map is None:
        return b""
    try:
        with Image.open(region_map) as image:
            regions = np.asarray(image)
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        raise DatasetError(f"{region_map}: cannot read the region map: {error}") from error
    if regions.shape != ALIGNED_SIZE or regions.dtype != np.uint8:
        raise DatasetError(
            f"{region_map}: expected a single-channel 8-bit PNG of 178 x 218 pixels. "
            f"Received: shape {regions.shape}, {regions.dtype}"
        )
    return encode_png(pack_masks(true_masks(regions)))
