"""TensorBoard records of a run (an extra: ``pip install 'bilearn[tensorboard]'``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bilearn.callbacks.callback import Callback, Progress
from bilearn.callbacks.csv_history import flatten


class TensorBoard(Callback):
    """Writes every finite number of every history row as a scalar, against the number of the evaluation.

    Args:
        folder: where the event files go.

    Raises:
        ImportError: if tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "run.tensorboard: tensorboard is not installed; pip install 'bilearn[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder))

    def start(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of the earlier part of a resumed run."""
        self._write(rows)

    def step(self, progress: Progress) -> None:
        """Write the new rows."""
        self._write(progress.rows)

    def end(self, status: str) -> None:
        """Close the event file."""
        self._writer.close()

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            step = int(row["evaluation"])
            for name, value in flatten(row).items():
                if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
                    self._writer.add_scalar(name, value, step)
        self._writer.flush()
