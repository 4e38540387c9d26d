"""What a training shows in the terminal: a bar while it runs, a line for each epoch."""

from __future__ import annotations

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["TrainingProgress"]

_SHOWN = {
    "loss": "loss",
    "val_loss": "validation loss",
    "val_auc": "AUC",
    "val_accuracy": "accuracy",
    "val_iou": "mask IoU",
}


class TrainingProgress(keras.callbacks.Callback):
    """A callback with a bar over all steps of the training.

    Args:
        title: What is trained.
        total_steps: Steps of the whole training, over all stages.
        epochs: Epochs of the whole training, over all stages.
        done: Steps done before, when a training is resumed.
        enabled: Whether to show anything.
    """

    def __init__(
        self, title: str, total_steps: int, epochs: int, done: int = 0, enabled: bool = True
    ) -> None:
        super().__init__()
        self.console = Console(stderr=True, quiet=not enabled)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._epochs = epochs
        self._task = self._bar.add_task(title, total=total_steps, completed=done)

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.advance(self._task)

    def show_epoch(self, row: dict[str, Any], best: bool) -> None:
        """Prints the figures of one finished epoch; see `far_keras.training.result`."""
        figures = "  ".join(
            f"{label} {row[key]:.4f}" for key, label in _SHOWN.items() if key in row
        )
        mark = "  best so far" if best else ""
        stage = f" ({row['stage']})" if "stage" in row else ""
        self.console.print(
            f"epoch {row['epoch']}/{self._epochs}{stage}  {figures}  {row['seconds']:.0f} s{mark}",
            highlight=False,
            soft_wrap=True,
        )
