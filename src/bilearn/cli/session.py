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
    """Learn, write the report, print the summary; exit with 1 if learning failed and with 130 after Ctrl-C."""
    console = Console()
    display = [] if quiet else [ProgressDisplay(Console(stderr=True))]
    learned = learn(task, directory, display, resume)
    write_report(directory.path)
    print_summary(directory.path, console)
    if learned.status is UpperStatus.INTERRUPTED:
        typer.echo(f"bilearn: interrupted; continue with: bilearn resume {directory.path}", err=True)
        raise typer.Exit(INTERRUPTED)
    if learned.status is UpperStatus.NON_FINITE:
        typer.echo(f"bilearn: {learned.status.value}; the best finite point is saved in {directory.path}", err=True)
        raise typer.Exit(FAILED)
