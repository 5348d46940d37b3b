"""``bilearn compare``: several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN ...", help="Two or more run directories.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The page; comparison.html beside the first run if not given.", show_default=False
        ),
    ] = None,
) -> None:
    """Print several runs as one table and write one page that shows them side by side.

    [bold]Example[/bold]

      bilearn compare runs/denoise-photos-001 runs/denoise-photos-002
    """
    from bilearn.report import print_comparison, write_comparison

    if len(runs) < 2:
        raise ValueError(f"compare: found {len(runs)} run, expected at least two run directories")
    page = write_comparison(runs, output)
    print_comparison(runs)
    typer.echo(f"Page: {page}")
