"""Tables on terminals and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NO_LIMIT = 10_000


def print_table(console: Console, table: Table) -> None:
    """Print a table within the terminal, or as wide as its cells are where the output goes to a file or a pipe."""
    from rich.measure import Measurement

    width = console.width
    if not console.is_terminal:
        options = console.options.update(max_width=_NO_LIMIT)
        console.width = max(width, Measurement.get(console, options, table).maximum)
    try:
        console.print(table)
    finally:
        console.width = width
