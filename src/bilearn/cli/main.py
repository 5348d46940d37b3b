"""The ``bilearn`` command. Heavy modules are imported inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import sys

import typer

from bilearn.cli.compare import compare
from bilearn.cli.errors import INTERRUPTED, report_errors
from bilearn.cli.evaluate import evaluate
from bilearn.cli.experiment_sampling import experiment
from bilearn.cli.learn import learn
from bilearn.cli.recipes import recipes
from bilearn.cli.reconstruct import reconstruct
from bilearn.cli.report import report
from bilearn.cli.resume import resume
from bilearn.cli.retune import retune
from bilearn.cli.sample_compare import sample

EPILOG = """\
[bold]Examples[/bold]

  bilearn learn denoise-photos                   run a recipe

  bilearn recipes denoise-photos > my.toml       copy it, then edit it

  bilearn learn my.toml --set noise.sigma=0.2    run your own

  bilearn reconstruct runs/my-001 noisy/*.png    use the learned model

  bilearn reconstruct --model crr noisy.png      use a model that comes with bilearn

  bilearn sample learn --rate 0.25 --size 64     learn an MRI sampling mask

  bilearn experiment list                        published comparisons to run again

Exit codes: 0 success, 1 failed run, 2 wrong input, 130 interrupted.
"""

app = typer.Typer(
    name="bilearn",
    help="Learn the parameters of variational image reconstruction from examples, with certified accuracy.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from bilearn import __version__

        typer.echo(f"bilearn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


for command in (learn, reconstruct, retune, evaluate, compare, report, resume, recipes):
    app.command(name=command.__name__)(report_errors(command))
app.add_typer(sample, name="sample")
app.add_typer(experiment, name="experiment")


def main() -> None:
    """Entry point of the ``bilearn`` script."""
    try:
        app()
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
