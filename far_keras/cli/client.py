"""`far-keras call` and `far-keras status`: the client of a model server."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far_keras.cli.program import command
from far_keras.console import printable, table_console
from far_keras.errors import RequestError, ServingError, UnavailableError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from far_keras.serving import (
        FarClient,
        ModelSignature,
        ServedResult,
        TensorSpec,
        VersionStatus,
    )

__all__ = ["add_command", "call", "status"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "call",
        call,
        "predict images of aligned faces with a model server; needs no TensorFlow",
        when_interrupted="starts over",
    )
    parser.add_argument(
        "images", nargs="+", type=Path, help="JPEG or PNG files of aligned faces, or folders"
    )
    _add_connection(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--sensitive",
        action="store_true",
        help="predict sensitive attributes too, such as Male, Young and Attractive",
    )
    parser = command(
        commands,
        "status",
        status,
        "show whether a model server is ready, and a model's versions and signatures",
        when_interrupted="starts over",
    )
    _add_connection(parser, model_required=False)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def call(options: argparse.Namespace) -> None:
    """Predicts images."""
    from far_keras.images import expand_folders

    files = expand_folders(options.images)
    predicted = 0
    console = table_console()
    with _connect(options, sensitive=options.sensitive) as client:
        # Masks are shown as areas, which only JSON has.
        for result in client.stream(files, masks=options.json):
            predicted += result.ok
            if options.json:
                print(json.dumps(result.to_dict()), flush=True)
            else:
                console.print(*result_tables(result), sep="\n")
    if not predicted:
        raise ServingError("no image has a prediction; the lines above say why")


def status(options: argparse.Namespace) -> None:
    """Shows a server's health, or a model's versions."""
    with _connect(options) as client:
        if options.model is None:
            _show_health(client, options)
        else:
            _show_model(client, options)


def result_tables(result: ServedResult) -> list[RenderableType]:
    """A line about the image, then its table."""
    from rich.text import Text

    from far_keras.results import attribute_table

    line = Text(printable(result.file), style="bold")
    if result.error is not None:
        reason = str(result.error).removeprefix(f"{result.file}: ")
        line.append(f": {printable(reason)}", style="not bold red")
        return [line]
    line.append(f": {result.model}, version {result.version}", style="not bold")
    return [line, attribute_table(result)]


def version_table(versions: Sequence[VersionStatus]) -> Table:
    """One row per version: its state, and why it failed."""
    from rich.table import Table
    from rich.text import Text

    table = Table("version", "state", "message")
    for entry in versions:
        style = "green" if entry.available else "red" if entry.code else ""
        code = f"code {entry.code}: " if entry.code else ""
        table.add_row(
            str(entry.version), Text(entry.state, style=style), Text(f"{code}{entry.message}")
        )
    return table


def signature_table(signatures: Mapping[str, ModelSignature]) -> Table:
    """One row per signature: its inputs and outputs."""
    from rich.table import Table
    from rich.text import Text

    def specs(of: Mapping[str, TensorSpec]) -> Text:
        lines = []
        for name, spec in of.items():
            sizes = ["?" if size < 0 else str(size) for size in spec.shape or ()]
            shape = "(...)" if spec.shape is None else f"({', '.join(sizes)})"
            lines.append(f"{name}: {spec.dtype} {shape}")
        return Text("\n".join(lines))

    table = Table("signature", "inputs", "outputs")
    for name, signature in signatures.items():
        table.add_row(Text(name), specs(signature.inputs), specs(signature.outputs))
    return table


def _show_health(client: FarClient, options: argparse.Namespace) -> None:
    try:
        health = client.health()
    except RequestError as error:
        if error.code != "UNIMPLEMENTED":
            raise
        health = "reached, without a health service"
    if options.json:
        print(json.dumps({"target": client.target, "health": health}))
    else:
        print(f"{client.target}: {health}")
        print("Next: --model NAME, to see a model's versions and signatures")
    if health in ("NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"):
        raise UnavailableError(f"{client.target}: the server reports that it is {health}")


def _show_model(client: FarClient, options: argparse.Namespace) -> None:
    versions = client.status()
    available = any(version.available for version in versions)
    signatures = client.metadata() if available else {}
    model = ""
    if "describe" in signatures:
        description = client.description
        model = (
            f"{description.variant}: {len(description.attributes)} attributes, "
            f"{len(description.groups)} groups, {description.image_size} px"
        )
    if options.json:
        data = {
            "target": client.target,
            "model": options.model,
            "ready": available,
            "versions": [asdict(version) for version in versions],
            "signatures": {name: asdict(value) for name, value in signatures.items()},
            "description": model,
        }
        print(json.dumps(data))
    else:
        console = table_console()
        line = f"{client.target}: model {options.model!r}" + (f" ({model})" if model else "")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(version_table(versions))
        if signatures:
            console.print(signature_table(signatures))
    if not available:
        raise ServingError(
            f"{client.target}: model {options.model!r}: no version is available; the messages "
            "above, or the server's log, say why"
        )


def _add_connection(parser: argparse.ArgumentParser, *, model_required: bool = True) -> None:
    """Declares which server, which of its models, and how it is reached."""
    parser.add_argument(
        "--target", required=True, metavar="HOST:PORT", help="the server, such as localhost:8500"
    )
    parser.add_argument("--model", required=model_required, help="the model's name on the server")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, help="of the model (default: the newest)")
    which.add_argument("--label", help="label of a version, such as stable")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="for a call, with retries (default: %(default)g)",
    )
    tls = parser.add_argument_group("TLS (files in PEM format)")
    tls.add_argument("--tls", action="store_true", help="encrypt, with gRPC's authorities")
    tls.add_argument("--tls-ca", type=Path, help="encrypt, with the authorities of this file")
    tls.add_argument("--tls-cert", type=Path, help="the client's own certificate (mutual TLS)")
    tls.add_argument("--tls-key", type=Path, help="its private key")
    tls.add_argument("--tls-name", help="the certificate's host name, if it is not the target's")


def _connect(options: argparse.Namespace, **arguments: Any) -> FarClient:
    """The client that the options describe; `arguments` are more for `FarClient`."""
    # Native code of gRPC writes lines about failed connections; errors say the same.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from far_keras.serving import FarClient, Tls

    tls = None
    if options.tls or any((options.tls_ca, options.tls_cert, options.tls_key, options.tls_name)):
        tls = Tls(options.tls_ca, options.tls_cert, options.tls_key, options.tls_name)
    return FarClient(
        options.target,
        # The health of a server does not depend on a model.
        options.model if options.model is not None else "none",
        version=options.version,
        label=options.label,
        timeout=options.timeout,
        tls=tls,
        **arguments,
    )
