"""The `far-keras` command: parses arguments, calls the Python API, prints what it returns.

One file a command, without logic. Heavy packages are imported by the commands that need them, so
that ``far-keras --help`` answers at once.
"""

from far_keras.cli.program import build_parser, main

__all__ = ["build_parser", "main"]
