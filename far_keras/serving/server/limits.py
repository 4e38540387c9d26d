"""What one request may cost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What one request, and one run of the model, may cost.

    Args:
        max_batch: Rows in one run. Only models whose rows are independent are cut into runs.
        max_rows: Rows in one request to such a model.
        max_pixels: Of one encoded image, and of all those that one run decodes, unless a single
            one has as many.
        max_answer_bytes: Of all outputs of one answer.
    """

    max_batch: int = 32
    max_rows: int = 10_000
    max_pixels: int = 2**25
    max_answer_bytes: int = 64 * 1024 * 1024
