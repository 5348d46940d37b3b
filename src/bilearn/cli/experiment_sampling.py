"""``bilearn experiment sampling-...``: the experiments on MRI sampling patterns."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bilearn.cli.errors import report_errors
from bilearn.cli.experiment import Output, Quick, Quiet, Seed, Threads, experiment, start_experiment
from bilearn.cli.lists import numbers_of

Size = Annotated[
    int | None, typer.Option(help="Side of the images in pixels; 64, with --quick 16.", show_default=False)
]
Count = Annotated[
    int | None, typer.Option(help="Training images; 20 (sparsity 7), with --quick 2.", show_default=False)
]
TestCount = Annotated[int | None, typer.Option(help="Held-out images; 10, with --quick 2.", show_default=False)]
Noise = Annotated[float | None, typer.Option(help="Standard deviation of the noise; 0.03.", show_default=False)]
Steps = Annotated[
    int | None, typer.Option(help="Upper-level steps of a stage at most; 60, with --quick 3.", show_default=False)
]
Exchanges = Annotated[
    int | None, typer.Option(help="Rounds of exchanges at most; 30, with --quick 1.", show_default=False)
]
Rate = Annotated[float | None, typer.Option(help="Part of k-space to sample.", show_default=False)]


def sampling_warm_up(
    rate: Rate = None,
    size: Size = None,
    noise: Noise = None,
    steps: Steps = None,
    exchanges: Exchanges = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """A smooth bump: learned pattern against the largest Fourier coefficients (2.76 %, as on the slide).

    [bold]Examples[/bold]

      bilearn experiment sampling-warm-up --quick      seconds

      bilearn experiment sampling-warm-up --size 32
    """
    options = {"rate": rate, "size": size, "noise": noise, "steps": steps, "exchanges": exchanges, "seed": seed}
    start_experiment("sampling-warm-up", quick, options, output, threads, quiet)


def sampling_sparsity(
    betas: Annotated[str | None, typer.Option(help="Prices, separated by commas.", show_default=False)] = None,
    size: Size = None,
    count: Count = None,
    test_count: TestCount = None,
    noise: Noise = None,
    steps: Steps = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Increasing sparsity: patterns for growing prices of samples.

    [bold]Examples[/bold]

      bilearn experiment sampling-sparsity --quick                        seconds

      bilearn experiment sampling-sparsity --size 32 --betas 1e-3,1e-2
    """
    options = {"betas": numbers_of("--betas", betas), **_data(size, count, test_count, noise), "steps": steps}
    start_experiment("sampling-sparsity", quick, {**options, "seed": seed}, output, threads, quiet)


