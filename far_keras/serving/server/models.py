"""The models in memory: which versions are wanted, loaded, in use, and unloaded."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from far_keras.errors import FarError
from far_keras.serving.server.config import ModelSettings, version_folders
from far_keras.serving.server.limits import RpcError, one_line
from far_keras.serving.server.metrics import ServerMetrics
from far_keras.serving.server.predict import warm_up
from far_keras.serving.server.saved_model import SavedModel, release_memory

__all__ = ["ModelManager", "Servable", "State"]

_logger = logging.getLogger(__name__)

# Unloaded versions that the status still lists; a server that reloads for months would otherwise
# remember every one.
_MAX_ENDED = 16

State = get_model_status_pb2.ModelVersionStatus.State


class Servable:
    """One version of a model, from its loading to its unloading.

    Args:
        name: Of the model.
        version: Its number.
        on_end: Called when the version has been unloaded.
    """

    def __init__(self, name: str, version: int, on_end: Callable[[], None]):
        self.name = name
        self.version = version
        self.state = State.LOADING
        self.error = ""  # why it did not load
        self.fingerprint: object = None  # of the files that did not load
        self._model: SavedModel | None = None
        self._on_end = on_end
        self._users = 0
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def model(self) -> SavedModel:
        """The model, between `acquire` and `release`."""
        if self._model is None:
            raise RpcError(grpc.StatusCode.INTERNAL, f"{self} has no model in memory")
        return self._model

    def fail(self, error: str, fingerprint: object) -> None:
        """The version did not load."""
        self.error, self.fingerprint = error, fingerprint
        self.state = State.END

    def publish(self, model: SavedModel) -> None:
        """The version may be used from now on."""
        with self._lock:
            self._model, self.state = model, State.AVAILABLE

    def acquire(self) -> bool:
        """Whether the version may be used; if so, call `release` afterwards."""
        with self._lock:
            if self.state != State.AVAILABLE:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """Ends one use; the last user of a retired version unloads it."""
        with self._lock:
            self._users -= 1
            last = self._users == 0 and self.state == State.UNLOADING
        if last:
            self._close()

    def retire(self) -> None:
        """Accepts no new users, and unloads the version after the present ones."""
        with self._lock:
            if self.state != State.AVAILABLE:
                return
            self.state = State.UNLOADING
            idle = self._users == 0
        if idle:
            self._close()

    def _close(self) -> None:
        model, self._model = self._model, None
        if model is not None:
            model.close()
        self.state = State.END
        self._on_end()


class _Model:
    """A model with all its versions that are in memory or were lately."""

    def __init__(self, settings: ModelSettings):
        self.settings = settings
        self.versions: dict[int, Servable] = {}
        self.labels: dict[str, int] = {}
        self.wanted: frozenset[int] = frozenset()
        self.problem = ""  # with its folder

    def set_problem(self, problem: str) -> None:
        """Logs a problem once, not at every poll."""
        if problem and problem != self.problem:
            _logger.warning("%s", problem)
        self.problem = problem

    def is_loaded(self, number: int) -> bool:
        """Whether the version is available; one that is unloading must be loaded again."""
        return number in self.versions and self.versions[number].state == State.AVAILABLE

    def in_state(self, *states: int) -> list[Servable]:
        return [v for _, v in sorted(self.versions.items()) if v.state in states]

    def set_labels(self) -> list[RpcError]:
        """Points the labels to their versions, or leaves all unchanged and returns why."""
        wanted = {v.version for v in self.in_state(State.AVAILABLE) if v.version in self.wanted}
        if not wanted:
            errors = [servable.error for servable in self.in_state(State.END) if servable.error]
            error = (errors or [self.problem or f"{self.settings.folder}: no wanted version"])[-1]
            text = f"1 servable(s) did not become available: {self.settings.name}: {error}"
            return [RpcError(grpc.StatusCode.UNKNOWN, text)]
        problems = [
            _unavailable(self.settings.name, label, version)
            for label, version in self.settings.labels.items()
            if version not in wanted
        ]
        if not problems:
            self.labels = dict(self.settings.labels)
        return problems

    def put(self, servable: Servable) -> None:
        """Adds a version and drops old unloaded ones; never changes a dict that others read."""
        versions = {**self.versions, servable.version: servable}
        ended = sorted(number for number, one in versions.items() if one.state == State.END)
        for number in ended[:-_MAX_ENDED]:
            del versions[number]
        self.versions = versions


class ModelManager:
    """Loads, provides and unloads versions.

    Args:
        row_by_row: Whether rows of any model's batches may be merged and split.
        threads: Of each run; None for one per core.
        metrics: Receives each attempt to load a version.
        on_change: Called after versions have been loaded or unloaded.
    """

    def __init__(
        self,
        *,
        row_by_row: bool,
        threads: int | None,
        metrics: ServerMetrics,
        on_change: Callable[[], None],
    ):
        self._row_by_row = row_by_row
        self._threads = threads
        self._metrics = metrics
        self._on_change = on_change
        self._models: dict[str, _Model] = {}
        self._ended = threading.Event()  # a version, whose memory is to be released
        self._loading = threading.RLock()  # one change of models at a time

    @property
    def names(self) -> list[str]:
        """The models' names."""
        return sorted(self._models)

    def __contains__(self, name: object) -> bool:
        return name in self._models

    def is_ready(self, name: str) -> bool:
        """Whether a version of the model can be used."""
        model = self._models.get(name)
        return model is not None and bool(model.in_state(State.AVAILABLE))

    @contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Provides the requested version; it is not unloaded within the block.

        Raises:
            RpcError: NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for a missing
                name or an unknown label.
        """
        servable = self._acquire(spec)
        try:
            yield servable
        finally:
            servable.release()

    def _acquire(self, spec: model_pb2.ModelSpec) -> Servable:
        while True:
            model, version = self._find(spec)
            if version is None:
                available = model.in_state(State.AVAILABLE)
                found = available[-1] if available else None
            else:
                found = model.versions.get(version)
            if found is None or found.state != State.AVAILABLE:
                raise _not_found(spec, version)
            if found.acquire():
                return found
            # It was retired a moment ago: its successor is already available.

    def _find(self, spec: model_pb2.ModelSpec) -> tuple[_Model, int | None]:
        """The model that a request names, and the version if it names one."""
        if not spec.name:
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec: give its name")
        model = self._models.get(spec.name)
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            version = model.labels.get(spec.version_label) if model is not None else None
            if version is None:
                raise RpcError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {spec.version_label[:80]}",
                )
        else:
            version = spec.version.value if choice == "version" else None
        if model is None:
            raise _not_found(spec, version)
        return model, version

    def statuses(self, spec: model_pb2.ModelSpec) -> list[Servable]:
        """The versions of a model, or the requested one, with their states.

        Raises:
            RpcError: NOT_FOUND for an unknown model or version; see `use`.
        """
        if spec.name and spec.name not in self._models:
            raise _no_status(f"any versions of model {spec.name[:80]}")
        model, version = self._find(spec)
        versions = model.versions
        if version is not None and version not in versions:
            raise _no_status(f"version {version} of model {spec.name}")
        if not versions:
            raise _no_status(f"any versions of model {spec.name}: {model.problem}")
        return [versions[number] for number in sorted(versions) if version in (None, number)]

    def configure(self, settings: Sequence[ModelSettings]) -> list[RpcError]:
        """Serves these models and no others; returns when that is done.

        Args:
            settings: All models.

        Returns:
            What is wrong: versions that do not load, folders without any, labels of missing
            versions. All other models are served nevertheless. But as in TensorFlow Serving,
            nothing changes if a label is to move to a version that is not loaded; and a model
            stays unchanged if nothing loads from its new folder.
        """
        with self._loading:
            refused = [problem for one in settings for problem in self._moved_too_early(one)]
            if refused:
                return refused
            for name in set(self._models) - {one.name for one in settings}:
                self._drop(name)
            problems: list[RpcError] = []
            for one in settings:
                problems += self._configure(one)
        self._on_change()
        self._release_memory()
        return problems

    def _moved_too_early(self, settings: ModelSettings) -> list[RpcError]:
        """The problems of labels that exist and are to point to another version."""
        model = self._models.get(settings.name)
        if model is None:
            return []
        return [
            _unavailable(settings.name, label, version)
            for label, version in settings.labels.items()
            if model.labels.get(label, version) != version and not model.is_loaded(version)
        ]

    def _configure(self, settings: ModelSettings) -> list[RpcError]:
        """First loads, then sets the labels, then unloads: every request finds a version."""
        previous = self._models.get(settings.name)
        if previous is not None and previous.settings.folder == settings.folder:
            model = previous
        else:
            model = _Model(settings)
        model.settings = settings
        self._load_wanted(model)
        problems = model.set_labels()
        if previous is not None and previous is not model:
            if not model.in_state(State.AVAILABLE) and previous.in_state(State.AVAILABLE):
                _logger.warning("%s: stays with %s", settings.name, previous.settings.folder)
                return problems
            for servable in previous.in_state(State.AVAILABLE):
                servable.retire()
        self._models[settings.name] = model
        self._unload_unwanted(model)
        return problems

    def poll(self) -> None:
        """Loads versions that appeared, and unloads those that are no longer wanted."""
        changed = False
        with self._loading:
            for model in list(self._models.values()):
                changed |= self._load_wanted(model)
                changed |= self._unload_unwanted(model)
        if changed:
            self._on_change()
        self._release_memory()

    def add(self, settings: ModelSettings) -> None:
        """Serves one more model, unless there is one of that name."""
        with self._loading:
            if settings.name in self._models:
                return
            self._configure(settings)
        self._on_change()

    def close(self, seconds: float) -> bool:
        """Unloads everything; versions in use end with their last user.

        Args:
            seconds: To wait for a change of models that is in progress.

        Returns:
            Whether that ended in time. If not, nothing is unloaded.
        """
        if not self._loading.acquire(timeout=max(0.0, seconds)):
            return False
        try:
            for name in list(self._models):
                self._drop(name)
        finally:
            self._loading.release()
        return True

    def _drop(self, name: str) -> None:
        model = self._models.pop(name)
        for servable in model.in_state(State.AVAILABLE):
            servable.retire()
        _logger.info("%s: no longer served", name)

    def _load_wanted(self, model: _Model) -> bool:
        """Loads the versions that are to be served; whether there were new ones."""
        settings, changed = model.settings, False
        try:
            found = version_folders(settings.folder)
        except OSError as error:
            reason = error.strerror or error
            model.set_problem(f"{settings.folder}: cannot look for versions: {reason}")
            return False
        model.set_problem(
            "" if found else f"{settings.folder}: no version of {settings.name} in it"
        )
        while True:
            # A version that did not load is ignored until its files change: then the next lower
            # version is wanted, which mostly is the one that is served already.
            usable = [number for number in found if not self._is_broken(model, number, found)]
            wanted = settings.policy.choose(usable)
            model.wanted = frozenset(wanted) if wanted or not found else model.wanted
            missing = [number for number in wanted if not model.is_loaded(number)]
            if not missing:
                return changed
            self._load(model, missing[-1], found[missing[-1]])
            changed = True

    def _unload_unwanted(self, model: _Model) -> bool:
        unwanted = [v for v in model.in_state(State.AVAILABLE) if v.version not in model.wanted]
        for servable in unwanted:
            servable.retire()
            _logger.info("%s: unloaded", servable)
        return bool(unwanted)

    def _is_broken(self, model: _Model, number: int, found: dict[int, Path]) -> bool:
        servable = model.versions.get(number)
        return (
            servable is not None
            and bool(servable.error)
            and servable.fingerprint == _fingerprint(found[number])
        )

    def _load(self, model: _Model, number: int, folder: Path) -> None:
        servable = Servable(model.settings.name, number, self._ended.set)
        model.put(servable)
        fingerprint = _fingerprint(folder)
        start, warm, loaded = time.perf_counter(), 0.0, None
        try:
            loaded = SavedModel(folder, row_by_row=self._row_by_row, threads=self._threads)
            warm = warm_up(loaded)
        except FarError as error:
            if loaded is not None:
                loaded.close()
            servable.fail(one_line(str(error)), fingerprint)
            _logger.error("%s", servable.error)
        else:
            servable.publish(loaded)
            seconds = time.perf_counter() - start
            _logger.info("%s: loaded in %.1f s, %.1f s of it warm-up", servable, seconds, warm)
        seconds = time.perf_counter() - start - warm
        self._metrics.count_load(folder, not servable.error, seconds, warm)

    def _release_memory(self) -> None:
        if self._ended.is_set():
            self._ended.clear()
            release_memory()


def _unavailable(name: str, label: str, version: int) -> RpcError:
    return RpcError(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Request to assign label {label!r} to version {version} of model {name}, which is not "
        "currently available for inference",
    )


def _not_found(spec: model_pb2.ModelSpec, version: int | None) -> RpcError:
    which = "Latest" if version is None else "Specific"
    number = "" if version is None else f", {version}"
    return RpcError(
        grpc.StatusCode.NOT_FOUND,
        f"Servable not found for request: {which}({spec.name[:80]}{number})",
    )


def _no_status(what: str) -> RpcError:
    return RpcError(grpc.StatusCode.NOT_FOUND, f"Could not find {what}")


def _fingerprint(folder: Path) -> object:
    """Changes whenever a file of the version does."""
    try:
        return sorted(
            (str(path), path.stat().st_mtime_ns, path.stat().st_size)
            for path in folder.rglob("*")
            if path.is_file()
        )
    except OSError as error:
        return error.errno
