"""``bilearn sample``: learn which k-space samples to take, compare masks, write them for other tools."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, NoReturn

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
AnyPattern = Annotated[
    str,
    typer.Option(
        help="What is learned: points; rows, columns (or lines, the same); spokes, taken or left; angles of spokes; trajectory "
        "(spokes that bend) or spiral, within hardware limits."
    ),
]
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
    pattern: AnyPattern = "points",
    center: Annotated[
        int, typer.Option(help="Always sampled: side of the central block of points, or number of central lines.")
    ] = 0,
    readouts: Annotated[
        int, typer.Option(help="Spokes to choose from, or readouts that move; 0 lets the rate decide.")
    ] = 0,
    coils: Annotated[int, typer.Option(help="Receive coils; more than one see the images through --maps.")] = 1,
    maps: Annotated[
        str,
        typer.Option(
            help="Sensitivities: birdcage (simulated), espirit (estimated from the raw fastMRI or ISMRMRD file that is given, "
            "whose k-space is then learned from), or an .npy file of complex (coils, size, size)."
        ),
    ] = "birdcage",
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
    dwell: Annotated[float, typer.Option(help="Trajectories: microseconds between two samples.")] = 10.0,
    field_of_view: Annotated[float, typer.Option(help="Trajectories: side of the image in meters.")] = 0.22,
    max_gradient: Annotated[float, typer.Option(help="Trajectories: largest gradient in mT/m.")] = 40.0,
    max_slew: Annotated[float, typer.Option(help="Trajectories: largest slew rate in T/m/s.")] = 150.0,
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

      bilearn sample learn --coils 8 --rate 0.15 --size 64          eight simulated coils

      bilearn sample learn scan.h5 --maps espirit --count 1         measured k-space, maps estimated from it

      bilearn sample learn --pattern trajectory --rate 0.2          readouts that bend, within hardware limits
    """
    from bilearn.sampling_study.learning import LearningGoal, pattern_for
    from bilearn.sampling_study.setup import StudySetup

    wanted = 0.25 if rate is None and penalty is None else rate
    begin = tuple(text.strip() for text in starts.split(","))
    limits = (1e-6 * dwell, field_of_view, 1e-3 * max_gradient, max_slew)
    goal = LearningGoal(wanted, penalty, begin, steps, exchanges, *limits)
    setup = StudySetup(
        images=tuple(images or ("brain-train",)),
        size=size,
        count=count,
        noise=noise,
        regularizer=regularizer,  # type: ignore[arg-type]
        pattern="columns" if pattern == "lines" else pattern,  # type: ignore[arg-type]
        center=center,
        readouts=readouts,
        coils=coils,
        maps=maps,
        seed=seed,
    )
    pattern_for(setup, goal)
    training = setup.pairs()

    from rich.console import Console

    from bilearn.cli.progress import ProgressDisplay
    from bilearn.experiments.records import INTERRUPTED as INTERRUPTED_RUN
    from bilearn.experiments.records import REPORT
    from bilearn.experiments.session import new_directory
    from bilearn.sampling_study.directory import learn_into, learned_sections

    use_threads(threads)
    directory = new_directory("sample") if output is None else output
    display = [] if quiet else [ProgressDisplay(Console(stderr=True))]
    try:
        results = learn_into(directory, setup, goal, training, display)
    except KeyboardInterrupt:
        _interrupted(directory)
    if results.status == INTERRUPTED_RUN:
        _interrupted(directory)
    if not quiet:
        for section in learned_sections(results):
            for content in section.contents:
                content.show(Console())
    typer.echo(f"Page: {directory / REPORT}")


def _interrupted(directory: Path) -> NoReturn:
    """Name the command that continues, and exit with 130."""
    words = sys.argv[1:] if sys.argv[1:3] == ["sample", "learn"] else ["sample", "learn", "..."]
    given = any(word in ("-o", "--output") or word.startswith("--output=") for word in words)
    command = shlex.join(["bilearn", *words, *([] if given else ["--output", str(directory)])])
    typer.echo(f"bilearn: interrupted; continue with: {command}", err=True)
    raise typer.Exit(INTERRUPTED)


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
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Write learned readouts (.npz or .mat) instead of a mask.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a mask to a file that other tools read.

    Formats and suffixes: npy (.npy), mat (.mat), fastmri (.h5), ismrmrd (.mrd), pulseq (.seq). ISMRMRD and Pulseq need
    masks of Cartesian lines. Of readouts that move, the mask holds the nearest points of the grid; --trajectory writes
    where the samples are, in cycles per field of view.

    [bold]Examples[/bold]

      bilearn sample export runs/quarter mask.mat

      bilearn sample export runs/lines scan.seq --format pulseq

      bilearn sample export runs/spiral readouts.mat --trajectory
    """
    from bilearn.mri.io import export_mask, read_mask
    from bilearn.sampling_study.directory import MASK
    from bilearn.sampling_study.readout_records import export_trajectory, refuse_readouts

    if trajectory:
        typer.echo(f"Trajectory: {export_trajectory(run, path, overwrite)}")
        return
    refuse_readouts(run, path, format)

    mask = read_mask(run / MASK if run.is_dir() else run)
    written = export_mask(mask, path, format, convention, overwrite=overwrite)  # type: ignore[arg-type]
    typer.echo(f"Mask: {written}, {int(mask.sum())} of {mask.numel()} samples")


def reconstruct(
    run: Annotated[Path, typer.Argument(help="Run directory of 'sample learn'.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Sets or files, as for 'sample learn'.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory for images and figures; new or empty.")
    ] = Path("reconstructions"),
    count: Annotated[int, typer.Option(help="Images taken, evenly spread; 0 takes all.")] = 0,
    threads: Threads = 1,
) -> None:
    """Reconstruct images from the samples that a learned mask takes, with the weight and the coils of its run.

    Writes complex images as .npy, and a figure with zoom and error for each. K-space is simulated from the images; for runs
    with --maps espirit it is that of the raw file, and its maps are estimated again.

    [bold]Examples[/bold]

      bilearn sample reconstruct runs/quarter subjects-test

      bilearn sample reconstruct runs/eight-coils scans/head.nii.gz -o out
    """
    from rich.console import Console

    from bilearn.sampling_study.reconstruct_files import reconstruct_into

    use_threads(threads)
    reconstruct_into(run, images, count, output).show(Console())
    typer.echo(f"Images: {output}")


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


for command in (learn, reconstruct, export, page):
    sample.command(command.__name__)(report_errors(command))
