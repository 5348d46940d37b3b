"""``bilearn recipes``: list the recipes, or print one to copy it."""

from __future__ import annotations

from typing import Annotated

import typer


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print the configuration of this recipe.", show_default=False)
    ] = None,
) -> None:
    """List the recipes that ship with bilearn, or print one as TOML.

    [bold]Examples[/bold]

      bilearn recipes

      bilearn recipes denoise-photos > my.toml

      bilearn learn my.toml
    """
    from bilearn.experiment.load import load_task, recipe_names, recipe_text

    if name is not None:
        typer.echo(recipe_text(name), nl=False)
        return
    width = max(len(known) for known in recipe_names())
    for known in recipe_names():
        typer.echo(f"{known:<{width}}  {load_task(known).description}")
