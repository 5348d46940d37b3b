"""``bilearn resume``: continue an interrupted run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def resume(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    max_steps: Annotated[
        int | None, typer.Option(help="New limit on upper-level steps, steps so far included.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="New limit on learning time, time so far included.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")] = False,
) -> None:
    """Continue a run from its last checkpoint, bit for bit as if it had never been interrupted.

    [bold]Examples[/bold]

      bilearn resume runs/my-001                    after Ctrl-C or a crash

      bilearn resume runs/my-001 --max-steps 100    after the step limit

      torchrun --nproc-per-node 2 -m bilearn resume runs/my-001    with two processes, whatever their number before
    """
    from bilearn.cli.session import run_and_report
    from bilearn.distributed import launched
    from bilearn.experiment.build_task import build_task
    from bilearn.experiment.load import parse_task
    from bilearn.run_directory import CONFIG, RunDirectory

    directory = RunDirectory.open(run)
    source = directory.path / CONFIG
    if not source.is_file():
        raise FileNotFoundError(f"{source}: missing, so that the run cannot be rebuilt; learn again")
    limits = {"run.max_steps": max_steps, "run.seconds": seconds}
    overrides = [f"{key}={value}" for key, value in limits.items() if value is not None]
    config = parse_task(source.read_text(encoding="utf-8"), str(source), run.name, overrides=overrides)
    with launched(config.run.device, config.run.timeout) as processes:
        run_and_report(build_task(config, processes), directory, resume=True, quiet=quiet)
