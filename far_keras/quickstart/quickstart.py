"""A small run of the whole pipeline: render, annotate, train, evaluate, recognise, report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.table import Table

from far_keras.console import format_duration
from far_keras.errors import DatasetError
from far_keras.jobs import Journal

__all__ = ["Quickstart", "Step", "StepRunner", "quickstart"]

MGMTN, BASELINE = "mgmtn_efficientnetlite0", "baseline_efficientnetlite0"
PHOTOGRAPH = Path(__file__).with_name("astronaut.jpg")  # see PHOTOGRAPH.md
# With few images there are few steps: smaller batches and a higher rate than usual. Chosen on the
# validation split of 1,000 faces, one seed: AUC 0.86 with 16 and 1e-3 in 10 epochs, 0.90 with these
# in 12, 0.89 with 4e-3.
_BATCH, _LEARNING_RATE = 16, 2e-3
_LEAST_IMAGES = 200


@dataclass(frozen=True)
class Quickstart:
    """Results of `quickstart`.

    Args:
        report: The page to open in a browser.
        evaluation: The content of ``evaluation.json``.
        seconds: By step, over all runs of an interrupted step.
    """

    report: Path
    evaluation: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Step:
    """A step of a long job.

    Args:
        name: Its key in the journal.
        description: For the terminal.
        run: Does the work; an interrupted step resumes by itself.
        output: A file or folder that the step writes; None if its end is known by the journal only.
        estimate: Expected seconds on two cores.
    """

    name: str
    description: str
    run: Callable[[], None]
    output: Path | None = None
    estimate: float = 0.0


class StepRunner:
    """Runs steps in their order, each once: a journal holds the finished ones.

    A step runs again if it has not finished, if its output is missing, or if a step before it ran.

    Args:
        steps: The job.
        journal: An item per step with ``seconds``, over all runs of an interrupted step, and
            ``finished``.
        console: Shows which step runs.
    """

    def __init__(self, steps: Sequence[Step], journal: Journal, console: Console) -> None:
        self.steps, self.console, self._journal = steps, console, journal

    def run(self) -> None:
        """Runs what is left; raises what a step raises."""
        rerun = False
        for number, step in enumerate(self.steps, 1):
            if self.is_finished(step) and not rerun:
                continue
            rerun = True
            self.console.print(f"\n[bold]{number}/{len(self.steps)} {step.description}[/bold]")
            spent = self._run(step)
            self.console.print(f"finished in {format_duration(spent)}", highlight=False)

    def is_finished(self, step: Step) -> bool:
        """Whether the step ended, and its output exists."""
        finished = step.name in self._journal and self._journal[step.name]["finished"]
        return finished and (step.output is None or step.output.exists())

    @property
    def seconds(self) -> dict[str, float]:
        """By step."""
        names = self._journal.keys()
        return {name: self._journal[name]["seconds"] for name in names}

    def _run(self, step: Step) -> float:
        before, finished = 0.0, False
        if step.name in self._journal and not self._journal[step.name]["finished"]:
            before = self._journal[step.name]["seconds"]
        started = time.monotonic()
        try:
            step.run()
            finished = True
        finally:
            spent = time.monotonic() - started
            total = round(before + spent, 1)
            self._journal.add({step.name: {"seconds": total, "finished": finished}})
        return spent


def quickstart(
    directory: str | Path = "quickstart",
    count: int = 1000,
    seed: int = 0,
    *,
    epochs: int = 12,
    workers: int | None = None,
    console: Console | None = None,
) -> Quickstart:
    """Renders faces, trains MGMTN and the baseline, evaluates both, and writes an HTML report.

    The same call resumes: finished steps are skipped, an interrupted one continues. It starts
    processes: a script calls it under ``if __name__ == "__main__":``.

    Args:
        directory: For all results; created if missing.
        count: Images to render, at least 200, so that each split has some of most attributes.
        seed: Of the faces and of the training.
        epochs: Of each training.
        workers: Processes for rendering and annotation; one per core if None.
        console: Where the plan and the results are printed; standard output if None.

    Raises:
        DatasetError: `count` or `epochs` is too small, or `directory` holds a run with other
            settings.
        KeyboardInterrupt: Ctrl-C; the same call continues.
    """
    if count < _LEAST_IMAGES:
        raise DatasetError(f"count: expected at least {_LEAST_IMAGES} images. Received: {count}")
    if epochs < 1:
        raise DatasetError(f"epochs: expected at least 1. Received: {epochs}")
    console = console or Console()
    run = _Run(Path(directory), count, seed, epochs, workers, console)
    try:
        console.print(run.plan())
        run.runner.run()
        run.show_results()
        return Quickstart(run.report, run.evaluation(), run.runner.seconds)
    finally:
        run.journal.close()


class _Run:
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
        self.scores, self.report = directory / "evaluation", directory / "report.html"
        self.photograph = directory / "astronaut.png"
        self.pretrained = directory / "astronaut_pretrained.png"
        training = 0.75 * count * epochs  # images seen: about three in four are for training
        steps = [
            Step("render", f"render {count:,} faces", self._render, self.faces, 15 + count / 16),
            Step(
                "annotate", "find landmarks and make masks", self._annotate,
                self.records / "manifest.json", 10 + count / 60,
            ),
            Step(
                "train", f"train {MGMTN}", lambda: self._train(MGMTN), self.models[MGMTN],
                25 + training / 50,
            ),
            Step(
                "train_baseline", f"train {BASELINE}", lambda: self._train(BASELINE),
                self.models[BASELINE], 20 + training / 60,
            ),
            Step(
                "evaluate", "evaluate both on the test split", self._evaluate,
                self.scores / "evaluation.json", 25,
            ),
            Step(
                "recognise", "recognise a photograph of an astronaut", self._recognise,
                self.photograph, 10,
            ),
            Step("report", "write the report", self._report, self.report, 10),
        ]  # fmt: skip
        settings = {"count": count, "seed": seed, "epochs": epochs}
        self.journal = Journal(directory / "quickstart.json", settings, DatasetError)
        self.runner = StepRunner(steps, self.journal, console)

    def plan(self) -> Table:
        table = Table(title=f"far-keras quickstart in {self.directory}", title_justify="left")
        table.add_column("step")
        table.add_column("about, on 2 cores", justify="right")
        left = 0.0
        for number, step in enumerate(self.runner.steps, 1):
            finished = self.runner.is_finished(step)
            left += 0.0 if finished else step.estimate
            shown = "finished" if finished else format_duration(step.estimate)
            table.add_row(f"{number}. {step.description}", shown)
        table.add_section()
        table.add_row("total", format_duration(left))
        return table

    def show_results(self) -> None:
        models = self.evaluation()["models"]
        table = Table(title="synthetic (rendered) test faces, means", title_justify="left")
        table.add_column("")
        headings = {
            "roc_auc": "ROC AUC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"
        }  # fmt: skip
        for heading in headings.values():
            table.add_column(heading, justify="right")
        for name, scores in models.items():
            table.add_row(name, *(f"{scores['mean'][key]['value']:.3f}" for key in headings))
        self.console.print("\n", table)
        self.console.print(
            f"Open in a browser: {self.report}\nNext:", highlight=False, soft_wrap=True
        )
        for text, command in self._next_steps():
            lines = indent(command, "    ")
            self.console.print(f"  {text}\n{lines}", highlight=False, soft_wrap=True)

    def evaluation(self) -> dict[str, Any]:
        path = self.scores / "evaluation.json"
        return json.loads(path.read_text(encoding="utf-8"))

    # The steps

    def _render(self) -> None:
        from far_keras.synthetic.dataset import synthesize

        synthesize(self.faces, self.count, self.seed, workers=self.workers)

    def _annotate(self) -> None:
        from far_keras.datasets.annotate import annotate
        from far_keras.datasets.dataset import open_dataset

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
        write_report(evaluation, self.scores)

    def _recognise(self) -> None:
        from far_keras.images import read_image, write_image
        from far_keras.recognition.drawing import draw_faces
        from far_keras.recognition.recognizer import Recognizer

        image = read_image(PHOTOGRAPH)
        for who, model, path in (
            ("the network of this run", self.models[MGMTN], self.photograph),
            ("the model that comes with far_keras", None, self.pretrained),
        ):
            with Recognizer.load(model) as recognizer:
                result = recognizer(image, strict=True)
            write_image(path, draw_faces(image, result.faces))
            for face in result.faces:
                names = [name for name, decision in face.decisions.items() if decision]
                self.console.print(f"{who}: {', '.join(names)}", highlight=False)

    def _report(self) -> None:
        from far_keras.quickstart.page import quickstart_page, write_page

        seconds = self.runner.seconds
        page = quickstart_page(
            models=self.models,
            records=self.records,
            evaluation=self.scores,
            photographs={
                "Recognised by the network of this run": self.photograph,
                "By the model that comes with the package": self.pretrained,
            },
            seconds={step.description: seconds[step.name] for step in self.runner.steps[:-1]},
            next_steps=self._next_steps(),
        )
        write_page(page, self.report)

    def _next_steps(self) -> list[tuple[str, str]]:
        model = self.models[MGMTN]
        return [
            (
                "Recognise your own photographs, with far_keras's model or with this one:",
                "far-keras predict photo.jpg --annotated results\n"
                f"far-keras predict photo.jpg --model {model} --annotated results",
            ),
            (
                "Train on more faces; 5,000 and an hour give a better network:",
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
