"""A model on a server, asked over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from far_keras.errors import ModelError
from far_keras.export.description import ModelDescription
from far_keras.recognition.engines.engine import Answers

if TYPE_CHECKING:
    from far_keras.serving.client import FarClient

__all__ = ["SCHEME", "RemoteEngine", "connect"]

SCHEME = "grpc://"


class RemoteEngine:
    """Answers with a model server. Photographs stay here: it gets aligned faces of S x S pixels.

    When the server goes over to another version of the model, so do the thresholds.

    Args:
        client: A connected client.
        owned: Whether closing the engine closes the client.

    Raises:
        ServingError: The server is not reached, or the model does not describe itself.
    """

    def __init__(self, client: FarClient, *, owned: bool = False) -> None:
        self._client = client
        self._owned = owned
        self.description: ModelDescription = client.description

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        outputs = self._client.predict_aligned(images)
        latest = self._client.description  # of the version that answered; kept by the client
        if difference := self.description.schema.difference(latest.schema):
            raise ModelError(
                f"{self._client.target}: the server's model has been replaced by one that answers "
                f"something else: {difference}. Make a new Recognizer"
            )
        self.description = latest
        return Answers(outputs["attributes"], outputs.get("masks"))

    def close(self) -> None:
        """Closes the client if the engine owns it."""
        if self._owned:
            self._client.close()


def connect(address: str) -> RemoteEngine:
    """An engine for ``grpc://host:8500/model``; for TLS, labels and so on give a `FarClient`.

    Raises:
        RequestError: The address is not of that form.
        ServingError: See `RemoteEngine`.
    """
    from far_keras.errors import RequestError
    from far_keras.serving.client import FarClient

    target, _, model = address.removeprefix(SCHEME).partition("/")
    if not target or not model or "/" in model:
        raise RequestError(f"model: expected {SCHEME}host:8500/model. Received: {address!r}")
    client = FarClient(target, model)
    try:
        return RemoteEngine(client, owned=True)
    except BaseException:
        client.close()
        raise
