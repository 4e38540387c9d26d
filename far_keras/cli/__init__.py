"""The `far-keras` command: one file per command, which only calls the Python API and prints.

Heavy packages are imported by the commands that need them, so that ``far-keras --help`` is quick.
"""

from far_keras.cli.program import build_parser, main

__all__ = ["build_parser", "main"]
