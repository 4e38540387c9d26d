"""Measures the masks of models on one split, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from far_keras.errors import ModelError
from far_keras.evaluation.answers import answer_split
from far_keras.evaluation.mask_figures import MaskEvaluation, MaskModelScores, mask_figures
from far_keras.evaluation.subjects import load_subjects, open_pictures

__all__ = ["evaluate_masks"]


def evaluate_masks(
    models: str | Path | Sequence[str | Path],
    records: str | Path,
    split: str = "test",
    *,
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> MaskEvaluation:
    """Measures the masks that one or more saved models predict; mask networks alone are welcome.

    They are compared with the masks from landmarks, and with the true regions where the records
    have them.

    Args:
        models: Folder of a saved model, or several.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Images at once.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the resampling.
        progress: Show a progress bar a model, on standard error.

    Raises:
        ModelError: A folder holds no model, a model is given twice, or it predicts no masks.
        DatasetError: The records are missing, incomplete, or lack an attribute or the split.
    """
    pictures = open_pictures(records, split)
    subjects = load_subjects([models] if isinstance(models, str | Path) else list(models))
    measured = []
    for subject in subjects:
        loaded = subject.loaded
        if "masks" not in loaded.model.output:
            raise ModelError(
                f"{subject.folder}: expected a model that predicts masks. "
                f"Received: {loaded.config.variant!r}, which predicts none"
            )
        said = answer_split(
            loaded.model,
            loaded.schema,
            records,
            split,
            batch_size=batch_size,
            title=f"answering {subject.name}" if progress else None,
        )
        figures = mask_figures(
            loaded.schema.group_names,
            said.masks,
            identities=pictures.clusters,
            resamples=resamples,
            seed=seed,
        )
        measured.append(MaskModelScores(subject.name, subject.folder, figures))
    return MaskEvaluation({**pictures.data, "resamples": resamples}, tuple(measured))
