"""``bilearn sample``: learn which k-space samples to take, compare masks, write them for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bilearn.cli.errors import INTERRUPTED, report_errors

sample = typer.Typer(
    name="sample",
    help="Learn which k-space samples to take, compare masks, write them for other tools.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGES]...",
        help="Built-in sets (brain-train, brain-test, subjects-test, coronal, sagittal, epi, shoulder, abdomen) or files: "
        "NIfTI, DICOM, .npy, .npz, .mat, fastMRI or ISMRMRD; brain-train if not given.",
        show_default=False,
    ),
]
Regularizer = Annotated[str, typer.Option(help="tv, h1, wavelet or none (ridge only).")]
Pattern = Annotated[str, typer.Option(help="What is sampled together: points, rows or columns of k-space.")]
Size = Annotated[int, typer.Option(help="Side of the square images in pixels; larger ones are averaged over blocks.")]
Count = Annotated[int, typer.Option(help="Images taken, evenly spread; 0 takes all.")]
Noise = Annotated[
    float, typer.Option(help="Standard deviation of real and imaginary noise; image magnitudes are in 0 to 1.")
]
Seed = Annotated[int, typer.Option(help="Seed of phase, noise and random methods.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print neither progress nor tables.")]


def learn(
    images: Images = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Part of k-space to sample, met exactly; 0.25 if no penalty is given.", show_default=False),
    ] = None,
    penalty: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="B1 B2",
            help="Instead of a rate: prices of samples, beta1 sum s + beta2 sum s (1 - s).",
            show_default=False,
        ),
    ] = None,
    regularizer: Regularizer = "tv",
    pattern: Pattern = "points",
    center: Annotated[
        int, typer.Option(help="Always sampled: side of the central block of points, or number of central lines.")
    ] = 0,
    size: Size = 192,
    count: Count = 7,
    noise: Noise = 0.03,
    starts: Annotated[
        str,
        typer.Option(
            help="Degrees to start from, separated by commas; +spectrum mixes in the largest training coefficients."
        ),
    ] = "0.5+spectrum",
    steps: Annotated[int, typer.Option(help="Upper-level steps of a stage at most.")] = 100,
    exchanges: Annotated[int, typer.Option(help="Rounds in which samples are exchanged or come back, at most.")] = 30,
    seed: Seed = 0,
    threads: Threads = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Run directory; a new numbered one under ./runs if not given.", show_default=False
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Learn a sampling mask together with the regularization weight, from images.

    With a rate the mask has exactly that many samples. With a penalty the number is learned: larger prices, fewer samples.
    Values are given before and after rounding to zeros and ones, with intervals that contain the exact ones. Real images
    get a smooth random phase; all get simulated noise.

    The run directory holds mask.npy (zero frequency in the middle), sampling.json and sampling.npz, figures and a page.
    Ctrl-C ends the run; the same command with the same --output continues it.

    [bold]Examples[/bold]

      bilearn sample learn --rate 0.25 --size 32 --count 2          a small one, about a minute

      bilearn sample learn --rate 0.25 --size 64 -o runs/quarter    seven slices of a brain template

      bilearn sample learn scans/head.nii.gz --rate 0.2             your own images

      bilearn sample learn --pattern columns --center 8 --rate 0.3  lines, the central ones always

      bilearn sample learn --penalty 0.01 0.01 --size 64            as many samples as they are worth
    """
    from bilearn.sampling_study.learning import LearningGoal
    from bilearn.sampling_study.setup import StudySetup

    wanted = 0.25 if rate is None and penalty is None else rate
    goal = LearningGoal(wanted, penalty, tuple(text.strip() for text in starts.split(",")), steps, exchanges)
    setup = StudySetup(
        images=tuple(images or ("brain-train",)),
        size=size,
        count=count,
        noise=noise,
        regularizer=regularizer,  # type: ignore[arg-type]
        pattern=pattern,  # type: ignore[arg-type]
        center=center,
        seed=seed,
    )
    training = setup.pairs()

    from rich.console import Console

    from bilearn.cli.progress import ProgressDisplay
    from bilearn.experiments.records import REPORT
    from bilearn.experiments.session import new_directory
    from bilearn.sampling_study.directory import learn_into, learned_sections

    use_threads(threads)
    directory = new_directory("sample") if output is None else output
    display = [] if quiet else [ProgressDisplay(Console(stderr=True))]
    try:
        results = learn_into(directory, setup, goal, training, display)
    except KeyboardInterrupt:
        typer.echo(f"bilearn: interrupted; continue with the same command and --output {directory}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not quiet:
        for section in learned_sections(results):
            for content in section.contents:
                content.show(Console())
    typer.echo(f"Page: {directory / REPORT}")


def export(
    run: Annotated[Path, typer.Argument(help="Run directory of 'sample learn' or 'sample baseline', or a mask file.")],
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    format: Annotated[
        str | None,
        typer.Option(help="npy, mat, fastmri, ismrmrd or pulseq; by the suffix if not given.", show_default=False),
    ] = None,
    convention: Annotated[
        str, typer.Option(help="Zero frequency of .npy and .mat: centered, or unshifted (at [0, 0]).")
    ] = "centered",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a mask to a file that other tools read.

    Formats and suffixes: npy (.npy), mat (.mat), fastmri (.h5), ismrmrd (.mrd), pulseq (.seq). ISMRMRD and Pulseq need
    masks of lines.

    [bold]Examples[/bold]

      bilearn sample export runs/quarter mask.mat

      bilearn sample export runs/lines scan.seq --format pulseq
    """
    from bilearn.mri.io import export_mask, read_mask
    from bilearn.sampling_study.directory import MASK

    mask = read_mask(run / MASK if run.is_dir() else run)
    written = export_mask(mask, path, format, convention, overwrite=overwrite)  # type: ignore[arg-type]
    typer.echo(f"Mask: {written}, {int(mask.sum())} of {mask.numel()} samples")


def page(run: Annotated[Path, typer.Argument(help="Run directory of 'sample learn'.")]) -> None:
    """Draw page and figures of a learned pattern again from its records; nothing is computed.

    [bold]Example[/bold]

      bilearn sample page runs/quarter
    """
    from bilearn.sampling_study.directory import draw_learned

    typer.echo(f"Page: {draw_learned(run)}")


def use_threads(threads: int) -> None:
    """Set the number of CPU threads.

    Raises:
        ValueError: if it is not positive.
    """
    import torch

    if threads < 1:
        raise ValueError(f"--threads: found {threads}, expected at least 1")
    torch.set_num_threads(threads)


for command in (learn, export, page):
    sample.command(command.__name__)(report_errors(command))
