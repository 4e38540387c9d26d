"""What `far-keras predict` does with a video: an annotated copy, a table, or both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from far_keras.console import progress_bar
from far_keras.recognition.batch.columns import Column, Row, columns_of, rows_of
from far_keras.recognition.batch.writers import check_format, write_rows
from far_keras.recognition.results import PictureResult
from far_keras.recognition.video.answers import answer_video
from far_keras.recognition.video.drawing import draw_frame
from far_keras.recognition.video.reader import VideoReader
from far_keras.recognition.video.tracker import FaceTracker
from far_keras.recognition.video.writer import check_video_name, open_writer

if TYPE_CHECKING:
    from far_keras.recognition.recognizer import Recognizer

__all__ = ["VideoSummary", "predict_video"]

_EXTRA = (Column("frame", "integer"), Column("seconds", "number"), Column("track", "integer"))


@dataclass(frozen=True)
class VideoSummary:
    """What was done; ``print`` it.

    Args:
        path: The video.
        written: The files that were written.
        frames: How many frames were read.
        with_faces: How many of them show a face.
        tracks: How many persons were followed; who leaves and comes back counts anew.
        missing: How many frames the video should have had beyond those that could be read.
        seconds: What it took.
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
    masks: bool = True,
    progress: bool = True,
) -> VideoSummary:
    """Answers a video: each person is followed and numbered, and what is said of them smoothed.

    Frames are read, answered and written one after another; memory does not grow with the length.
    Sound is not copied.

    Args:
        recognizer: What answers.
        path: The video.
        video: Where to write an annotated copy: ``.mp4``, ``.avi`` or ``.webm``; None for none.
        out: Where to write a table, a row a face and frame: that of
            `far_keras.recognition.batch.columns` with the columns ``frame`` (from 0), ``seconds``
            and ``track`` at its end; None for none.
        masks: Whether to draw the group masks.
        progress: Show a progress bar on standard error.

    Raises:
        VideoError: The video cannot be read at all, or the copy cannot be written.
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

        def results() -> Iterator[PictureResult]:
            nonlocal with_faces
            task = bar.add_task("answering", total=reader.count or None)
            for frame in answer_video(recognizer, reader, tracker):
                with_faces += frame.result.ok
                if writer is not None:
                    writer.write(draw_frame(frame.image, frame.result.faces, masks=masks))
                bar.advance(task)
                yield frame.result

        if out is None:
            for _ in results():
                pass
        else:
            columns = (*columns_of(recognizer.attributes), *_EXTRA)
            rows = (row for r in results() for row in _rows(r, recognizer.attributes))
            write_rows(out, columns, rows)
    return VideoSummary(
        path=Path(path),
        written=tuple(Path(file) for file in (video, out) if file is not None),
        frames=reader.frames,
        with_faces=with_faces,
        tracks=tracker.count,
        missing=reader.missing,
        seconds=time.monotonic() - started,
    )


def _rows(result: PictureResult, attributes: tuple[str, ...]) -> list[Row]:
    tracks = [face.track for face in result.faces] or [None]
    assert result.seconds is not None
    return [
        [*row, result.frame, round(result.seconds, 4), track]
        for row, track in zip(rows_of(result, attributes), tracks, strict=True)
    ]
