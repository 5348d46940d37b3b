"""The history as a table for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bilearn.callbacks.callback import Callback, Progress


class CSVHistory(Callback):
    """Writes ``history.csv``: one line per evaluation, nested entries as columns ``parameters.alpha``, ``cost.gradients``.

    Columns are those of the first row; a parameter with many entries gives the columns min, max and mean.

    Args:
        path: the file; replaced at the start of a run, earlier rows of a resumed run included.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._columns: list[str] = []

    def start(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begin the file anew."""
        self.path.unlink(missing_ok=True)
        self._columns = []
        self._append(rows)

    def step(self, progress: Progress) -> None:
        """Append the new rows."""
        self._append(progress.rows)

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        flat = [flatten(row) for row in rows]
        fresh = not self._columns
        if fresh:
            self._columns = list(flat[0])
        with open(self.path, "w" if fresh else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            if fresh:
                writer.writeheader()
            writer.writerows(flat)


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
