"""``bilearn experiment``: published comparisons, computed, recorded and drawn; one command for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bilearn.cli.errors import INTERRUPTED, report_errors

if TYPE_CHECKING:
    from bilearn.experiments import Experiment

experiment = typer.Typer(
    name="experiment",
    help="Compute, record and draw a published comparison.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Quick = Annotated[bool, typer.Option("--quick", help="A small version that ends within seconds.")]
Seed = Annotated[int, typer.Option(help="Seed of noise, starts and random methods.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Directory; a new numbered one under ./runs if not given.", show_default=False),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print neither progress nor tables.")]


def list_experiments() -> None:
    """List the experiments.

    [bold]Example[/bold]

      bilearn experiment list
    """
    from bilearn.experiments import EXPERIMENTS, experiment_class

    width = max(map(len, EXPERIMENTS))
    for name in EXPERIMENTS:
        typer.echo(f"{name:<{width}}  {experiment_class(name).purpose}")


def resume(
    directory: Annotated[Path, typer.Argument(help="Directory of an experiment.")],
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Compute the parts that an interrupted experiment has not recorded, and draw all.

    [bold]Example[/bold]

      bilearn experiment resume runs/denoise-1d-001
    """
    from bilearn.experiments.records import Results

    Results.read(directory)
    _execute(None, directory, threads, quiet)


def page(directory: Annotated[Path, typer.Argument(help="Directory of an experiment.")]) -> None:
    """Draw figures and page again from the records, and print the tables; nothing is computed.

    [bold]Example[/bold]

      bilearn experiment page runs/denoise-1d-001
    """
    from rich.console import Console

    from bilearn.experiments.drawing import draw, show

    written = draw(directory)
    show(directory, Console())
    typer.echo(f"Page: {written}")


def denoise_1d(
    starts: Annotated[
        int | None, typer.Option(help="Starts of each learning; 10, with --quick 2.", show_default=False)
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(help="Upper-level evaluations of each run at most; 60, with --quick 10.", show_default=False),
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """1-D denoising with one and three learned parameters: is dynamic lower-level accuracy worth it?

    Exact objective against lower-level gradients for dynamic and fixed accuracy, with FISTA and gradient descent, and for
    the default methods; the first reconstruction after N evaluations with its certified band; accuracy asked and got; what
    is learned from many starts. Data and noise are the published ones; the seed is that of the random starts.

    [bold]Examples[/bold]

      bilearn experiment denoise-1d --quick        seconds

      bilearn experiment denoise-1d --starts 20    minutes
    """
    _start("denoise-1d", quick, {"starts": starts, "evaluations": evaluations, "seed": seed}, output, threads, quiet)


def _start(name: str, quick: bool, options: dict[str, Any], output: Path | None, threads: int, quiet: bool) -> None:
    """Run an experiment with the options that were given, the others as it wants them."""
    from bilearn.experiments import experiment_class
    from bilearn.experiments.session import new_directory

    kind = experiment_class(name)
    given = {k: v for k, v in options.items() if v is not None}
    chosen = kind.quick(**given) if quick else kind(**given)
    _execute(chosen, new_directory(name, output), threads, quiet)


def _execute(chosen: Experiment | None, directory: Path, threads: int, quiet: bool) -> None:
    """Run, or resume where no experiment is given; print tables and the page; exit with 130 after Ctrl-C."""
    import torch
    from rich.console import Console

    from bilearn.cli.progress import PartsDisplay
    from bilearn.experiments.drawing import show
    from bilearn.experiments.records import INTERRUPTED as STOPPED
    from bilearn.experiments.records import REPORT
    from bilearn.experiments.session import resume_experiment, run_experiment

    if threads < 1:
        raise ValueError(f"--threads: found {threads}, expected at least 1")
    torch.set_num_threads(threads)
    with PartsDisplay(Console(stderr=True), quiet) as display:
        if chosen is None:
            results = resume_experiment(directory, display.update)
        else:
            results = run_experiment(chosen, directory, display.update)
    if not quiet and results.parts:
        show(directory, Console())
    if results.parts:
        typer.echo(f"Page: {directory / REPORT}")
    if results.status == STOPPED:
        typer.echo(f"bilearn: interrupted; continue with: bilearn experiment resume {directory}", err=True)
        raise typer.Exit(INTERRUPTED)


experiment.command("list")(report_errors(list_experiments))
for command in (resume, page, denoise_1d):
    experiment.command(command.__name__.replace("_", "-"))(report_errors(command))
