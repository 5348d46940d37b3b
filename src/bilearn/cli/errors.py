"""Exit codes, and errors as one sentence on standard error."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import typer

FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130

_DEBUG = inspect.Parameter(
    "debug",
    inspect.Parameter.KEYWORD_ONLY,
    default=typer.Option(False, "--debug", help="Show the traceback of an error."),
    annotation=bool,
)


def report_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command: wrong input and failed solves end it with a sentence and an exit code, not with a traceback.

    Adds the option ``--debug``, which lets the traceback through.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, debug: bool, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except (ValueError, TypeError, FileNotFoundError, FileExistsError, NotADirectoryError, ImportError) as error:
            if debug:
                raise
            _explain(error)
            raise typer.Exit(WRONG_INPUT) from None
        except (typer.Exit, typer.Abort):
            raise
        except (RuntimeError, OSError, MemoryError) as error:
            if debug:
                raise
            _explain(error)
            raise typer.Exit(FAILED) from None

    signature = inspect.signature(command, eval_str=True)
    wrapped.__signature__ = signature.replace(parameters=[*signature.parameters.values(), _DEBUG])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {**command.__annotations__, "debug": bool}
    return wrapped


def _explain(error: BaseException) -> None:
    rank = os.environ.get("RANK", "0")
    who = "bilearn" if rank == "0" else f"bilearn (process {rank})"
    for line in str(error).splitlines() or [type(error).__name__]:
        typer.echo(f"{who}: {line}", err=True)
