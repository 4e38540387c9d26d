"""From nothing to a model with a card: the recipe of the model that comes with the package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from far_keras.errors import DatasetError
from far_keras.files import write_atomically
from far_keras.jobs import Journal
from far_keras.models.variants import PRETRAINED
from far_keras.quickstart.quickstart import Step, StepRunner

__all__ = ["Recipe", "pretrain"]

_LEAST_IMAGES = 200
BASELINE = PRETRAINED.replace("mgmtn", "baseline")
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Recipe:
    """Data and training of the model that comes with the package; docs/transfer.md has the reasons.

    Args:
        images: How many faces are rendered, at least 200.
        seed: Of the faces and of the training.
        training: Fields of `far_keras.training.config.TrainConfig` that differ from its defaults,
            for MGMTN and baseline alike.
        model: Arguments of MGMTN that differ from its variant's.

    Raises:
        DatasetError: `images` is too small for a split with both classes.
    """

    images: int = 20_000
    seed: int = 0
    training: Mapping[str, Any] = field(
        default_factory=lambda: {"masks": "true", "epochs": 10},
    )
    model: Mapping[str, Any] = field(default_factory=lambda: {"levels": ["P3", "P4", "P5"]})

    def __post_init__(self) -> None:
        if self.images < _LEAST_IMAGES:
            raise DatasetError(
                f"images: expected at least {_LEAST_IMAGES}. Received: {self.images}"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {**vars(self), "training": dict(self.training), "model": dict(self.model)}


def pretrain(
    directory: str | Path,
    recipe: Recipe | None = None,
    *,
    photographs: str | Path | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Path:
    """Renders faces, trains MGMTN and the baseline, measures both, and writes the model to ship.

    Each finished step is skipped when the same call is repeated, and an interrupted one goes on
    where it stopped. It starts processes: a script calls it under ``if __name__ == "__main__":``.

    Args:
        directory: Where everything is written. Give it relative to where you are: paths are
            kept in the model's provenance.
        recipe: Data and training; None for the ones of the model that comes with the package.
        photographs: Labelled photographs that the finished model is measured on, as
            `far_keras.datasets.dataset.open_dataset` takes them, all in the split "test" and with
            a column an attribute; the model never learns from them.
        workers: Processes for rendering and annotation; one a core if None.
        console: For progress; standard output if None.

    Returns:
        The folder of the model, with float16 weights, what LiteRT needs to run it, and
        ``MODEL_CARD.md``.

    Raises:
        DatasetError: `directory` holds a run of another recipe, or `photographs` is no data set.
        KeyboardInterrupt: It was stopped; the same call continues.
    """
    run = _Run(Path(directory), recipe or Recipe(), photographs, workers, console or Console())
    run.work()
    return run.model


class _Run:
    def __init__(
        self,
        directory: Path,
        recipe: Recipe,
        photographs: str | Path | None,
        workers: int | None,
        console: Console,
    ) -> None:
        if photographs is not None and not Path(photographs).exists():
            raise DatasetError(f"photographs: {photographs}: there is no such folder or table")
        self.directory, self.recipe, self.photographs = directory, recipe, photographs
        self.workers, self.console = workers, console
        self.faces, self.records = directory / "faces", directory / "records"
        self.trained = directory / "trained"
        self.model = directory / PRETRAINED
        self.scores = directory / "evaluation"
        self.journal = Journal(directory / "pretraining.json", recipe.to_dict(), DatasetError)

    def work(self) -> None:
        steps = [
            Step("render", f"render {self.recipe.images:,} faces", self._render),
            Step("annotate", "find landmarks and make masks", self._annotate),
            Step("train", f"train {PRETRAINED}", lambda: self._train(PRETRAINED)),
            Step("train_baseline", f"train {BASELINE}", lambda: self._train(BASELINE)),
            Step("package", "round the weights to float16", self._package),
            Step("evaluate", "evaluate on the rendered test split", self._evaluate),
        ]
        if self.photographs is not None:
            steps.append(Step("photographs", "evaluate on photographs", self._photographs))
        steps.append(Step("card", "write the model card", self._card))
        try:
            StepRunner(steps, self.journal, self.console).run()
        finally:
            self.journal.close()

    def _render(self) -> None:
        from far_keras.synthetic.dataset import synthesize

        synthesize(self.faces, self.recipe.images, self.recipe.seed, workers=self.workers)

    def _annotate(self) -> None:
        from far_keras.datasets.annotate import annotate
        from far_keras.datasets.dataset import open_dataset

        annotate(open_dataset(self.faces), self.records, workers=self.workers)

    def _train(self, variant: str) -> None:
        import keras

        from far_keras.training.config import TrainConfig
        from far_keras.training.trainer import train

        keras.backend.clear_session()
        settings = {"seed": self.recipe.seed, **self.recipe.training, "variant": variant}
        if variant == PRETRAINED:
            settings["model"] = self.recipe.model
        train(
            TrainConfig(records=str(self.records), output=str(self.trained / variant), **settings)
        )

    def _package(self) -> None:
        from far_keras.export.weightless_tflite import write_weightless_tflite
        from far_keras.models.storage import load_model, save_model

        loaded = load_model(self.trained / PRETRAINED)
        command = loaded.provenance["command"]
        if command[0] == "__main__.py":
            command = ["python", "-m", "research.pretraining", *command[1:]]
        synthesis = json.loads((self.faces / "synthesis.json").read_text(encoding="utf-8"))
        save_model(
            loaded.model,
            self.model,
            config=loaded.config,
            schema=loaded.schema,
            thresholds=loaded.thresholds,
            calibration=loaded.calibration,
            provenance={
                **loaded.provenance,
                "command": command,
                "licence": LICENCE,
                "recipe": self.recipe.to_dict(),
                "synthesis": synthesis,
            },
            half=True,
        )
        write_weightless_tflite(self.model)

    def _evaluate(self) -> None:
        from far_keras.evaluation.evaluate import evaluate
        from far_keras.evaluation.report import write_report

        baseline = self.trained / BASELINE
        write_report(evaluate(self.model, self.records, baseline=baseline), self.scores)

    def _photographs(self) -> None:
        from far_keras.datasets.annotate import annotate
        from far_keras.datasets.dataset import open_dataset
        from far_keras.evaluation.evaluate import evaluate
        from far_keras.evaluation.report import write_report

        assert self.photographs is not None
        records = self.directory / "photographs"
        annotate(open_dataset(self.photographs), records, workers=self.workers)
        measured = evaluate(self.model, records, baseline=self.trained / BASELINE, least=3)
        write_report(measured, self.scores / "photographs")

    def _card(self) -> None:
        from research.pretraining.card import (
            MODEL_CARD,
            draw_mistakes,
            draw_stand_ins,
            measure_stand_ins,
            model_card,
        )

        draw_mistakes(self.model, self.records, self.model / "mistakes.jpg")
        stand_ins = measure_stand_ins(self.model)
        draw_stand_ins(stand_ins, self.model / "stand_ins.jpg")
        files = {"synthetic": self.scores}
        if self.photographs is not None:
            files["photographs"] = self.scores / "photographs"
        evaluations = {
            kind: json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
            for kind, folder in files.items()
        }
        card = model_card(self.model, stand_ins=stand_ins, **evaluations)
        write_atomically(self.model / MODEL_CARD, card)
        shutil.copy(self.scores / "evaluation.json", self.model / "evaluation.json")
