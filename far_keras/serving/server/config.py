"""How a server is configured: its models, their versions, load limits and TLS.

Nothing here imports TensorFlow, so that a wrong configuration is reported at once.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from far_keras.errors import ServerError
from far_keras.files import list_versions
from far_keras.serving.server.limits import Limits

if TYPE_CHECKING:  # they load TensorFlow
    from tensorflow_serving.config import model_server_config_pb2
    from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
        FileSystemStoragePathSourceConfig,
    )

__all__ = [
    "ModelSettings",
    "ServerConfig",
    "TlsFiles",
    "VersionPolicy",
    "find_models",
    "read_models_config",
    "server_credentials",
    "settings_from_proto",
    "version_folders",
]


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions of a model are served, as in TensorFlow Serving's configuration.

    Args:
        latest: How many of the highest numbers; None for another rule.
        specific: Exactly these numbers. With neither, all versions are served.

    Example:
        >>> VersionPolicy.parse("latest:2").choose({1, 2, 3})
        [2, 3]
    """

    latest: int | None = 1
    specific: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """From ``"latest"``, ``"latest:2"``, ``"all"`` or ``"3,5"``.

        Raises:
            ServerError: The text is none of these.
        """
        word, _, number = text.partition(":")
        try:
            if word == "latest":
                count = int(number or 1)
                if count < 1:
                    raise ValueError
                return cls(latest=count)
            if text == "all":
                return cls(latest=None)
            return cls(latest=None, specific=tuple(sorted({int(part) for part in text.split(",")})))
        except ValueError:
            raise ServerError(
                "versions: expected latest, latest:N with N of at least 1, all, or numbers such "
                f"as 3,5. Received: {text!r}"
            ) from None

    @classmethod
    def from_proto(
        cls, proto: FileSystemStoragePathSourceConfig.ServableVersionPolicy
    ) -> VersionPolicy:
        """From the ``model_version_policy`` of a ``ModelConfig``; by default the latest one.

        Raises:
            ServerError: Specific versions without a number.
        """
        choice = proto.WhichOneof("policy_choice")
        if choice == "all":
            return cls(latest=None)
        if choice == "specific":
            if not proto.specific.versions:
                raise ServerError(
                    "model_version_policy: expected at least one version under specific. "
                    "Received: none"
                )
            return cls(latest=None, specific=tuple(sorted(set(proto.specific.versions))))
        # TensorFlow Serving takes a number of 0 as 1.
        return cls(latest=max(1, proto.latest.num_versions))

    def choose(self, versions: Collection[int]) -> list[int]:
        """Those of `versions` that are served, in ascending order."""
        if self.specific:
            return sorted(set(versions) & set(self.specific))
        ordered = sorted(versions)
        return ordered if self.latest is None else ordered[-self.latest :]


@dataclass(frozen=True)
class ModelSettings:
    """One model that is served.

    Args:
        name: The name in requests.
        folder: Holds a subfolder for each version, named by its number.
        policy: Which of the versions are served.
        labels: Version of each label, such as ``{"stable": 3}``.
    """

    name: str
    folder: Path
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM format.

    Args:
        certificate: The server's, followed by those of intermediate authorities.
        key: Its private key, without a password.
        client_authority: The authority that must have signed clients' certificates; None accepts
            every client.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None


