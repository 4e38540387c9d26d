"""Which steps of a longer job are finished, kept in a file, so that a rerun skips them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from far_keras.errors import DatasetError
from far_keras.files import atomic_path

__all__ = ["StepJournal"]


class StepJournal:
    """The journal of one job in one folder.

    Args:
        path: The journal's file; it need not exist.
        settings: What the job is asked to do. A journal of other settings is refused.

    Raises:
        DatasetError: The file cannot be read, or is of a job with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, dict(settings)
        self.seconds: dict[str, float] = {}
        self._finished: list[str] = []
        if not path.exists():
            return
        try:
            journal = json.loads(path.read_text(encoding="utf-8"))
            stored = journal["settings"]
            self.seconds, self._finished = dict(journal["seconds"]), list(journal["finished"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}: cannot be read: {error!r}. Choose another directory, or delete this one"
            ) from error
        if stored != self.settings:
            raise DatasetError(
                f"{path.parent}: holds a run of other settings: {stored}, not {self.settings}. "
                "Choose another directory, or delete this one"
            )

    def is_finished(self, step: str) -> bool:
        """Whether a step has been run to its end."""
        return step in self._finished

    def run(self, step: str, work: Callable[[], None]) -> float:
        """Runs a step and notes its end; what it raises, it raises.

        Returns:
            The seconds that it took now. `seconds` adds up all sittings of an interrupted step.
        """
        if self.is_finished(step):
            self._finished.remove(step)
            self.seconds[step] = 0.0
        started = time.monotonic()
        try:
            work()
            self._finished.append(step)
        finally:
            spent = time.monotonic() - started
            self.seconds[step] = round(self.seconds.get(step, 0.0) + spent, 1)
            self._write()
        return spent

    def _write(self) -> None:
        data = {"settings": self.settings, "seconds": self.seconds, "finished": self._finished}
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
