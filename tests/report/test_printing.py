"""Tables keep their cells whole in files, and stay within terminals."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from bilearn.report.printing import print_table


def printed(terminal: bool) -> list[str]:
    table = Table(*(f"column number {n}" for n in range(8)))
    table.add_row(*(f"a rather long cell {n}" for n in range(8)))
    console = Console(file=io.StringIO(), width=60, force_terminal=terminal, color_system=None)
    print_table(console, table)
    assert console.width == 60
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_files_have_whole_cells() -> None:
    assert any("a rather long cell 0" in line and "a rather long cell 7" in line for line in printed(False))


def test_terminals_are_not_exceeded() -> None:
    table = "\n".join(printed(True))
    assert "a rather long cell 7" not in table
    assert max(map(len, printed(True))) <= 60
