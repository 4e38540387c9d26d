"""Certificates of the server, checked before they are used: gRPC itself says nothing of them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from far_keras.errors import ServerError

__all__ = ["TlsFiles", "server_credentials"]


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM format.

    Args:
        certificate: The server's, followed by those of intermediate authorities.
        key: Its private key, without a password.
        client_authority: Whose certificates callers must show; None lets anyone call.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """What gRPC needs to encrypt.

    Raises:
        ServerError: A file cannot be read, is no PEM, or the key is not the certificate's.
    """
    contents = [
        None if path is None else _read(path)
        for path in (files.key, files.certificate, files.client_authority)
    ]
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
    key, certificate, authority = contents
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
