"""Figures with their intervals, as text and as data for JSON."""

from __future__ import annotations

import math

from far_keras.evaluation.bootstrap import Figure

__all__ = ["format_figure", "format_signed", "plain_figures", "plain_number"]


def format_figure(figure: Figure, digits: int = 3) -> str:
    """Such as ``0.912 [0.90, 0.92]``; a dash where undefined."""
    if not math.isfinite(figure.value):
        return "-"
    if not math.isfinite(figure.low):
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def format_signed(figure: Figure) -> str:
    """Such as ``+0.012 [-0.001, +0.025]``; a dash where undefined."""
    if not math.isfinite(figure.value):
        return "-"
    return f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"


def plain_figures(figures: dict[str, Figure]) -> dict[str, dict[str, float | None]]:
    """Figures as data for JSON; what is undefined is None."""
    return {
        key: {
            "value": plain_number(f.value),
            "low": plain_number(f.low),
            "high": plain_number(f.high),
        }
        for key, f in figures.items()
    }


def plain_number(value: float) -> float | None:
    """Six digits; None where undefined."""
    return round(value, 6) if math.isfinite(value) else None
