"""Long predictions: many images or a video into a table, with annotated copies."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import far_keras
from far_keras.console import progress_bar
from far_keras.errors import ImageError, OutputError
from far_keras.files import write_atomically
from far_keras.images import read_image, write_image
from far_keras.jobs import Journal, WorkerPool, stop_requested, usable_cores
from far_keras.recognition.drawing import draw_faces, draw_frame
from far_keras.recognition.engines import needs_tensorflow
from far_keras.recognition.recognizer import Recognizer
from far_keras.recognition.results import ImageResult, is_child
from far_keras.recognition.table_files import (
    CHILDLIKE,
    FACE,
    Column,
    TableRow,
    check_format,
    columns_of,
    rows_of,
    write_rows,
)
from far_keras.recognition.video import (
    FaceTracker,
    VideoReader,
    check_video_name,
    open_writer,
    predict_frames,
)

__all__ = [
    "BatchSummary",
    "VideoSummary",
    "about_path",
    "load_recognizer",
    "predict_images",
    "predict_to_file",
    "predict_video",
]

_CHUNK = 16  # images that a worker predicts at a time
_VIDEO_COLUMNS = (
    Column("frame", "integer"),
    Column("seconds", "number"),
    Column("track", "integer"),
)

Task = tuple[Path, Path | None]
"""An image, and where to write its annotated copy."""


@dataclass(frozen=True)
class BatchSummary:
    """What `predict_to_file` did; ``print`` it.

    Args:
        out: The table.
        images: Number of images in it.
        faces: Number of faces.
        statuses: Number of images by status: ``ok``, ``no face``, ``unreadable``, ``failed``.
        predicted: Number of images that this run predicted; the others were finished before.
        seconds: Duration of this run, without loading the model.
        untrained: Attributes that are left out because the model was not trained on them.
        left_out: Sensitive attributes that are left out.
        children: Number of faces without decisions because of a child's proportions.
    """

    out: Path
    images: int
    faces: int
    statuses: Mapping[str, int]
    predicted: int
    seconds: float
    untrained: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    children: int = 0

    def __str__(self) -> str:
        parts = [f"{count:,} {status}" for status, count in self.statuses.items()]
        lines = [f"{self.out}: {self.images:,} images ({', '.join(parts)}), {self.faces:,} faces"]
        if self.children:
            lines.append(
                f"nothing decided about {self.children:,} of the faces: a child's proportions"
            )
        if self.predicted:
            speed = self.predicted / max(self.seconds, 1e-9)
            lines.append(f"{self.predicted:,} images in {self.seconds:.1f} s: {speed:.1f} images/s")
        else:
            lines.append("nothing was left to do")
        return "\n".join(lines)


def predict_to_file(
    model: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    annotated: str | Path | None = None,
    sensitive: bool = False,
    children: bool = False,
    detection: Mapping[str, Any] | None = None,
    workers: int = 1,
    batch_size: int = 32,
    progress: bool = True,
) -> BatchSummary:
    """Predicts images into a table: see `far_keras.recognition.table_files`.

    After a stop at any time, also by a kill, the same call resumes: each image is predicted once,
    and the table appears when all are finished. Until then results are kept in ``<out>.partial``.
    ``<out>.about.json`` describes the model, the settings and how many images had which status.

    Args:
        model: A path, see `open_engine`.
        images: Paths of images; one that is named twice is predicted once.
        out: ``.parquet`` (needs the extra ``far_keras[parquet]``), ``.jsonl`` or ``.csv``.
        annotated: Folder for annotated copies; None for none.
        sensitive: Whether to include sensitive attributes.
        children: Whether to decide attributes of faces with a child's proportions.
        detection: Arguments of `FaceDetector`.
        workers: Processes, each with its own detector and model (some 300 MB, 700 with
            TensorFlow).
        batch_size: Number of faces in a batch.
        progress: Show a progress bar on standard error.

    Raises:
        OutputError: `out` has another suffix, exists but was not made by this call, was started
            with other settings, or cannot be written.
        FarError: See `Recognizer.load`.
    """
    if workers < 1:
        raise OutputError(f"workers: expected at least 1. Received: {workers}")
    out = Path(out)
    check_format(out)
    files = [Path(file) for file in dict.fromkeys(map(str, images))]
    settings = {
        "model": _fingerprint(model),
        "sensitive": sensitive,
        "children": children,
        "detection": dict(detection or {}),
        "annotated": None if annotated is None else str(annotated),
    }
    journal_path = out.with_name(out.name + ".partial")
    if (finished := _finished(out, settings, files)) is not None:
        journal_path.unlink(missing_ok=True)  # of a run that was killed at its very end
        return finished
    statuses: Counter[str] = Counter()
    faces: Counter[str] = Counter()

    def count(file: str, rows: list[TableRow]) -> None:
        statuses[rows[0][1].partition(":")[0]] += 1
        faces["all"] += sum(row[FACE] is not None for row in rows)
        faces["children"] += sum(is_child(row[CHILDLIKE]) for row in rows)

    journal = Journal(journal_path, settings, OutputError, on_item=count)
    try:
        todo = [task for task in _tasks(files, annotated) if str(task[0]) not in journal]
        chunks = [todo[i : i + _CHUNK] for i in range(0, len(todo), _CHUNK)]
        workers = min(workers, max(1, len(chunks)))
        load = partial(
            load_recognizer,
            str(model),
            sensitive=sensitive,
            children=children,
            detection=detection,
            batch_size=batch_size,
        )
        with WorkerPool(load, workers, OutputError, environment=_shared_cores(workers)) as pool:
            # One task per worker, so that all load their models at once.
            described, *_ = pool.map(_describe, range(workers))
            started = time.monotonic()
            with progress_bar(progress) as bar:
                shown = bar.add_task("Predicting", total=len(files), completed=len(journal))
                for rows in pool.map(_predict_chunk, chunks):
                    journal.add(rows)
                    bar.advance(shown, len(rows))
            seconds = time.monotonic() - started
        columns = columns_of(described["attributes"])
        summary = BatchSummary(
            out,
            len(files),
            faces["all"],
            dict(statuses),
            len(todo),
            seconds,
            described["untrained"],
            described["left_out"],
            faces["children"],
        )
        about = {
            "far_keras": far_keras.__version__,
            "summary": {**asdict(summary), "out": str(out)},
            "columns": [asdict(column) for column in columns],
            "settings": settings,
            "images_sha256": _sha256_of_names(files),
            "model": described["model"],
        }
        # Before the table, which without it would be taken for another's.
        write_atomically(about_path(out), json.dumps(about, indent=1) + "\n")
        write_rows(out, columns, (row for file in files for row in journal[str(file)]))
    except BaseException:
        journal.close()
        raise
    journal.close(remove=True)
    return summary


def about_path(out: Path) -> Path:
    """The file that describes how a table was made."""
    return out.with_name(out.name + ".about.json")


def load_recognizer(model: str | Path, **settings: Any) -> Recognizer:
    """`Recognizer.load`, without the notices that TensorFlow prints when it is imported."""
    if needs_tensorflow(model):
        from far_keras.quiet import load_tensorflow

        load_tensorflow()
    return Recognizer.load(model, **settings)


def predict_images(
    recognizer: Recognizer, images: Sequence[str | Path], annotated: str | Path | None = None
) -> Iterator[tuple[ImageResult, Path | None]]:
    """Predicts images one after another and writes an annotated copy of each.

    Args:
        recognizer: Predicts the faces.
        images: Paths of images.
        annotated: Folder for the annotated copies, created if missing: ``<stem>.png``, with a
            number where that is taken. None writes none.

    Yields:
        The result of each image, and its annotated copy; None if there is none. An image that
        cannot be read has a status that says why.
    """
    yield from _predict_tasks(recognizer, _tasks([Path(file) for file in images], annotated))


def _tasks(files: Sequence[Path], annotated: str | Path | None) -> list[Task]:
    """Pairs files with copies; no copy overwrites another one or one of the files."""
    if annotated is None:
        return [(file, None) for file in files]
    taken = {file.resolve() for file in files}
    counts: dict[str, Iterator[int]] = {}  # so that ten thousand equal names take no time
    tasks: list[Task] = []
    for file in files:
        name = f"{file.stem}.png"
        while (path := Path(annotated) / name).resolve() in taken:
            name = f"{file.stem}-{next(counts.setdefault(file.stem, itertools.count(2)))}.png"
        taken.add(path.resolve())
        tasks.append((file, path))
    return tasks


def _write_annotated(file: Path, result: ImageResult, path: Path) -> bool:
    """Writes the annotated copy of a photograph; False if the photograph cannot be read."""
    if result.size is None:
        return False
    try:
        copy = draw_faces(read_image(file), result.faces)
    except ImageError:  # it disappeared after the prediction, which is still valid
        return False
    write_image(path, copy)
    return True


def _shared_cores(workers: int) -> dict[str, str]:
    """Environment of workers that share the cores; a single process uses all of them."""
    if workers == 1:
        return {}
    threads = str(max(1, usable_cores() // workers))
    return {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads}


def _describe(recognizer: Recognizer, _: int) -> dict[str, Any]:
    return {
        "attributes": recognizer.attributes,
        "untrained": recognizer.untrained,
        "left_out": recognizer.left_out,
        "model": json.loads(recognizer.engine.description.to_json()),
    }


def _predict_chunk(recognizer: Recognizer, chunk: Sequence[Task]) -> dict[str, list[TableRow]]:
    return {
        result.file: rows_of(result, recognizer.attributes)
        for result, _ in _predict_tasks(recognizer, chunk)
    }


def _predict_tasks(
    recognizer: Recognizer, tasks: Sequence[Task]
) -> Iterator[tuple[ImageResult, Path | None]]:
    """Results and annotated copies; fewer than `tasks` if a parent process asks to stop."""
    files = takewhile(lambda _: not stop_requested(), (file for file, _ in tasks))
    for (file, copy), result in zip(tasks, recognizer.stream(files), strict=False):
        written = copy is not None and _write_annotated(file, result, copy)
        yield result, copy if written else None


def _finished(out: Path, settings: Mapping[str, Any], files: Sequence[Path]) -> BatchSummary | None:
    """The summary of an existing table; None if there is none."""
    if not out.exists():
        return None
    try:
        about = json.loads(about_path(out).read_text(encoding="utf-8"))
        summary = BatchSummary(**{**about["summary"], "out": out, "predicted": 0, "seconds": 0.0})
        made = (about["settings"], about["images_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(
            f"{out}: the file exists, and was not made by this command. Give another --out, or "
            "remove it"
        ) from None
    if made != (dict(settings), _sha256_of_names(files)):
        raise OutputError(
            f"{out}: the file holds results of another model, of other images or with other "
            "settings. Give another --out, or remove it"
        )
    return summary


def _sha256_of_names(files: Sequence[Path]) -> str:
    return hashlib.sha256("\n".join(map(str, files)).encode(errors="surrogateescape")).hexdigest()


def _fingerprint(model: str | Path) -> str:
    """Hash of a model's files; of its name if it is on a server, or missing."""
    digest = hashlib.sha256()
    path = Path(model)
    if not path.exists():
        digest.update(str(model).encode(errors="surrogateescape"))
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode(errors="surrogateescape"))
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class VideoSummary:
    """What `predict_video` did; ``print`` it.

    Args:
        path: The video.
        written: The files that were written.
        frames: Number of frames that were read.
        with_faces: Number of frames that show a face.
        tracks: Number of persons; one who leaves and returns counts twice.
        missing: Number of frames that the video should have in addition to those read.
        seconds: Duration of the run.
    """

    path: Path
    written: tuple[Path, ...]
    frames: int
    with_faces: int
    tracks: int
    missing: int
    seconds: float

    def __str__(self) -> str:
        speed = self.frames / max(self.seconds, 1e-9)
        files = ", ".join(map(str, self.written))
        tracks = f"{self.tracks:,} track" + ("s" if self.tracks != 1 else "")
        lines = [
            f"{self.path}: {self.frames:,} frames, {self.with_faces:,} with faces, {tracks}"
            + (f" -> {files}" if files else ""),
            f"{self.seconds:.1f} s: {speed:.1f} frames/s",
        ]
        if not self.with_faces:
            lines.append("no face was found in any frame")
        if self.missing:
            lines.append(
                f"{self.missing:,} more frames could not be read: the video is damaged or cut off"
            )
        return "\n".join(lines)