def sampling_regularizers(
    regularizers: Annotated[
        str | None, typer.Option(help="Out of none, h1, wavelet, tv, separated by commas.", show_default=False)
    ] = None,
    rate: Rate = None,
    size: Size = None,
    count: Count = None,
    test_count: TestCount = None,
    noise: Noise = None,
    steps: Steps = None,
    exchanges: Exchanges = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """The best pattern depends on the regularizer: each pattern used with every regularizer, as a cross table.

    [bold]Examples[/bold]

      bilearn experiment sampling-regularizers --quick                           seconds

      bilearn experiment sampling-regularizers --size 32 --regularizers h1,tv
    """
    names = None if regularizers is None else _names(regularizers)
    options = {"regularizers": names, "rate": rate, **_data(size, count, test_count, noise)}
    options |= {"steps": steps, "exchanges": exchanges, "seed": seed}
    start_experiment("sampling-regularizers", quick, options, output, threads, quiet)


def sampling_patterns(
    rate: Rate = None,
    size: Size = None,
    count: Count = None,
    test_count: TestCount = None,
    noise: Noise = None,
    steps: Steps = None,
    exchanges: Exchanges = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Learned points against learned lines against radial, spiral and equispaced rules.

    [bold]Examples[/bold]

      bilearn experiment sampling-patterns --quick        seconds

      bilearn experiment sampling-patterns --size 32
    """
    options = {
        "rate": rate,
        **_data(size, count, test_count, noise),
        "steps": steps,
        "exchanges": exchanges,
        "seed": seed,
    }
    start_experiment("sampling-patterns", quick, options, output, threads, quiet)


def sampling_training(
    counts: Annotated[
        str | None, typer.Option(help="Numbers of training images, separated by commas.", show_default=False)
    ] = None,
    rate: Rate = None,
    size: Size = None,
    test_count: TestCount = None,
    noise: Noise = None,
    steps: Steps = None,
    exchanges: Exchanges = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """How many training images does a pattern need? 1 to 30, judged on held-out ones.

    [bold]Examples[/bold]

      bilearn experiment sampling-training --quick                      seconds

      bilearn experiment sampling-training --size 32 --counts 1,5,20
    """
    numbers = numbers_of("--counts", counts)
    options = {"counts": None if numbers is None else tuple(map(int, numbers)), "rate": rate}
    options |= {**_data(size, None, test_count, noise), "steps": steps, "exchanges": exchanges, "seed": seed}
    start_experiment("sampling-training", quick, options, output, threads, quiet)


def sampling_large(
    rate: Rate = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the image in pixels; 1024, with --quick 16.", show_default=False)
    ] = None,
    noise: Noise = None,
    steps: Annotated[
        int | None, typer.Option(help="Upper-level steps of a stage at most; 30, with --quick 3.", show_default=False)
    ] = None,
    exchanges: Annotated[
        int | None, typer.Option(help="Rounds of exchanges at most; 3, with --quick 1.", show_default=False)
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """One image of 1024 x 1024 (package pydicom-data), a million sampling weights; slow.

    [bold]Examples[/bold]

      bilearn experiment sampling-large --quick                     seconds

      bilearn experiment sampling-large --size 256                  minutes
    """
    options = {"rate": rate, "size": size, "noise": noise, "steps": steps, "exchanges": exchanges, "seed": seed}
    start_experiment("sampling-large", quick, options, output, threads, quiet)


def sampling_baselines(
    rates: Annotated[
        str | None,
        typer.Option(help="Parts of k-space, separated by commas; 0.1,0.2,0.3,0.4.", show_default=False),
    ] = None,
    baselines: Annotated[
        str | None, typer.Option(help="Short names, separated by commas, or all.", show_default=False)
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Random masks of a baseline; that of least training loss is taken; 3.", show_default=False),
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="points, rows or columns.", show_default=False)] = None,
    size: Size = None,
    count: Count = None,
    test_count: TestCount = None,
    noise: Noise = None,
    steps: Steps = None,
    exchanges: Exchanges = None,
    greedy_steps: Annotated[
        int | None, typer.Option(help="Steps of the greedy search at most; 48.", show_default=False)
    ] = None,
    greedy_batch: Annotated[
        int | None, typer.Option(help="Candidates scored in a step, 0 for all; 48.", show_default=False)
    ] = None,
    probabilistic_steps: Annotated[
        int | None,
        typer.Option(help="Masks drawn to learn the probabilities of a random mask; 100.", show_default=False),
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Learned masks against every baseline at equal numbers of samples, on held-out images, over rates.

    [bold]Examples[/bold]

      bilearn experiment sampling-baselines --quick                                   seconds

      bilearn experiment sampling-baselines --size 32 --rates 0.2 --steps 12 --exchanges 8
    """
    options = {
        "rates": numbers_of("--rates", rates),
        "baselines": None if baselines is None else _names(baselines),
        "draws": draws,
        "pattern": pattern,
        **_data(size, count, test_count, noise),
        "steps": steps,
        "exchanges": exchanges,
        "greedy_steps": greedy_steps,
        "greedy_batch": greedy_batch,
        "probabilistic_steps": probabilistic_steps,
        "seed": seed,
    }
    start_experiment("sampling-baselines", quick, options, output, threads, quiet)


def _data(size: int | None, count: int | None, test_count: int | None, noise: float | None) -> dict[str, Any]:
    return {"size": size, "count": count, "test_count": test_count, "noise": noise}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


for command in (
    sampling_warm_up,
    sampling_sparsity,
    sampling_regularizers,
    sampling_patterns,
    sampling_training,
    sampling_large,
    sampling_baselines,
):
    experiment.command(command.__name__.replace("_", "-"))(report_errors(command))
