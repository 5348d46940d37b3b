"""``bilearn reconstruct``: images in, images out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def reconstruct(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] IMAGES...",
            help="Run directory of the model, unless --model is given; measured images, or folders of them.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="'crr', 'wcrr' (shipped with bilearn), or a run directory.", show_default=False
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("reconstructed"),
    suffix: Annotated[
        str | None,
        typer.Option("--format", help="'png', 'tif' or 'npy'; npy for data that are no images.", show_default=False),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Inpainting: image of the observed pixels (white).", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the operator, e.g. sigma=2.0 of a blur.", show_default=False
        ),
    ] = None,
    accuracy: Annotated[float, typer.Option(help="Certified root-mean-square error per pixel.")] = 1e-4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of the same name.")] = False,
) -> None:
    """Reconstruct measured images with a learned model; prints the proved accuracy of each.

    Images of any size work unless the operator or a pixel-wise parameter fixes it. Color images are reconstructed
    channel by channel.

    [bold]Examples[/bold]

      bilearn reconstruct runs/denoise-photos-001 noisy/*.png -o clean

      bilearn reconstruct runs/deblur-photos-001 blurred.png --set sigma=2.0

      bilearn reconstruct runs/inpaint-photos-001 damaged.png --mask observed.png

      bilearn reconstruct --model crr noisy.png
    """
    from rich.console import Console

    if model is None and len(images) < 2:
        raise typer.BadParameter("expected a model and at least one image; or name the model with --model")
    name, files = (str(images[0]), images[1:]) if model is None else (model, images)

    from bilearn.experiment.reconstruction import reconstruct_files

    out = Console()
    failed = 0
    for line in reconstruct_files(name, files, output, suffix, mask, settings or [], accuracy, overwrite):
        out.print(line.text, highlight=False, soft_wrap=True, markup=False)
        failed += not line.reached
    if failed:
        typer.echo(f"bilearn: {failed} image(s) did not reach the accuracy {accuracy:g}", err=True)
        raise typer.Exit(1)