def predict_video(
    recognizer: Recognizer,
    path: str | Path,
    video: str | Path | None = None,
    out: str | Path | None = None,
    *,
    progress: bool = True,
) -> VideoSummary:
    """Predicts a video: each person is followed and numbered, and predictions are smoothed.

    Frames are read, predicted and written one after another; memory does not grow with the length.
    Sound is not copied.

    Args:
        recognizer: Predicts the faces.
        path: The video.
        video: Where to write an annotated copy: ``.mp4``, ``.avi`` or ``.webm``; None for none.
        out: Where to write a table, one row per face and frame: that of
            `far_keras.recognition.table_files` followed by the columns ``frame`` (from 0),
            ``seconds`` and ``track``; None for none.
        progress: Show a progress bar on standard error.

    Raises:
        VideoError: No frame of the video can be read, or the copy cannot be written.
        OutputError: `out` cannot be written.
    """
    if video is not None:
        check_video_name(video)
    if out is not None:
        check_format(out)
    started = time.monotonic()
    tracker, with_faces = FaceTracker(), 0
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(path))
        writer = None if video is None else stack.enter_context(open_writer(video, reader.rate))
        bar = stack.enter_context(progress_bar(progress))

        def rows() -> Iterator[TableRow]:
            nonlocal with_faces
            task = bar.add_task("Predicting", total=reader.count or None)
            frames = predict_frames(reader, recognizer.detector, recognizer.predict_faces, tracker)
            for frame in frames:
                with_faces += frame.result.ok
                if writer is not None:
                    writer.write(draw_frame(frame.image, frame.result.faces))
                bar.advance(task)
                yield from _video_rows(frame.result, recognizer.attributes)

        if out is None:
            for _ in rows():
                pass
        else:
            write_rows(out, (*columns_of(recognizer.attributes), *_VIDEO_COLUMNS), rows())
    return VideoSummary(
        path=Path(path),
        written=tuple(Path(file) for file in (video, out) if file is not None),
        frames=reader.frames,
        with_faces=with_faces,
        tracks=tracker.count,
        missing=reader.missing,
        seconds=time.monotonic() - started,
    )


def _video_rows(result: ImageResult, attributes: tuple[str, ...]) -> list[TableRow]:
    tracks = [face.track for face in result.faces] or [None]
    assert result.seconds is not None
    return [
        [*row, result.frame, round(result.seconds, 4), track]
        for row, track in zip(rows_of(result, attributes), tracks, strict=True)
    ]
