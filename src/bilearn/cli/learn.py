"""``bilearn learn``: run a recipe or a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def learn(
    target: Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="Name of a recipe, or a configuration file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Run directory; a new numbered one under ./runs if not given.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of data, noise and random methods.", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="'cpu', 'cuda', 'cuda:1', ...", show_default=False)] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")] = False,
) -> None:
    """Learn the parameters of a model and write a run directory with model, records and report.

    [bold]Examples[/bold]

      bilearn learn denoise-photos

      bilearn learn denoise-photos --set noise.sigma=0.2

      bilearn learn logistic

      bilearn learn my.toml -o runs/mine --threads 4

    To learn from your own images, copy a recipe, write folder = "path/to/images" into its section \\[data], and run it:

      bilearn recipes denoise-photos > my.toml

    Ctrl-C ends the run in order: model and report of what was learned so far are written, and 'bilearn resume'
    continues it.

    Several processes share the images where torchrun starts them:

      torchrun --nproc-per-node 2 -m bilearn learn denoise-photos
    """
    from bilearn.experiment.load import load_task

    flags = {"run.seed": seed, "run.threads": threads, "run.device": f'"{device}"' if device else None}
    overrides = [*(settings or []), *(f"{key}={value}" for key, value in flags.items() if value is not None)]
    config = load_task(target, overrides)

    from bilearn.cli.session import new_directory, run_and_report
    from bilearn.distributed import launched
    from bilearn.experiment.build_task import build_task

    with launched(config.run.device, config.run.timeout) as processes:
        task = build_task(config, processes)
        directory = processes.share(lambda: new_directory(output or config.run.output, config.name, overwrite))
        run_and_report(task, directory, quiet=quiet)
