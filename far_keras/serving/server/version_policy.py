"""Which versions of a model are served, as in TensorFlow Serving's configuration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from far_keras.errors import ServerError

if TYPE_CHECKING:  # it loads TensorFlow
    from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
        FileSystemStoragePathSourceConfig,
    )

__all__ = ["VersionPolicy"]


@dataclass(frozen=True)
class VersionPolicy:
    """The versions to serve.

    Args:
        latest: So many of the highest numbers; None where another rule holds.
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
        """Those of `versions` that are to be served, in rising order."""
        if self.specific:
            return sorted(set(versions) & set(self.specific))
        ordered = sorted(versions)
        return ordered if self.latest is None else ordered[-self.latest :]
