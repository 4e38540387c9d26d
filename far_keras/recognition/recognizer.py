"""The recognizer: photographs and videos in, faces with attributes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import compress, islice
from pathlib import Path
from typing import Any, overload

import numpy as np

from far_keras.errors import ImageError
from far_keras.faces.alignment import align
from far_keras.faces.child_shape import ChildShape
from far_keras.faces.detector import FaceDetector
from far_keras.images import ImageInput, ImageSource, read_image, resize_image
from far_keras.models.variants import pretrained_folder
from far_keras.recognition.drawing import draw_faces
from far_keras.recognition.engines import Engine, ModelSource, Predictions, open_engine
from far_keras.recognition.results import FaceResult, ImageResult, decide, unseen_groups
from far_keras.recognition.video import FaceTracker, FoundFace, VideoReader, predict_frames
from far_keras.schema import AttributeSchema

__all__ = ["Recognizer"]


class Recognizer:
    """Finds every face in a photograph and predicts its attributes.

    Faces are detected, aligned to CelebA's frame, and predicted in batches that may hold faces of
    several photographs. Keep one: building it loads the models. Threads may share it where LiteRT
    runs the model (the packaged one, ``.tflite`` files): they take turns. A process needs its own.

    Left out are untrained attributes (their training labels held one class only, or none) and,
    unless `sensitive` is set, those that the schema calls sensitive, such as *Attractive* or
    *Male*. Unless `children` is set, nothing is decided about faces with a child's proportions.

    Args:
        engine: Runs the model, see `load`; the model that comes with the package if None.
        detector: Finds the faces; a new one if None.
        batch_size: Number of faces in a batch.
        sensitive: Whether to include sensitive attributes.
        children: Whether to decide attributes of faces with a child's proportions: the models
            were not trained on children.

    Attributes:
        attributes: Names of the predicted attributes, in the schema's order.
        engine: Runs the model.
        detector: Finds faces.
        untrained: Names of the attributes that were not trained.
        left_out: Names of the sensitive attributes that are left out.

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
        description = self.engine.description
        schema = description.schema
        self.untrained = tuple(n for n in schema.attributes if n in description.untrained)
        hidden = () if sensitive else schema.sensitive or ()
        self.left_out = tuple(
            n for n in schema.attributes if n in hidden and n not in self.untrained
        )
        excluded = {*self.untrained, *hidden}
        self._included = [name not in excluded for name in schema.attributes]
        self.attributes = tuple(compress(schema.attributes, self._included))
        self._groups = schema.group_names
        self._mouth_groups = {group.name for group in schema.groups if "mouth" in group.regions}
        self._group_of = {name: schema.group_of(name).name for name in schema.attributes}
        self._child_shape = None if children else ChildShape.load()
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
        detection: Mapping[str, Any] | None = None,
    ) -> Recognizer:
        """Creates a recognizer from a model or a server.

        Args:
            model: The folder of a trained model, the folder of an exported one, a ``.tflite``
                file, a `FarClient` or ``"grpc://host:8500/model"``, see `open_engine`; the model
                that comes with the package if None.
            schema: The required schema; None accepts any.
            batch_size: Number of faces in a batch.
            sensitive: Whether to include sensitive attributes.
            children: Whether to decide attributes of faces with a child's proportions.
            detection: Arguments of `FaceDetector`, such as ``{"min_size": 48}``.

        Raises:
            ModelError: The model is missing, incomplete, has another schema than `schema`, or
                does not predict attributes from images alone.
            ServingError: A server is not reached, or its model does not describe itself.
            AssetError: The face detector's model is not available.
        """
        engine = open_engine(pretrained_folder() if model is None else model, schema)
        try:
            detector = FaceDetector(**(detection or {}))
        except BaseException:
            engine.close()
            raise
        return cls(engine, detector, batch_size, sensitive, children)

    # Text, bytes and arrays are iterable too, but are one image: the first match counts.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, images: ImageSource, *, strict: bool = False
    ) -> ImageResult: ...

    @overload
    def __call__(
        self, images: Iterable[ImageSource], *, strict: bool = False
    ) -> list[ImageResult]: ...

    def __call__(
        self, images: ImageSource | Iterable[ImageSource], *, strict: bool = False
    ) -> ImageResult | list[ImageResult]:
        """Predicts images or a video.

        Args:
            images: One image: a path, a file's content as bytes, a Pillow image or a uint8 array
                (see `read_image`); or an iterable of such; or the path of a folder of images or
                of a video.
            strict: Whether an image that cannot be read raises an error.

        Returns:
            A result for one image; a list for anything else, for a video with one result per
            frame. An image that cannot be read gets a status that says why. Masks take about
            150 kB per face: use `stream` for thousands.

        Raises:
            ImageError: With `strict`, an image that cannot be read. In any case, a folder
                without images.
            VideoError: A video in which no frame can be read.
        """
        given = ImageInput.resolve(images)
        results = list(self._stream(given, strict))
        return results[0] if given.single else results

    def stream(
        self, images: ImageSource | Iterable[ImageSource], *, strict: bool = False
    ) -> Iterator[ImageResult]:
        """Yields the results of `__call__` one by one, without holding all of them.

        Up to `batch_size` faces are gathered before the model runs, so results come in bursts.
        """
        yield from self._stream(ImageInput.resolve(images), strict)

    def predict_faces(self, found: Sequence[FoundFace]) -> list[FaceResult]:
        """Predicts faces that are detected and aligned already, in batches.

        Args:
            found: Pairs of a face that `detector` found and its aligned copy.
        """
        results: list[FaceResult] = []
        size = self.engine.description.image_size
        for start in range(0, len(found), self.batch_size):
            batch = found[start : start + self.batch_size]
            images = np.stack([resize_image(aligned.image, size) for _, aligned in batch])
            predictions = self.engine(images)
            stored = self.engine.description.thresholds  # a server may have changed its version
            thresholds = {name: stored[name] for name in self.attributes}
            results += [
                self._result(face, predictions, row, thresholds) for row, face in enumerate(batch)
            ]
        return results

    def annotate(self, image: ImageSource, *, masks: bool = True) -> np.ndarray:
        """The image with its faces, their attributes and group masks drawn: uint8 RGB.

        Args:
            image: See `__call__`.
            masks: Whether to draw the masks.

        Raises:
            ImageError: The image cannot be read.
        """
        pixels = read_image(image)
        (result,) = self.stream([pixels], strict=True)
        return draw_faces(pixels, result.faces, masks=masks)

    def close(self) -> None:
        """Frees the detector and the engine; also at the end of a ``with`` block."""
        self.detector.close()
        self.engine.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream(self, given: ImageInput, strict: bool) -> Iterator[ImageResult]:
        if given.video is not None:
            yield from self._stream_video(given.video)
            return
        waiting: list[tuple[ImageResult, list[FoundFace]]] = []
        count = 0
        for name, image in given.images:
            waiting.append(self._find(name, image, strict))
            count += len(waiting[-1][1])
            # Images without faces must not accumulate either.
            if count >= self.batch_size or len(waiting) >= self.batch_size:
                yield from self._complete(waiting)
                waiting, count = [], 0
        yield from self._complete(waiting)

    def _stream_video(self, path: Path) -> Iterator[ImageResult]:
        with VideoReader(path) as video:
            for frame in predict_frames(video, self.detector, self.predict_faces, FaceTracker()):
                yield frame.result

    def _find(
        self, name: str, source: ImageSource, strict: bool
    ) -> tuple[ImageResult, list[FoundFace]]:
        """A result without faces, and the faces to predict."""
        try:
            image = read_image(source)
            faces = [
                (face, align(image, face.landmarks, face.eyes))
                for face in self.detector.find(image)
            ]
        except Exception as error:  # one image in ten thousand must not end the job
            if strict or self.detector.closed:
                raise
            if isinstance(error, ImageError):
                return ImageResult(name, f"unreadable: {error}"), []
            return ImageResult(name, f"failed: {type(error).__name__}: {error}"), []
        status = "ok" if faces else "no face"
        return ImageResult(name, status, size=(image.shape[1], image.shape[0])), faces

    def _complete(
        self, waiting: list[tuple[ImageResult, list[FoundFace]]]
    ) -> Iterator[ImageResult]:
        results = iter(self.predict_faces([face for _, faces in waiting for face in faces]))
        for result, faces in waiting:
            yield replace(result, faces=list(islice(results, len(faces))))

    def _result(
        self, found: FoundFace, predictions: Predictions, row: int, thresholds: dict[str, float]
    ) -> FaceResult:
        detected, aligned = found
        # A copy: a view would keep the whole batch in memory.
        masks = predictions.masks
        masks = None if masks is None else np.moveaxis(masks[row], -1, 0).copy()  # (G, h, w)
        unseen = () if masks is None else unseen_groups(masks, self._groups)
        values = compress(predictions.probabilities[row].tolist(), self._included)
        probabilities = dict(zip(self.attributes, values, strict=True))
        childlike = None
        # Landmarks of profiles and behind a mask are guesses.
        known = not detected.profile and self._mouth_groups.isdisjoint(unseen)
        if self._child_shape is not None and known:
            childlike = self._child_shape(detected.landmarks)
        return FaceResult(
            box=np.asarray(detected.box, np.float64),
            confidence=float(detected.confidence),
            landmarks=np.asarray(detected.landmarks[:, :2], np.float32),
            probabilities=probabilities,
            thresholds=thresholds,
            decisions=decide(
                probabilities, thresholds, self._group_of, unseen, self._groups, childlike
            ),
            childlike=childlike,
            masks=masks,
            groups=() if masks is None else self._groups,
            group_of=self._group_of,
            not_visible=unseen,
            matrix=aligned.matrix,
            aligned=aligned.image,
        )
