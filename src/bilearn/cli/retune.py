"""``bilearn retune``: a learned regularizer for another operator or noise level."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def retune(
    model: Annotated[str, typer.Argument(help="'crr', 'wcrr', a run directory, or its model.json.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE.toml",
            help="Recipe or configuration whose data, operator, noise and fidelity are the new ones.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model.")] = Path("retuned"),
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--number", help="Number of the regularizer to tune; may be repeated.", show_default="weight, scale"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="Change a setting of the configuration.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model in --output.")] = False,
) -> None:
    """Tune weight and scale of a learned regularizer for another operator or noise level, from the pairs of a configuration.

    The filters stay. The regularizer of the configuration is not used; its training images are what is tuned on, a
    handful is enough, and its test images are what is reported.

    [bold]Examples[/bold]

      bilearn retune crr deblur-photos -o crr-deblur

      bilearn retune wcrr my.toml --set data.train=4 -o mine

      bilearn reconstruct crr-deblur blurred.png
    """
    from rich.console import Console

    from bilearn.experiment.retuning import retune_config

    out = Console()
    for line in retune_config(model, target, output, names or ["weight", "scale"], settings or [], overwrite):
        out.print(line, highlight=False, soft_wrap=True, markup=False)
