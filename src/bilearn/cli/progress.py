"""Progress of learning: a live line on a terminal, nothing where output is piped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bilearn.callbacks import Callback
from bilearn.callbacks import Progress as Step
from bilearn.evaluation import Evaluation


class ProgressDisplay(Callback):
    """Shows step, objective with its certified interval, and parameters.

    Args:
        console: where to draw; nothing is drawn unless it is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("step {task.completed}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def start(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begin to draw."""
        self._task = self._bar.add_task("solving", total=None)
        self._bar.start()

    def step(self, progress: Step) -> None:
        """Redraw."""
        if self._task is None:
            return
        text = f"{objective_text(progress.best)}  [dim]{progress.parameters}[/dim]"
        self._bar.update(self._task, total=progress.max_steps, completed=progress.iteration, description=text)

    def end(self, status: str) -> None:
        """Remove the line."""
        self._bar.stop()


class PartsDisplay:
    """Progress of work in parts: a bar on a terminal, one line a part where output is piped.

    Args:
        console: where to draw.
        quiet: draw nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TextColumn("part {task.completed} of {task.total}"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> PartsDisplay:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, done: int, total: int, label: str) -> None:
        """Say what is under way."""
        self._bar.update(self._task, total=total, completed=done, description=label)
        if not self._quiet and not self._console.is_terminal:
            self._console.print(f"{done}/{total} {label}", markup=False, highlight=False, soft_wrap=True)


def objective_text(evaluation: Evaluation) -> str:
    """The objective and the error it may have, which is called estimated unless it is certified."""
    if not math.isfinite(evaluation.bound):
        return f"objective {evaluation.value:.6g}, no bound known"
    return f"objective {evaluation.value:.6g} ± {evaluation.bound:.1g}" + (
        "" if evaluation.certified else " (estimated)"
    )
