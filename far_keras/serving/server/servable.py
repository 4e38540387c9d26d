"""One version of a model from its loading to its end, and who is using it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from tensorflow_serving.apis import get_model_status_pb2

from far_keras.serving.server.saved_model import SavedModel

__all__ = ["Servable", "State"]

State = get_model_status_pb2.ModelVersionStatus.State


class Servable:
    """A version with its state.

    Args:
        name: Of the model.
        version: Its number.
        folder: Where it lies.
        on_end: Called when a version that was in use has been unloaded.
    """

    def __init__(
        self, name: str, version: int, folder: Path, on_end: Callable[[], None] | None = None
    ):
        self.name = name
        self.version = version
        self.folder = folder
        self.state = State.START
        self.error = ""  # why it did not load
        self.fingerprint: object = None  # of the files that did not load
        self.model: SavedModel | None = None
        self._on_end = on_end
        self._users = 0
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    def fail(self, error: str, fingerprint: object) -> None:
        """The version did not load."""
        self.error, self.fingerprint = error, fingerprint
        self.state = State.END

    def publish(self, model: SavedModel) -> None:
        """The version may be used from now on."""
        with self._lock:
            self.model, self.state = model, State.AVAILABLE

    def acquire(self) -> bool:
        """Whether the version may be used; if so, `release` it afterwards."""
        with self._lock:
            if self.state != State.AVAILABLE:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """The last user of a version that was retired closes it."""
        with self._lock:
            self._users -= 1
            last = self._users == 0 and self.state == State.UNLOADING
        if last:
            self._close()

    def retire(self) -> None:
        """No new user; the version ends when the present ones are through."""
        with self._lock:
            if self.state != State.AVAILABLE:
                return
            self.state = State.UNLOADING
            idle = self._users == 0
        if idle:
            self._close()

    def _close(self) -> None:
        model, self.model = self.model, None
        if model is not None:
            model.close()
        self.state = State.END
        if self._on_end is not None:
            self._on_end()
