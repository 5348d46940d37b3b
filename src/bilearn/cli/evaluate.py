"""``bilearn evaluate``: quality of a learned model on images with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of true images; data are made with the run's operator and noise.", show_default=False
        ),
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Crop the images to this many pixels.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Also write the table to this file.", show_default=False)] = None,
) -> None:
    """Print PSNR and SSIM per image: of the run's own test images, or of a folder of other images.

    [bold]Examples[/bold]

      bilearn evaluate runs/my-001

      bilearn evaluate runs/my-001 --images photos --crop 256
    """
    from bilearn.cli.tables import metric_table, write_csv
    from bilearn.run_directory import RunDirectory

    directory = RunDirectory.open(run)
    if images is None:
        if crop is not None:
            raise ValueError("--crop: given without --images; it applies to a folder of images")
        rows = directory.read().metrics
        if not rows:
            raise FileNotFoundError(f"{directory.path}: holds no metrics; the run is not finished, resume it first")
    else:
        from bilearn.experiment.new_images import evaluate_folder

        rows = evaluate_folder(directory.path, images, crop, seed)
    metric_table(rows)
    if csv is not None:
        write_csv(rows, csv)
        typer.echo(f"Table: {csv}")
