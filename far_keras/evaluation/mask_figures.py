"""The figures of predicted masks, with intervals; and of mask networks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from far_keras.evaluation.bootstrap import Figure, mean_figures
from far_keras.evaluation.mask_scores import MASK_METRICS

__all__ = ["MaskEvaluation", "MaskFigures", "MaskModelScores", "mask_figures"]

MaskFigures = dict[str, dict[str, dict[str, Figure]]]
"""By source of the masks compared with ("landmarks", "true"), then by one of `MASK_METRICS`, then
by group, and under "mean" the mean over groups."""


@dataclass(frozen=True)
class MaskModelScores:
    """One model's masks.

    Args:
        name: What reports call it.
        folder: Where it was loaded from.
        masks: Its figures.
    """

    name: str
    folder: str
    masks: MaskFigures


@dataclass(frozen=True)
class MaskEvaluation:
    """The masks of models, measured on one split.

    Args:
        data: Which images, see `far_keras.evaluation.figures.Evaluation`.
        models: In the order given.
    """

    data: dict[str, Any]
    models: tuple[MaskModelScores, ...]


def mask_figures(
    groups: Sequence[str],
    scores: Mapping[str, NDArray],
    *,
    identities: NDArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MaskFigures:
    """Means over images, with 95% bootstrap intervals.

    Args:
        groups: G names.
        scores: By source, (N, 3, G) of `far_keras.evaluation.mask_scores.mask_scores`.
        identities: (N,) for resampling whole persons; None resamples images.
        resamples: Bootstrap resamples.
        seed: Of the resampling.
    """
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": identities}
    return {
        source: {
            metric: mean_figures(groups, values[:, row], **drawing)
            for row, metric in enumerate(MASK_METRICS)
        }
        for source, values in scores.items()
    }
