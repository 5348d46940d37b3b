"""What ``learn`` and ``resume`` share: a run directory, progress, the printed result, exit codes."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import typer
from rich.console import Console

from bilearn.cli.errors import FAILED, INTERRUPTED
from bilearn.cli.progress import ProgressDisplay
from bilearn.experiment.session import learn
from bilearn.experiment.task import LearningTask
from bilearn.report import print_summary, write_report
from bilearn.run_directory import RunDirectory
from bilearn.upper.optimizer import UpperStatus


def new_directory(output: str | Path | None, name: str, overwrite: bool) -> RunDirectory:
    """The directory asked for, or the first free ``runs/NAME-001``, ``runs/NAME-002``, ...

    Raises:
        FileExistsError: if the directory asked for already holds something.
    """
    if output is not None:
        return RunDirectory.create(output, overwrite)
    for number in count(1):
        path = Path("runs") / f"{name}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return RunDirectory.create(path)
    raise AssertionError("unreachable")


def run_and_report(task: LearningTask, directory: RunDirectory, resume: bool = False, quiet: bool = False) -> None:
    """Learn, write the report, print the summary; exit with 1 if learning failed and with 130 after Ctrl-C.

    Of several processes the first one writes and prints; all end with the same code.
    """
    processes = task.objective.processes
    display = [] if quiet or not processes.first else [ProgressDisplay(Console(stderr=True))]
    learned = learn(task, directory, display, resume)
    note, code = "", 0
    if learned.status is UpperStatus.INTERRUPTED:
        note, code = f"interrupted; continue with: bilearn resume {directory.path}", INTERRUPTED
    if learned.status is UpperStatus.NON_FINITE:
        note, code = f"{learned.status.value}; the best finite point is saved in {directory.path}", FAILED
    processes.share(lambda: _tell(directory, note))
    if code:
        raise typer.Exit(code)


def _tell(directory: RunDirectory, note: str) -> None:
    write_report(directory.path)
    print_summary(directory.path, Console())
    if note:
        typer.echo(f"bilearn: {note}", err=True)
