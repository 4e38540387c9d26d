"""`far-keras load`: measures how much a model server answers, and how soon."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from far_keras.cli.connection import add_connection, connect
from far_keras.cli.program import command
from far_keras.console import message_console, table_console
from far_keras.errors import ServingError

if TYPE_CHECKING:
    from far_keras.serving.load import LoadReport

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "load",
        run,
        "measure a model server's throughput and latency, for a bounded time",
        when_interrupted="starts over",
    )
    add_connection(parser)
    parser.add_argument(
        "--concurrency",
        type=int,
        default=8,
        help="requests on their way at a time, up to 256 (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="up to 3600 (default: %(default)g)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=1, help="images in a request (default: %(default)s)"
    )
    parser.add_argument(
        "--picture", type=Path, help="JPEG or PNG file to send (default: a made one, 178x218)"
    )
    parser.add_argument("--no-masks", action="store_true", help="ask for attributes only")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> None:
    # First: it quiets gRPC, which the others load.
    with connect(options, retries=0) as client:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from far_keras.serving.load import example_picture, run_load

        picture = options.picture.read_bytes() if options.picture else example_picture()
        bar = Progress(
            TextColumn("asking"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=message_console(),
            transient=True,
        )
        with bar:
            task = bar.add_task("", total=options.seconds)

            def progress(seconds: float, answered: int, failed: int) -> None:
                text = f"{answered} answered, {answered / max(seconds, 1e-9):.0f} a second"
                text += f", [red]{failed} failed[/red]" if failed else ""
                bar.update(task, completed=seconds, description=text)

            report = run_load(
                client,
                picture,
                concurrency=options.concurrency,
                seconds=options.seconds,
                batch_size=options.batch_size,
                masks=not options.no_masks,
                progress=progress,
            )
    _show(report, options)
    if not report.answered:
        raise ServingError(f"{options.target}: no request was answered: {report.errors}")


def _show(report: LoadReport, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(report.to_dict()))
        return
    from rich.table import Table

    pictures = "1 image" if report.batch_size == 1 else f"{report.batch_size} images"
    table = Table()
    for name in ("requests/s", "pictures/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "failed"):
        table.add_column(name, justify="right")
    rate = report.requests_per_second
    table.add_row(
        f"{rate:.1f}",
        f"{rate * report.batch_size:.1f}",
        *(f"{report.percentile(percent):.1f}" for percent in (50, 95, 99, 100)),
        ", ".join(f"{count} {code}" for code, count in report.errors.items()) or "0",
    )
    print(
        f"{options.model} at {options.target}, {report.seconds:.1f} s, {report.concurrency} "
        f"requests at a time with {pictures} each"
    )
    table_console().print(table)
