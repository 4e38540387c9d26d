"""Runs one of the research commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from far_keras.errors import FarError


def carry_out(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    arguments: Sequence[str] | None,
) -> int:
    """Parses `arguments` and calls `run`; a `FarError` ends as one line and status 1."""
    options = parser.parse_args(arguments)
    try:
        run(options)
    except FarError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0
