"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path"]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lends a temporary name beside `path`; what is written there becomes `path` at the end.

    If the block raises (also on Ctrl-C), the temporary file is removed and `path` is left as it
    was. After a kill or a power cut a file ``.<name>.<random>.tmp`` may stay behind; `path` itself
    is never half written. The folder of `path` is made if it is missing.

    Args:
        path: The file to write. The temporary name keeps its ending, since some writers choose
            the format by it.

    Example:
        >>> with atomic_path("labels.csv") as temporary:  # doctest: +SKIP
        ...     temporary.write_text("name,label")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
