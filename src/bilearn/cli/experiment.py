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
Names = Annotated[list[str] | None, typer.Option(help="Names, separated by commas.", show_default=False)]
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
        typer.Option(help="Upper-level evaluations of each run at most; 60, with --quick 8.", show_default=False),
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
    start_experiment(
        "denoise-1d", quick, {"starts": starts, "evaluations": evaluations, "seed": seed}, output, threads, quiet
    )


def denoise_kodak(
    folder: Annotated[Path, typer.Argument(help="Folder of images; color becomes gray.")],
    levels: Annotated[
        str | None,
        typer.Option(
            help="Noise levels, separated by commas; 1e-1 to 1e-8 in decades, with --quick 1e-1,1e-8.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Images to use, the first by name; 4, with --quick 2.", show_default=False)
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the square cut from the center of each; 128, with --quick 24.", show_default=False),
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Denoising of photographs: how do the learned parameters of total variation depend on the noise level?

    For each level alpha, xi and nu are learned from two starts with the default methods. Learned parameters against noise
    (does alpha/sigma settle?), what is left of the noise with its certified interval, and reconstructions. At small noise
    the interval shows where float64 ends.

    [bold]Examples[/bold]

      bilearn experiment denoise-kodak photos --quick                            seconds

      bilearn experiment denoise-kodak photos                                    minutes

      bilearn experiment denoise-kodak photos --levels 0.1,0.05,0.02 --images 10 --size 256
    """
    from bilearn.cli.lists import numbers_of

    options = {"levels": numbers_of("--levels", levels), "images": images, "size": size, "seed": seed}
    start_experiment("denoise-kodak", quick, {"folder": str(folder.resolve()), **options}, output, threads, quiet)


def mri_1d_sampling(
    evaluations: Annotated[
        int | None,
        typer.Option(
            help="Upper-level evaluations of each method at most; 300, with --quick 4 and no dynamic DFO.",
            show_default=False,
        ),
    ] = None,
    quick: Quick = False,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Which Fourier coefficients of 1-D signals are worth measuring? 64 weights with a sparsity penalty.

    Learned weights against frequency, reconstructions before and after with certified bands, and the exact objective
    against evaluations and lower-level gradients for the default method and for dynamic derivative-free optimization.
    Data and noise are the published ones.

    [bold]Examples[/bold]

      bilearn experiment mri-1d-sampling --quick    seconds

      bilearn experiment mri-1d-sampling            minutes
    """
    start_experiment("mri-1d-sampling", quick, {"evaluations": evaluations}, output, threads, quiet)


def compare_methods(
    methods: Names = None,
    problems: Names = None,
    accuracies: Names = None,
    lower_levels: Names = None,
    starts: Annotated[
        int | None, typer.Option(help="Starts of each problem; 10, with --quick 1.", show_default=False)
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(help="Upper-level evaluations of each run at most; 200, with --quick 10.", show_default=False),
    ] = None,
    stop_gap: Annotated[
        float | None, typer.Option(help="End runs at this gap to the best known value.", show_default=False)
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Folder of PNG files; adds the problems with photographs.", show_default=False)
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Every upper-level method on every problem from many starts, judged by the exact objective.

    Medians of work, evaluations and CPU seconds to 5, 1 and 0.1 %; data and performance profiles; adaptive accuracy against
    the best fixed one and against solving far too accurately. Options that name several things are repeated, or take
    names separated by commas; methods, problems and accuracies are rows of bilearn.experiments.comparison_rows.

    [bold]Examples[/bold]

      bilearn experiment compare-methods --quick                                      seconds

      bilearn experiment compare-methods                                              half an hour

      bilearn experiment compare-methods --problems reg6 --lower-levels first-order --accuracies adaptive,"100 steps"
    """
    lists = {"methods": methods, "problems": problems, "accuracies": accuracies, "lower_levels": lower_levels}
    options: dict[str, Any] = {
        key: tuple(name.strip() for text in names for name in text.split(",")) for key, names in lists.items() if names
    }
    options |= {"starts": starts, "max_evaluations": evaluations, "stop_gap": stop_gap, "images": images, "seed": seed}
    start_experiment("compare-methods", quick, options, output, threads, quiet)


def start_experiment(
    name: str, quick: bool, options: dict[str, Any], output: Path | None, threads: int, quiet: bool
) -> None:
    """Run an experiment with the options that were given (not None), the others as it wants them, into a new directory."""
    from bilearn.experiments import experiment_class
    from bilearn.experiments.session import new_directory

    kind = experiment_class(name)
    given = {k: v for k, v in options.items() if v is not None}
    chosen = kind.quick(**given) if quick else kind(**given)
    chosen.check()
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
for command in (resume, page, denoise_1d, denoise_kodak, mri_1d_sampling, compare_methods):
    experiment.command(command.__name__.replace("_", "-"))(report_errors(command))
