"""From nothing to a model with a card: the recipe of the model that comes with the package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from far_keras.errors import DatasetError
from far_keras.files import atomic_path
from far_keras.journal import StepJournal
from far_keras.models.variants import PRETRAINED
from far_keras.pretraining.recipe import Recipe

__all__ = ["pretrain"]

BASELINE = PRETRAINED.replace("mgmtn", "baseline")
LICENCE = "Apache-2.0"


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
            `far_keras.datasets.opening.open_dataset` takes them, all in the split "test" and with
            a column an attribute; the model never learns from them.
        workers: Processes for rendering and annotation; one a core if None.
        console: Where progress is told; standard output if None.

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
        self.figures = directory / "evaluation"
        self.journal = StepJournal(directory / "pretraining.json", recipe.to_dict())

    def work(self) -> None:
        steps: list[tuple[str, str, Callable[[], None]]] = [
            ("render", f"render {self.recipe.pictures:,} faces", self._render),
            ("annotate", "find landmarks and make masks", self._annotate),
            ("train", f"train {PRETRAINED}", lambda: self._train(PRETRAINED)),
            ("train_baseline", f"train {BASELINE}", lambda: self._train(BASELINE)),
            ("package", "round the weights to float16", self._package),
            ("evaluate", "measure on the rendered test split", self._evaluate),
        ]
        if self.photographs is not None:
            steps.append(("photographs", "measure on photographs", self._photographs))
        steps.append(("card", "write the model card", self._card))
        redo = False
        for number, (name, what, step) in enumerate(steps, 1):
            if self.journal.is_finished(name) and not redo:
                continue
            redo = True  # what follows rests on this step
            self.console.print(f"\n[bold]{number}/{len(steps)} {what}[/bold]")
            self.journal.run(name, step)

    def _render(self) -> None:
        from far_keras.synthetic.dataset import synthesize

        synthesize(self.faces, self.recipe.pictures, self.recipe.seed, workers=self.workers)

    def _annotate(self) -> None:
        from far_keras.datasets.annotate import annotate
        from far_keras.datasets.opening import open_dataset

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
        write_report(evaluate(self.model, self.records, baseline=baseline), self.figures)

    def _photographs(self) -> None:
        from far_keras.datasets.annotate import annotate
        from far_keras.datasets.opening import open_dataset
        from far_keras.evaluation.evaluate import evaluate
        from far_keras.evaluation.report import write_report

        assert self.photographs is not None
        records = self.directory / "photographs"
        annotate(open_dataset(self.photographs), records, workers=self.workers)
        measured = evaluate(self.model, records, baseline=self.trained / BASELINE, least=3)
        write_report(measured, self.figures / "photographs")

    def _card(self) -> None:
        from far_keras.pretraining.card import MODEL_CARD, model_card
        from far_keras.pretraining.mistakes import draw_mistakes
        from far_keras.pretraining.stand_ins import draw_stand_ins, measure_stand_ins

        draw_mistakes(self.model, self.records, self.model / "mistakes.jpg")
        stand_ins = measure_stand_ins(self.model)
        draw_stand_ins(stand_ins, self.model / "stand_ins.jpg")
        files = {"synthetic": self.figures}
        if self.photographs is not None:
            files["photographs"] = self.figures / "photographs"
        evaluations = {
            kind: json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
            for kind, folder in files.items()
        }
        card = model_card(self.model, stand_ins=stand_ins, **evaluations)
        with atomic_path(self.model / MODEL_CARD) as temporary:
            temporary.write_text(card, encoding="utf-8")
        shutil.copy(self.figures / "evaluation.json", self.model / "evaluation.json")
