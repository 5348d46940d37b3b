"""``bilearn report``: write the report of a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="Run directory, finished or interrupted.")]) -> None:
    """Print the summary of a run and write its report.html from the records; nothing is recomputed.

    [bold]Example[/bold]

      bilearn report runs/denoise-photos-001
    """
    from bilearn.report import print_summary, write_report

    write_report(run)
    print_summary(run)
