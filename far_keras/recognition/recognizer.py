"""Photographs in, faces with attributes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, overload

import numpy as np

from far_keras.errors import ImageError
from far_keras.faces.alignment import align
from far_keras.faces.detector import FaceDetector
from far_keras.images import ImageSource, read_image
from far_keras.models.variants import pretrained_folder
from far_keras.recognition.answering import FaceAnswerer, FoundFace
from far_keras.recognition.engines.engine import Engine
from far_keras.recognition.engines.opening import open_engine
from far_keras.recognition.pictures import Pictures, is_one_picture, named_pictures
from far_keras.recognition.results import FaceResult, PictureResult
from far_keras.recognition.video.reader import is_video
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    from far_keras.recognition.engines.opening import ModelSource

__all__ = ["Recognizer"]


class Recognizer:
    """Finds every face in a photograph and answers its attributes.

    Faces are detected, aligned to CelebA's frame, and answered by the model in batches that may
    hold faces of several photographs. Keep one: building it loads the models. It is not made for
    several threads at once; give each thread or process its own.

    Not answered are attributes that the model's training could not teach, since its labels held
    one class only or none, and, unless `sensitive` is set, those that the schema calls sensitive,
    such as *Attractive* or *Male*. Unless `children` is set, nothing is decided about faces with a
    child's proportions.

    Args:
        engine: What answers aligned faces, see `load`; the model that comes with the package if
            None.
        detector: What finds the faces; its own if None.
        batch_size: Faces answered at once.
        sensitive: Whether sensitive attributes are answered.
        children: Whether faces with a child's proportions are decided like others: the models
            know no children.

    Attributes:
        attributes: Names of the answered attributes.
        engine: What answers aligned faces.
        detector: What finds faces.
        untrained: Names of those that the model's training could not teach.
        left_out: Names of the sensitive ones that are left out.

    Example:
        >>> with Recognizer() as recognizer:  # doctest: +SKIP
        ...     result = recognizer("photo.jpg")
        ...     result.status, result.faces[0].decisions["Smiling"]
        ('ok', True)
    """

    def __init__(
        self,
        engine: Engine | None = None,
        detector: FaceDetector | None = None,
        batch_size: int = 32,
        sensitive: bool = False,
        children: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1. Received: {batch_size}")
        self.engine = open_engine(pretrained_folder()) if engine is None else engine
        self.batch_size = batch_size
        self._answerer = FaceAnswerer(self.engine, sensitive, children)
        self.attributes = self._answerer.attributes
        self.untrained = self._answerer.untrained
        self.left_out = self._answerer.left_out
        self.detector = FaceDetector() if detector is None else detector

    @classmethod
    def load(
        cls,
        model: ModelSource | None = None,
        *,
        schema: AttributeSchema | None = None,
        batch_size: int = 32,
        sensitive: bool = False,
        children: bool = False,
    ) -> Recognizer:
        """A recogniser for whatever holds or runs a model.

        Args:
            model: The folder of a trained model, the folder of an exported one, a ``.tflite``
                file, a `FarClient` or ``"grpc://host:8500/model"``, see `open_engine`; the model
                that comes with the package if None.
            schema: The schema that is wanted; None takes whatever the model has.
            batch_size: Faces answered at once.
            sensitive: Whether sensitive attributes are answered.
            children: Whether faces with a child's proportions are decided like others.

        Raises:
            ModelError: There is no model, an incomplete one, one of another schema than `schema`,
                or one that does not answer attributes from images alone.
            ServingError: A server is not reached, or its model does not describe itself.
            AssetError: The face detector's model is not to be had.
            SystemLibraryError: A system library that MediaPipe needs is missing.
        """
        source = pretrained_folder() if model is None else model
        engine = open_engine(source, schema)
        return cls(engine, batch_size=batch_size, sensitive=sensitive, children=children)

    # Text, bytes and arrays are iterable too, but stand for one image: the first match counts.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, pictures: ImageSource, *, strict: bool = False
    ) -> PictureResult: ...

    @overload
    def __call__(
        self, pictures: Iterable[ImageSource], *, strict: bool = False
    ) -> list[PictureResult]: ...

    def __call__(
        self, pictures: Pictures, *, strict: bool = False
    ) -> PictureResult | list[PictureResult]:
        """Answers one image, or each of several.

        Args:
            images: A path, a file's content as bytes, a Pillow image, or a uint8 RGB array
                (H, W, 3); or an iterable of these, or the path of a folder with images or of a
                video, whose frames are answered as `answer_video` does.
            strict: Raise on the first unreadable image instead of noting it in its status.

        Returns:
            A result for one image; a list of results, in order, for several. Their masks take
            some 150 kB a face: use `stream` for thousands.

        Raises:
            ImageError: With `strict`, an image that cannot be read. In any case, a folder
                without images.
            VideoError: A video in which no frame can be read.
        """
        results = list(self.stream(pictures, strict=strict))
        return results[0] if is_one_picture(pictures) else results

    def stream(self, pictures: Pictures, *, strict: bool = False) -> Iterator[PictureResult]:
        """Answers images one after another, without holding them all; see `__call__`.

        Some `batch_size` faces are gathered before the model runs, so results come in bursts.
        """
        if isinstance(pictures, str | Path) and is_video(pictures):
            yield from self._stream_video(pictures)
            return
        waiting: list[tuple[PictureResult, list[FoundFace]]] = []
        count = 0
        for name, picture in named_pictures(pictures):
            waiting.append(self._find(name, picture, strict))
            count += len(waiting[-1][1])
            # Faceless images too must not pile up.
            if count >= self.batch_size or len(waiting) >= self.batch_size:
                yield from self._answer(waiting)
                waiting, count = [], 0
        yield from self._answer(waiting)

    def answer(self, found: Sequence[FoundFace]) -> list[FaceResult]:
        """Answers faces that are detected and aligned already, in batches.

        Args:
            found: Pairs of a face that `detector` found and its aligned copy.
        """
        answered: list[FaceResult] = []
        for start in range(0, len(found), self.batch_size):
            answered += self._answerer.answer(found[start : start + self.batch_size])
        return answered

    def annotate(self, picture: ImageSource, *, masks: bool = True) -> np.ndarray:
        """The image with its faces, their attributes and group masks drawn: uint8 RGB.

        Args:
            image: See `__call__`.
            masks: Whether to draw the masks.

        Raises:
            ImageError: The image cannot be read.
        """
        from far_keras.recognition.drawing import draw_faces

        image = read_image(picture)
        (result,) = self.stream([image], strict=True)
        return draw_faces(image, result.faces, masks=masks)

    def close(self) -> None:
        """Frees the detector and the engine; also at the end of a ``with`` block."""
        self.detector.close()
        self.engine.close()

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
        self, name: str, picture: ImageSource, strict: bool
    ) -> tuple[PictureResult, list[FoundFace]]:
        """A result without faces, and the faces yet to be answered."""
        try:
            image = read_image(picture)
            faces = [(face, align(image, face.landmarks)) for face in self.detector.find(image)]
        except Exception as error:  # one image in ten thousand must not end the job
            if strict or self.detector.closed:
                raise
            kind = "unreadable" if isinstance(error, ImageError) else "failed"
            said = (
                str(error) if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"
            )
            return PictureResult(name, f"{kind}: {said}"), []
        status = "ok" if faces else "no face"
        return PictureResult(name, status, size=(image.shape[1], image.shape[0])), faces

    def _stream_video(self, path: str | Path) -> Iterator[PictureResult]:
        from far_keras.recognition.video.answers import answer_video
        from far_keras.recognition.video.reader import VideoReader

        with VideoReader(path) as video:
            for frame in answer_video(self, video):
                yield frame.result

    def _answer(
        self, waiting: list[tuple[PictureResult, list[FoundFace]]]
    ) -> Iterator[PictureResult]:
        found = [pair for _, faces in waiting for pair in faces]
        results = iter(self.answer(found))
        for result, faces in waiting:
            yield replace(result, faces=list(islice(results, len(faces))))
