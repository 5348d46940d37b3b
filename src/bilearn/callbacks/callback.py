"""The watcher of a run and what it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bilearn.evaluation import Evaluation


@dataclass(frozen=True)
class Progress:
    """What a callback sees after every upper-level step.

    Attributes:
        iteration: upper-level steps so far.
        max_steps: their limit.
        current: the evaluation the method stands at.
        best: the evaluation with the smallest value so far.
        parameters: natural values at ``current``, in one line.
        validation: validation figures at ``current``; empty where there are none.
        rows: history rows since the last call, as written to ``history.jsonl``.
        seconds: learning time so far, earlier parts of a resumed run included.
    """

    iteration: int
    max_steps: int
    current: Evaluation
    best: Evaluation
    parameters: str
    validation: Mapping[str, float] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    seconds: float = 0.0


class Callback:
    """Base of callbacks; every method may be left out."""

    def start(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Before learning; ``rows`` holds the history of the earlier part of a resumed run."""

    def step(self, progress: Progress) -> None:
        """After the first evaluation and after every upper-level step."""

    def end(self, status: str) -> None:
        """After learning, however it ended; ``status`` is the sentence that says why."""
