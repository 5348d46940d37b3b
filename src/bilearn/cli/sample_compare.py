"""``bilearn sample baseline`` and ``bilearn sample compare``: masks that learned ones are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bilearn.cli.errors import report_errors
from bilearn.cli.lists import numbers_of
from bilearn.cli.sample import (
    Count,
    Images,
    Noise,
    Pattern,
    Quiet,
    Regularizer,
    Seed,
    Size,
    Threads,
    sample,
    use_threads,
)

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Directory; a new numbered one under ./runs if not given.", show_default=False),
]


def baseline(
    name: Annotated[
        str, typer.Argument(help="Short name of a baseline, such as poisson-disc; list prints all of them.")
    ],
    images: Images = None,
    rate: Annotated[float, typer.Option(help="Part of k-space to sample.")] = 0.25,
    regularizer: Regularizer = "tv",
    pattern: Pattern = "points",
    size: Size = 192,
    count: Count = 7,
    noise: Noise = 0.03,
    draws: Annotated[int, typer.Option(help="Random masks; the one with the smallest training loss is taken.")] = 1,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Make one of the masks that learned ones are compared with, its weight tuned on images.

    The directory holds mask.npy (zero frequency in the middle), figures and a page.

    [bold]Examples[/bold]

      bilearn sample baseline list

      bilearn sample baseline poisson-disc --rate 0.2 --size 64

      bilearn sample baseline variable-density-polynomial --pattern columns --rate 0.3 -o runs/vd
    """
    from bilearn.sampling_study.methods import TITLES, chosen_names
    from bilearn.sampling_study.setup import StudySetup

    if name == "list":
        for key in TITLES:
            typer.echo(f"{key:<30}{TITLES[key]}")
        return
    if not 0 < rate <= 1:
        raise ValueError(f"--rate: found {rate}, expected a part of k-space above 0 and at most 1, such as 0.25")
    setup = StudySetup(
        images=tuple(images or ("brain-train",)),
        size=size,
        count=count,
        noise=noise,
        regularizer=regularizer,  # type: ignore[arg-type]
        pattern=pattern,  # type: ignore[arg-type]
        seed=seed,
    )
    chosen_names([name], setup.unit)
    training = setup.pairs()

    from rich.console import Console

    from bilearn.experiments.records import REPORT
    from bilearn.experiments.session import new_directory
    from bilearn.sampling_study.baseline_directory import baseline_into, baseline_sections

    use_threads(threads)
    directory = new_directory("mask", output)
    results = baseline_into(directory, name, rate, draws, setup, training)
    if not quiet:
        for section in baseline_sections(results):
            for content in section.contents:
                content.show(Console())
    typer.echo(f"Page: {directory / REPORT}")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories of 'sample learn'.")],
    images: Annotated[str, typer.Option(help="Held-out sets or files, separated by commas.")] = "brain-test",
    count: Annotated[int, typer.Option(help="Held-out images taken, evenly spread; 0 takes all.")] = 10,
    rates: Annotated[
        str | None,
        typer.Option(
            help="More parts of k-space, separated by commas, at which the baselines alone are drawn.",
            show_default=False,
        ),
    ] = None,
    baselines: Annotated[str, typer.Option(help="Short names, separated by commas, or all.")] = "all",
    draws: Annotated[
        int, typer.Option(help="Random masks of a baseline; the one with the smallest training loss is taken.")
    ] = 3,
    greedy_steps: Annotated[int, typer.Option(help="Steps of the greedy search at most.")] = 48,
    greedy_batch: Annotated[
        int, typer.Option(help="Random candidates scored in a step; 0 scores all, which takes very long for points.")
    ] = 48,
    probabilistic_steps: Annotated[
        int, typer.Option(help="Masks drawn while the probabilities of a random mask are learned.")
    ] = 100,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Learned masks against every baseline at equal numbers of samples, on held-out images.

    Alpha is tuned for each mask on the training images of the runs, which must have the same setup and different rates.
    Mean PSNR and SSIM, differences image by image with their spread, and curves over rates. An interrupted comparison is
    continued with 'bilearn experiment resume DIRECTORY'.

    [bold]Examples[/bold]

      bilearn sample compare runs/quarter --baselines low-pass,poisson-disc

      bilearn sample compare runs/tenth runs/quarter --images subjects-test --count 0 --rates 0.15,0.2
    """
    from bilearn.cli.experiment import start_experiment

    options = {
        "runs": tuple(str(run.resolve()) for run in runs),
        "test": tuple(name.strip() for name in images.split(",")),
        "test_count": count,
        "rates": numbers_of("--rates", rates) or (),
        "baselines": tuple(name.strip() for name in baselines.split(",")),
        "draws": draws,
        "greedy_steps": greedy_steps,
        "greedy_batch": greedy_batch,
        "probabilistic_steps": probabilistic_steps,
    }
    start_experiment("sampling-baselines", False, options, output, threads, quiet)


for command in (baseline, compare):
    sample.command(command.__name__)(report_errors(command))
