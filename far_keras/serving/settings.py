"""A client's arguments, checked, and what both kinds of client make of them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from far_keras.errors import RequestError, ServingError
from far_keras.serving.channel import Tls, channel_options, check_target, credentials
from far_keras.serving.remote_model import RemoteModel
from far_keras.serving.retry import Retry

__all__ = ["ClientSettings"]


@dataclass(frozen=True)
class ClientSettings:
    """What a client was built with; `far_keras.serving.client.FarClient` describes it."""

    target: str
    model: RemoteModel
    timeout: float
    credentials: grpc.ChannelCredentials | None
    options: list[tuple[str, int | str]]
    retry: Retry
    batch_size: int
    in_flight: int

    @classmethod
    def check(
        cls,
        target: str,
        model: str,
        *,
        version: int | None,
        label: str | None,
        timeout: float,
        tls: bool | str | Path | Tls | None,
        retries: int,
        batch_size: int,
        in_flight: int,
        sensitive: bool,
    ) -> ClientSettings:
        """The settings, if they are possible.

        Raises:
            RequestError: One is not; the message names it.
        """
        if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise RequestError(
                f"timeout: expected seconds, more than 0 and finite. Received: {timeout!r}"
            )
        for name, value in (("batch_size", batch_size), ("in_flight", in_flight)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RequestError(
                    f"{name}: expected a whole number from 1 on. Received: {value!r}"
                )
        address = check_target(target)
        return cls(
            target=address,
            model=RemoteModel(address, model, version, label, sensitive),
            timeout=float(timeout),
            credentials=credentials(tls),
            options=channel_options(tls),
            retry=Retry(retries),
            batch_size=batch_size,
            in_flight=in_flight,
        )

    def check_usable(self, closed: bool, process: int) -> None:
        """Whether the client may make a call.

        Args:
            closed: Whether it was closed.
            process: The process that it was opened in.

        Raises:
            ServingError: It may not.
        """
        if process != os.getpid():
            raise ServingError(
                f"{self.target}: the client was opened in process {process} and cannot be used in "
                f"its child {os.getpid()}: gRPC's connections do not survive a fork. Open a client "
                "in each process, or start processes with multiprocessing's 'spawn'"
            )
        if closed:
            raise ServingError(
                f"{self.target}: the client is closed; open another one", "CANCELLED"
            )