@dataclass(frozen=True)
class ServerConfig:
    """How a server is configured.

    Args:
        models: Folder with ``NAME/<number>/saved_model.pb`` for each model, or the folder of one
            model's versions. Models that appear in it later are served as well.
        models_config: A ``models.config`` file instead of the folder; see `read_models_config`.
        host: Address to listen on.
        port: 0 for any free port.
        versions: Which versions of the models in `models`.
        poll_seconds: Interval of the search for new versions; 0 to search at the start only.
        batching: Whether requests that wait for the same signature share a run. Every model must
            compute each row independently.
        max_queue: Requests that may wait; more are refused.
        max_queue_bytes: Of all requests in progress.
        parallel_runs: Runs of models at once; None for one per core, with batching at most 2:
            one is computed while the responses of the other are written.
        threads: Per run; None for one per core, with batching for an equal share of the cores.
            The first server of a process decides for all in it.
        limits: What one request may cost.
        max_message_bytes: Of a request or response on the wire.
        tensor_content: Whether responses use ``tensor_content`` instead of the typed field, which
            TensorFlow Serving uses.
        tls: Encrypts, and with a client authority also authenticates clients.
        metrics_port: Prometheus metrics over HTTP at 127.0.0.1; 0 for any free port, None for none.

    Raises:
        ServerError: An argument is out of range, or there is not exactly one source of models.
    """

    models: Path | None = None
    models_config: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8500
    versions: VersionPolicy = field(default_factory=VersionPolicy)
    poll_seconds: float = 1.0
    batching: bool = False
    max_queue: int = 64
    max_queue_bytes: int = 512 * 1024 * 1024
    parallel_runs: int | None = None
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)
    max_message_bytes: int = 64 * 1024 * 1024
    tensor_content: bool = False
    tls: TlsFiles | None = None
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        if (self.models is None) == (self.models_config is None):
            raise ServerError(
                "models: expected either a folder of models or a models.config file. "
                f"Received: models={self.models}, models_config={self.models_config}"
            )
        for name, value, low, high in (
            ("port", self.port, 0, 65535),
            ("metrics_port", self.metrics_port, 0, 65535),
            ("poll_seconds", self.poll_seconds, 0, 86400),
            ("max_queue", self.max_queue, 0, 100_000),
            ("parallel_runs", self.parallel_runs, 1, 1024),
            ("threads", self.threads, 1, 1024),
            ("max_batch", self.limits.max_batch, 1, 4096),
        ):
            if value is not None and not low <= value <= high:
                raise ServerError(f"{name}: expected {low} to {high}. Received: {value}")

    def list_models(self) -> list[ModelSettings]:
        """The models to serve.

        Raises:
            ServerError: There are none, or the file that lists them is wrong.
        """
        if self.models is not None:
            return find_models(self.models, self.versions)
        assert self.models_config is not None  # __post_init__ demands one of them
        return read_models_config(self.models_config)

    @property
    def num_parallel_runs(self) -> int:
        """Runs of models at once."""
        cores = os.cpu_count() or 1
        return self.parallel_runs or (min(2, cores) if self.batching else cores)

    @property
    def threads_per_run(self) -> int:
        """Threads that share the operations of one run."""
        cores = os.cpu_count() or 1
        return self.threads or (max(1, cores // self.num_parallel_runs) if self.batching else cores)

    @property
    def is_exposed(self) -> bool:
        """Whether other machines may reach the server without encryption."""
        if self.tls is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return True


def version_folders(folder: Path) -> dict[int, Path]:
    """The versions in a model's folder that are folders.

    Raises:
        OSError: The folder cannot be read.
    """
    return {number: path for number, path in list_versions(folder).items() if path.is_dir()}


def find_models(folder: Path, policy: VersionPolicy) -> list[ModelSettings]:
    """The models in a folder, or the one model that the folder is.

    Args:
        folder: Either ``NAME/<number>/`` for each model, or ``<number>/`` of one model, whose name
            is then the folder's.
        policy: Of all models.

    Raises:
        ServerError: There is no such folder, or no version in it.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise ServerError(
            f"{folder}: there is no such folder. Export a model into it with `far-keras export`"
        )
    if version_folders(folder):
        return [ModelSettings(folder.name, folder, policy)]
    models = [
        ModelSettings(path.name, path, policy)
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and version_folders(path)
    ]
    if not models:
        raise ServerError(
            f"{folder}: expected models, as NAME/1/saved_model.pb. Received: a folder without any; "
            f"export one with `far-keras export MODEL --to {folder / 'NAME'}`"
        )
    return models


def read_models_config(path: Path) -> list[ModelSettings]:
    """The models of a ``models.config`` file, as TensorFlow Serving's ``--model_config_file``.

    Args:
        path: A ``ModelServerConfig`` in protobuf's text format. Relative folders in it start at
            the file's own folder.

    Raises:
        ServerError: The file cannot be read, is no such text, or contradicts itself.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except OSError as error:
        raise ServerError(
            f"{path}: cannot read it: {error.strerror or error}. Check the path"
        ) from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServerError(
            f"{path}: expected a ModelServerConfig in protobuf's text format. Received: {error}"
        ) from None
    try:
        return settings_from_proto(config, path.absolute().parent)
    except ServerError as error:
        raise ServerError(f"{path}: {error}") from None


def settings_from_proto(
    config: model_server_config_pb2.ModelServerConfig, base: Path | None = None
) -> list[ModelSettings]:
    """The models of a configuration.

    Args:
        config: With a ``model_config_list``.
        base: Where relative folders start; None refuses them, as TensorFlow Serving does.

    Raises:
        ServerError: Which model is described wrongly, and how.
    """
    from tensorflow_serving.config import model_server_config_pb2

    if config.WhichOneof("config") == "custom_model_config":
        raise ServerError("expected a model_config_list. Received: a custom_model_config")
    models: dict[str, ModelSettings] = {}
    for entry in config.model_config_list.config:
        if not entry.name:
            raise ServerError("expected a name for every model. Received: none for one of them")
        if entry.name in models:
            raise ServerError(f"expected each model once. Received: {entry.name!r} several times")
        if entry.model_platform != "tensorflow" and not (
            # the predecessor of model_platform
            not entry.model_platform and entry.model_type == model_server_config_pb2.TENSORFLOW
        ):
            raise ServerError(
                f'model {entry.name!r}: expected model_platform: "tensorflow". '
                f"Received: {entry.model_platform!r}"
            )
        folder = Path(entry.base_path.removeprefix("file://"))
        if not entry.base_path or (base is None and not folder.is_absolute()):
            raise ServerError(
                f"model {entry.name!r}: expected an absolute base_path. "
                f"Received: {entry.base_path!r}"
            )
        models[entry.name] = ModelSettings(
            entry.name,
            folder if base is None else base / folder,
            VersionPolicy.from_proto(entry.model_version_policy),
            dict(entry.version_labels),
        )
    return list(models.values())


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """The credentials for gRPC, which itself does not report wrong files.

    Raises:
        ServerError: A file cannot be read, is no PEM, or the key is not the certificate's.
    """
    key, certificate, authority = (
        None if path is None else _read(path)
        for path in (files.key, files.certificate, files.client_authority)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except ssl.SSLError as error:
        reason = getattr(error, "reason", None) or str(error.args[-1])
        if "KEY_VALUES_MISMATCH" in reason:
            raise ServerError(
                f"{files.key}: expected the private key of {files.certificate}. "
                "Received: the key of another certificate"
            ) from None
        raise ServerError(
            f"{files.certificate}, {files.key}: expected a certificate and its key in PEM format, "
            f"the key without a password. Received: {reason}"
        ) from None
    if files.client_authority is not None:
        try:
            context.load_verify_locations(files.client_authority)
        except ssl.SSLError as error:
            raise ServerError(
                f"{files.client_authority}: expected certificates in PEM format. "
                f"Received: {getattr(error, 'reason', None) or error}"
            ) from None
    return grpc.ssl_server_credentials(
        [(key, certificate)],
        root_certificates=authority,
        require_client_auth=authority is not None,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ServerError(
            f"{path}: cannot read it: {error.strerror or error}. Check the path and the rights"
        ) from None


def _no_password() -> str:
    raise ssl.SSLError(1, "a key with a password")
