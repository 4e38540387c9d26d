"""Photographs in, faces with attributes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import compress, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, overload

import numpy as np
from PIL import Image

from far_keras.errors import ImageError
from far_keras.faces.alignment import AlignedFace, align
from far_keras.faces.detector import DetectedFace, FaceDetector
from far_keras.images import ImageSource, read_image
from far_keras.models.forward import compile_forward
from far_keras.models.inputs import require_picture_input
from far_keras.recognition.results import FaceResult, PictureResult

if TYPE_CHECKING:
    from far_keras.models.storage import LoadedModel

__all__ = ["Recognizer"]


class Recognizer:
    """Finds every face in a photograph and answers its attributes.

    Faces are detected, aligned to CelebA's frame, and answered by the model in batches that may
    hold faces of several photographs. Keep one: building it loads TensorFlow and the model.

    Attributes that the model's provenance calls ``untaught``, because its training labels held
    one class only or none, are not answered.

    Args:
        model: What `far_keras.models.storage.load_model` returned.
        detector: What finds the faces; its own if None.
        batch_size: Faces answered at once.

    Example:
        >>> with Recognizer.load("models/first") as recognizer:  # doctest: +SKIP
        ...     result = recognizer("photo.jpg")
        ...     result.status, result.faces[0].decisions["Smiling"]
        ('ok', True)
    """

    def __init__(
        self, model: LoadedModel, detector: FaceDetector | None = None, batch_size: int = 32
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1. Received: {batch_size}")
        require_picture_input(model.model, "recognition")
        self.model = model
        self.batch_size = batch_size
        self._detector = FaceDetector() if detector is None else detector
        schema = model.schema
        self._forward = compile_forward(model.model)
        # Nothing was learned about these, so that their answers would be noise.
        untaught = set(model.provenance.get("untaught", ()))
        self._answered = [name not in untaught for name in schema.attributes]
        self._group_of = {name: schema.group_of(name).name for name in schema.attributes}

    @classmethod
    def load(cls, folder: str | Path, batch_size: int = 32) -> Recognizer:
        """A recogniser from the folder of a trained model.

        Raises:
            ModelError: The folder holds no model, an incomplete one, or one that needs masks.
            AssetError: The face detector's model is not to be had.
            SystemLibraryError: A system library that MediaPipe needs is missing.
        """
        from far_keras.models.storage import load_model

        return cls(load_model(folder), batch_size=batch_size)

    # Text, bytes and arrays are iterable too, but stand for one picture: the first match counts.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, pictures: ImageSource, *, strict: bool = False
    ) -> PictureResult: ...

    @overload
    def __call__(
        self, pictures: Iterable[ImageSource], *, strict: bool = False
    ) -> list[PictureResult]: ...

    def __call__(
        self, pictures: ImageSource | Iterable[ImageSource], *, strict: bool = False
    ) -> PictureResult | list[PictureResult]:
        """Answers one picture, or each of several.

        Args:
            pictures: A path, a file's content as bytes, or a uint8 RGB array (H, W, 3); or an
                iterable of these.
            strict: Raise on the first unreadable picture instead of noting it in its status.

        Returns:
            A result for one picture; a list of results, in order, for an iterable.

        Raises:
            ImageError: With `strict`, a picture that cannot be read.
        """
        if isinstance(pictures, str | Path | bytes | np.ndarray):
            return next(self.stream([pictures], strict=strict))
        return list(self.stream(pictures, strict=strict))

    def stream(
        self, pictures: Iterable[ImageSource], *, strict: bool = False
    ) -> Iterator[PictureResult]:
        """Answers pictures one after another, without holding them all; see `__call__`.

        Some `batch_size` faces are gathered before the model runs, so results come in bursts.
        """
        waiting: list[tuple[PictureResult, list[tuple[DetectedFace, AlignedFace]]]] = []
        count = 0
        for index, picture in enumerate(pictures):
            waiting.append(self._find(index, picture, strict))
            count += len(waiting[-1][1])
            # Faceless pictures too must not pile up.
            if count >= self.batch_size or len(waiting) >= self.batch_size:
                yield from self._answer(waiting)
                waiting, count = [], 0
        yield from self._answer(waiting)

    def annotate(self, picture: ImageSource, *, masks: bool = True) -> np.ndarray:
        """The picture with its faces, their attributes and group masks drawn: uint8 RGB.

        Args:
            picture: See `__call__`.
            masks: Whether to draw the masks.

        Raises:
            ImageError: The picture cannot be read.
        """
        from far_keras.recognition.drawing import draw_faces

        image = read_image(picture)
        return draw_faces(image, self(image, strict=True).faces, masks=masks)

    def close(self) -> None:
        """Frees the detector; also at the end of a ``with`` block."""
        self._detector.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _find(
        self, index: int, picture: ImageSource, strict: bool
    ) -> tuple[PictureResult, list[tuple[DetectedFace, AlignedFace]]]:
        """A result without faces, and the faces yet to be answered."""
        file = str(picture) if isinstance(picture, str | Path) else f"picture {index}"
        try:
            image = read_image(picture)
        except ImageError as error:
            if strict:
                raise
            return PictureResult(file, f"unreadable: {error}"), []
        faces = [(face, align(image, face.landmarks)) for face in self._detector.find(image)]
        status = "ok" if faces else "no face"
        return PictureResult(file, status, size=(image.shape[1], image.shape[0])), faces

    def _answer(
        self, waiting: list[tuple[PictureResult, list[tuple[DetectedFace, AlignedFace]]]]
    ) -> Iterator[PictureResult]:
        found = [pair for _, faces in waiting for pair in faces]
        answered: list[FaceResult] = []
        for start in range(0, len(found), self.batch_size):
            answered += self._answer_batch(found[start : start + self.batch_size])
        results = iter(answered)
        for result, faces in waiting:
            yield replace(result, faces=list(islice(results, len(faces))))

    def _answer_batch(self, found: list[tuple[DetectedFace, AlignedFace]]) -> list[FaceResult]:
        size = self.model.image_size
        # Antialiased and rounded as the training pictures are.
        images = np.stack(
            [
                np.asarray(
                    Image.fromarray(face.image).resize((size, size), Image.Resampling.BILINEAR)
                )
                for _, face in found
            ]
        )
        outputs = self._forward(images)
        probabilities = _sigmoid(outputs["attributes"])  # (B, A)
        masks = _sigmoid(outputs["masks"]) if "masks" in outputs else None  # (B, h, w, G)
        schema, thresholds = self.model.schema, self.model.thresholds
        results = []
        for row, (detected, aligned) in enumerate(found):
            said = dict(
                compress(
                    zip(schema.attributes, probabilities[row].tolist(), strict=True),
                    self._answered,
                )
            )
            results.append(
                FaceResult(
                    box=np.asarray(detected.box, np.float64),
                    confidence=float(detected.confidence),
                    landmarks=np.asarray(detected.landmarks[:, :2], np.float32),
                    probabilities=said,
                    thresholds={name: thresholds[name] for name in said},
                    decisions={name: p >= thresholds[name] for name, p in said.items()},
                    masks=None if masks is None else np.moveaxis(masks[row], -1, 0),
                    groups=() if masks is None else schema.group_names,
                    group_of=self._group_of,
                    matrix=aligned.matrix,
                    aligned=aligned.image,
                )
            )
        return results


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)
