"""Progress of learning: a live line on a terminal, nothing where output is piped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bilearn.callbacks import Callback
from bilearn.callbacks import Progress as Step


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
        best = progress.best
        text = f"objective {best.value:.6g} ± {best.bound:.1g}  [dim]{progress.parameters}[/dim]"
        self._bar.update(self._task, total=progress.max_steps, completed=progress.iteration, description=text)

    def end(self, status: str) -> None:
        """Remove the line."""
        self._bar.stop()
