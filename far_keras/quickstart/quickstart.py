"""The whole job at a small size: render faces, annotate, train, measure, answer a photograph."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from far_keras.errors import DatasetError
from far_keras.journal import StepJournal

__all__ = ["Quickstart", "quickstart"]

MGMTN, BASELINE = "mgmtn_efficientnetlite0", "baseline_efficientnetlite0"
# With few images there are few steps: smaller batches and a higher rate than usual. Chosen on the
# validation split of 1,000 faces, one seed: AUC 0.86 with 16 and 1e-3 in 10 epochs, 0.90 with these
# in 12, 0.89 with 4e-3.
_BATCH, _LEARNING_RATE = 16, 2e-3


@dataclass(frozen=True)
class Quickstart:
    """What `quickstart` left behind.

    Args:
        report: The page to open in a browser.
        evaluation: The content of ``evaluation.json``.
        seconds: By step, over all sittings.
    """

    report: Path
    evaluation: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Step:
    name: str
    what: str
    run: Callable[[], None]
    estimate: float  # seconds on two cores
    output: Path


def quickstart(
    directory: str | Path = "quickstart",
    count: int = 1000,
    seed: int = 0,
    *,
    epochs: int = 12,
    workers: int | None = None,
    console: Console | None = None,
) -> Quickstart:
    """Renders faces, trains MGMTN and the baseline, measures both, and writes one page about it.

    Each finished step is skipped when the same call is repeated, and an interrupted one goes on
    where it stopped. It starts processes: a script calls it under
    ``if __name__ == "__main__":``.

    Args:
        directory: Where everything is written; made if missing.
        count: Images to render, at least 200, so that each split has some of most attributes.
        seed: Of the faces and of the training.
        epochs: Of either training.
        workers: Processes for rendering and annotation; one a core if None.
        console: Where the plan and the results are printed; standard output if None.

    Returns:
        Where the page is, and what it says.

    Raises:
        DatasetError: `count` is too small, or `directory` holds a run of other settings.
        KeyboardInterrupt: It was stopped; the same call continues.
    """
    if count < 200:
        raise DatasetError(f"count: expected at least 200 images. Received: {count}")
    console = console or Console()
    run = _Run(Path(directory), count, seed, epochs, workers, console)
    console.print(run.plan())
    run.work()
    run.close()
    return Quickstart(run.report, run.evaluation(), dict(run.journal.seconds))


class _Run:
    """One quickstart in a folder, with a journal of the steps that are finished."""

    def __init__(
        self,
        directory: Path,
        count: int,
        seed: int,
        epochs: int,
        workers: int | None,
        console: Console,
    ) -> None:
        self.directory, self.count, self.seed = directory, count, seed
        self.epochs, self.workers, self.console = epochs, workers, console
        self.faces, self.records = directory / "faces", directory / "records"
        self.models = {name: directory / "models" / name for name in (MGMTN, BASELINE)}
        self.figures, self.report = directory / "evaluation", directory / "report.html"
        self.photograph = directory / "astronaut.png"
        self.pretrained = directory / "astronaut_pretrained.png"
        training = 0.75 * count * epochs  # image passes: about three in four are for training
        self.steps = [
            _Step("render", f"render {count:,} faces", self._render, 15 + count / 16, self.faces),
            _Step(
                "annotate", "find landmarks and make masks", self._annotate, 10 + count / 60,
                self.records / "manifest.json",
            ),
            _Step(
                "train", f"train {MGMTN}", lambda: self._train(MGMTN), 25 + training / 50,
                self.models[MGMTN],
            ),
            _Step(
                "train_baseline", f"train {BASELINE}", lambda: self._train(BASELINE),
                20 + training / 60, self.models[BASELINE],
            ),
            _Step(
                "evaluate", "measure both on the test split", self._evaluate, 25,
                self.figures / "evaluation.json",
            ),
            _Step(
                "recognise", "answer a photograph of an astronaut", self._recognise, 10,
                self.photograph,
            ),
            _Step("report", "write the report", self._report, 10, self.report),
        ]  # fmt: skip
        settings = {"count": count, "seed": seed, "epochs": epochs}
        self.journal = StepJournal(directory / "quickstart.json", settings)

    def plan(self) -> Table:
        table = Table(title=f"far-keras quickstart in {self.directory}", title_justify="left")
        table.add_column("step")
        table.add_column("about, on 2 cores", justify="right")
        for number, step in enumerate(self.steps, 1):
            time_left = "done before" if self._is_done(step) else _clock(step.estimate)
            table.add_row(f"{number}. {step.what}", time_left)
        left = sum(step.estimate for step in self.steps if not self._is_done(step))
        table.add_section()
        table.add_row("together", _clock(left))
        return table

    def work(self) -> None:
        redo = False
        for number, step in enumerate(self.steps, 1):
            if self._is_done(step) and not redo:
                continue
            redo = True  # what follows rests on this step
            self.console.print(f"\n[bold]{number}/{len(self.steps)} {step.what}[/bold]")
            spent = self.journal.run(step.name, step.run)
            self.console.print(f"done in {_clock(spent)}", highlight=False)

    def close(self) -> None:
        from far_keras.evaluation.figures import MAJORITY

        models = self.evaluation()["models"]
        table = Table(title="synthetic (rendered) test faces, means", title_justify="left")
        table.add_column("")
        for heading in ("ROC AUC", "accuracy", "balanced accuracy"):
            table.add_column(heading, justify="right")
        for name in (MGMTN, BASELINE, MAJORITY):
            mean = models[name]["mean"]
            cells = (
                f"{mean[k]['value']:.3f}" for k in ("roc_auc", "accuracy", "balanced_accuracy")
            )
            table.add_row(name, *cells)
        self.console.print("\n", table)
        self.console.print(
            f"Open in a browser: {self.report}\nNext:", highlight=False, soft_wrap=True
        )
        for text, command in self._next_steps():
            lines = indent(command, "    ")
            self.console.print(f"  {text}\n{lines}", highlight=False, soft_wrap=True)

    def evaluation(self) -> dict[str, Any]:
        path = self.figures / "evaluation.json"
        return json.loads(path.read_text(encoding="utf-8"))

    # The steps

    def _render(self) -> None:
        from far_keras.synthetic.dataset import synthesize

        synthesize(self.faces, self.count, self.seed, workers=self.workers)

    def _annotate(self) -> None:
        from far_keras.datasets.annotate import annotate
        from far_keras.datasets.opening import open_dataset

        summary = annotate(open_dataset(self.faces), self.records, workers=self.workers)
        lost = len(summary.faces_not_found)
        self.console.print(
            f"{sum(summary.records.values())} images; no face found in {lost} that have one; "
            f"{summary.faceless} without a face",
            highlight=False,
        )

    def _train(self, variant: str) -> None:
        import keras

        from far_keras.training.config import TrainConfig
        from far_keras.training.trainer import train

        keras.backend.clear_session()
        train(
            TrainConfig(
                records=str(self.records),
                output=str(self.models[variant]),
                variant=variant,
                epochs=self.epochs,
                batch_size=_BATCH,
                learning_rate=_LEARNING_RATE,
                seed=self.seed,
            )
        )

    def _evaluate(self) -> None:
        from far_keras.evaluation.evaluate import evaluate
        from far_keras.evaluation.report import write_report

        evaluation = evaluate(self.models[MGMTN], self.records, baseline=self.models[BASELINE])
        write_report(evaluation, self.figures)

    def _recognise(self) -> None:
        import skimage.data

        from far_keras.images import write_image
        from far_keras.recognition.drawing import draw_faces
        from far_keras.recognition.recognizer import Recognizer

        image = skimage.data.astronaut()
        for who, model, path in (
            ("the network of this run", self.models[MGMTN], self.photograph),
            ("the model that comes with far_keras", None, self.pretrained),
        ):
            with Recognizer.load(model) as recognizer:
                result = recognizer(image, strict=True)
            write_image(path, draw_faces(image, result.faces))
            for face in result.faces:
                said = [name for name, decision in face.decisions.items() if decision]
                self.console.print(f"{who} answers: {', '.join(said)}", highlight=False)

    def _report(self) -> None:
        from far_keras.quickstart.report import write_quickstart_report

        done = {step.what: self.journal.seconds[step.name] for step in self.steps[:-1]}
        write_quickstart_report(
            self.report,
            models=self.models,
            records=self.records,
            evaluation=self.figures,
            photographs={
                "Answered by the network of this run": self.photograph,
                "By the model that comes with the package": self.pretrained,
            },
            seconds=done,
            next_steps=self._next_steps(),
        )

    def _next_steps(self) -> list[tuple[str, str]]:
        model = self.models[MGMTN]
        return [
            (
                "Answer your own photographs, by the model that comes with far_keras, or by this:",
                "far-keras predict photo.jpg --annotated answers\n"
                f"far-keras predict photo.jpg --model {model} --annotated answers",
            ),
            (
                "Train on more faces; 5,000 and an hour make a better network:",
                "far-keras synthesize faces --count 5000\n"
                "far-keras annotate faces records\n"
                "far-keras train records --output models/mgmtn",
            ),
            (
                "Train on CelebA, or on your own images with a labels.csv:",
                "far-keras annotate path/to/celeba celeba_records\n"
                "far-keras train celeba_records --output models/celeba",
            ),
        ]

    def _is_done(self, step: _Step) -> bool:
        return self.journal.is_finished(step.name) and step.output.exists()


def _clock(seconds: float) -> str:
    whole = int(np.ceil(seconds))
    return f"{whole // 60} min {whole % 60:02d} s"
