"""Answers any number of images into one file, and goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import far_keras
from far_keras.console import progress_bar
from far_keras.errors import OutputError
from far_keras.files import atomic_path
from far_keras.recognition.annotated import annotated_paths
from far_keras.recognition.batch.columns import columns_of
from far_keras.recognition.batch.journal import Journal
from far_keras.recognition.batch.workers import Answerable, Task, Workers, WorkerSettings
from far_keras.recognition.batch.writers import check_format, write_rows

__all__ = ["BatchSummary", "about_path", "predict_to_file"]

_CHUNK = 16  # images that a worker answers at a time


@dataclass(frozen=True)
class BatchSummary:
    """What was done; ``print`` it.

    Args:
        out: The table.
        images: How many images it holds answers to.
        faces: How many faces.
        statuses: How many images have the status ``ok``, ``no face``, ``unreadable``, ``failed``.
        answered: How many images this run answered; the others were done before.
        seconds: What this run took, without loading the model.
        untrained: Attributes that are not answered since the model's training could not teach them.
        left_out: Sensitive attributes that are left out.
        children: How many of the faces are undecided for a child's proportions.
    """

    out: Path
    pictures: int
    faces: int
    statuses: Mapping[str, int]
    answered: int
    seconds: float
    untrained: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    children: int = 0

    def __str__(self) -> str:
        parts = [f"{count:,} {status}" for status, count in self.statuses.items()]
        lines = [f"{self.out}: {self.pictures:,} images ({', '.join(parts)}), {self.faces:,} faces"]
        if self.children:
            lines.append(
                f"nothing decided about {self.children:,} of the faces: a child's proportions"
            )
        if self.answered:
            speed = self.answered / max(self.seconds, 1e-9)
            lines.append(f"{self.answered:,} images in {self.seconds:.1f} s: {speed:.1f} images/s")
        else:
            lines.append("nothing was left to do")
        return "\n".join(lines)


def predict_to_file(
    model: str | Path,
    photographs: Sequence[str | Path],
    out: str | Path,
    *,
    annotated: str | Path | None = None,
    sensitive: bool = False,
    children: bool = False,
    workers: int = 1,
    batch_size: int = 32,
    progress: bool = True,
) -> BatchSummary:
    """Answers images into a table: see `far_keras.recognition.batch.columns`.

    Stopped at any time, also by a kill, the same call continues: each image is answered once,
    and the table appears whole when all are. Until then the answers are kept beside it, in
    ``<out>.partial``. Beside the table ``<out>.about.json`` says which model answered, with what
    settings, and how many images had which status.

    Args:
        model: A path, see `open_engine`.
        photographs: Paths of images; one that is named twice is answered once.
        out: ``.parquet`` (needs the extra ``far_keras[parquet]``), ``.jsonl`` or ``.csv``.
        annotated: Folder for annotated copies; None for none.
        sensitive: Whether sensitive attributes are answered.
        children: Whether faces with a child's proportions are decided like others.
        workers: Processes, each with a detector and a model of its own (some 300 MB, 700 with
            TensorFlow).
        batch_size: Faces answered at once.
        progress: Show a progress bar on standard error.

    Raises:
        OutputError: `out` has another ending, exists already but was not made by this call, was
            begun with other settings, or cannot be written.
        FarError: As `Recognizer.load`.
    """
    if workers < 1:
        raise OutputError(f"workers: expected at least 1. Received: {workers}")
    out = Path(out)
    check_format(out)
    files = [Path(file) for file in dict.fromkeys(map(str, photographs))]
    settings = {
        "model": _fingerprint(model),
        "sensitive": sensitive,
        "children": children,
        "annotated": None if annotated is None else str(annotated),
    }
    partial = out.with_name(out.name + ".partial")
    if (finished := _finished(out, settings, files)) is not None:
        partial.unlink(missing_ok=True)  # of a run that was killed at its very end
        return finished
    copies: Sequence[Path | None] = [None] * len(files)
    if annotated is not None:
        copies = annotated_paths(files, annotated)
    # Beyond one process, cores are shared out; a process alone takes what it gets.
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
    journal = Journal(partial, settings)
    try:
        tasks = zip(files, copies, strict=True)
        todo = [task for task in tasks if str(task[0]) not in journal.done]
        chunks = [todo[i : i + _CHUNK] for i in range(0, len(todo), _CHUNK)]
        worker_settings = WorkerSettings(str(model), sensitive, children, batch_size, threads)
        with Workers(worker_settings, min(workers, max(1, len(chunks)))) as answering:
            answerable = answering.answerable
            seconds = _run(answering, chunks, journal, len(files), progress)
        names = [str(file) for file in files]
        summary = BatchSummary(
            out,
            len(files),
            journal.faces,
            dict(journal.statuses),
            len(todo),
            seconds,
            answerable.untrained,
            answerable.left_out,
            journal.children,
        )
        # First: a table without it would be taken for someone else's.
        _write_about(summary, settings, answerable, names)
        write_rows(out, columns_of(answerable.attributes), journal.rows(names))
    except BaseException:
        journal.close()
        raise
    journal.close(remove=True)
    return summary


def about_path(out: Path) -> Path:
    """Where it is told how a table was made."""
    return out.with_name(out.name + ".about.json")


def _run(
    workers: Workers,
    chunks: Sequence[Sequence[Task]],
    journal: Journal,
    total: int,
    progress: bool,
) -> float:
    """Answers the chunks into the journal; the seconds that it took."""
    started = time.monotonic()
    with progress_bar(progress) as bar:
        shown = bar.add_task("answering", total=total, completed=len(journal.done))
        for answered in workers.answer(chunks):
            journal.add(answered)
            bar.advance(shown, len(answered))
    return time.monotonic() - started


def _finished(out: Path, settings: Mapping[str, Any], files: Sequence[Path]) -> BatchSummary | None:
    """The summary of a table that is there already; None if it is yet to be made."""
    if not out.exists():
        return None
    try:
        about = json.loads(about_path(out).read_text(encoding="utf-8"))
        summary = BatchSummary(**{**about["summary"], "out": out, "answered": 0, "seconds": 0.0})
        made = (about["settings"], about["pictures_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(
            f"{out}: the file exists, and was not made by this command. Give another --out, or "
            "remove it"
        ) from None
    if made != (dict(settings), _sha256_of_names(files)):
        raise OutputError(
            f"{out}: the file holds answers of another model, to other images or with other "
            "settings. Give another --out, or remove it"
        )
    return summary


def _write_about(
    summary: BatchSummary,
    settings: Mapping[str, Any],
    answerable: Answerable,
    names: Sequence[str],
) -> None:
    data = {
        "far_keras": far_keras.__version__,
        "summary": {**asdict(summary), "out": str(summary.out)},
        "columns": [asdict(column) for column in columns_of(answerable.attributes)],
        "settings": dict(settings),
        "pictures_sha256": _sha256_of_names(names),
        "model": json.loads(answerable.description),
    }
    with atomic_path(about_path(summary.out)) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _sha256_of_names(files: Sequence[str | Path]) -> str:
    return hashlib.sha256("\n".join(map(str, files)).encode(errors="surrogateescape")).hexdigest()


def _fingerprint(model: str | Path) -> str:
    """Hash of a model's files; of its name where it is on a server, or not there."""
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
