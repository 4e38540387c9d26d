"""`far-keras status`: what a model server has, and whether it answers."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from far_keras.cli.connection import add_connection, connect
from far_keras.cli.program import command
from far_keras.console import table_console
from far_keras.errors import RequestError, ServingError, UnavailableError

if TYPE_CHECKING:
    from far_keras.serving.client import FarClient

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "status",
        run,
        "show whether a model server answers, and a model's versions and signatures",
        when_interrupted="starts over",
    )
    add_connection(parser, model_required=False)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> None:
    with connect(options) as client:
        if options.model is None:
            _show_health(client, options)
        else:
            _show_model(client, options)


def _show_health(client: FarClient, options: argparse.Namespace) -> None:
    try:
        health = client.health()
    except RequestError as error:
        if error.code != "UNIMPLEMENTED":
            raise
        health = "answers, without a health service"
    if options.json:
        print(json.dumps({"target": client.target, "health": health}))
    else:
        print(f"{client.target}: {health}")
        print("Next: --model NAME, to see a model's versions and signatures")
    if health in ("NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"):
        raise UnavailableError(f"{client.target}: the server says that it is {health}")


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
        from far_keras.serving.tables import signature_table, version_table

        console = table_console()
        line = f"{client.target}: model {options.model!r}" + (f" ({model})" if model else "")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(version_table(versions))
        if signatures:
            console.print(signature_table(signatures))
    if not available:
        raise ServingError(
            f"{client.target}: model {options.model!r}: no version answers; the messages above, or "
            "the server's log, say why"
        )
