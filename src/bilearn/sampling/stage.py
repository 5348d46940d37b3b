"""Stages of a run: each is one upper-level run with records of its own, and a run goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bilearn.callbacks import Callback
from bilearn.evaluation import Evaluation
from bilearn.learner import Learned, Learner
from bilearn.reduced_objective import ReducedObjective
from bilearn.run_directory import RunDirectory
from bilearn.upper import UpperOptimizer, UpperStatus


class StageInterrupted(Exception):
    """The user interrupted a stage; ``learned`` is what it had reached, None before its first evaluation."""

    def __init__(self, learned: Learned | None) -> None:
        super().__init__("interrupted")
        self.learned = learned


class Stages:
    """Runs stages by name.

    With a directory, every stage has a run directory below it. A stage that ended is not run again but read back from its
    checkpoint, and one that was stopped goes on there, so that calling the same sequence of stages again continues the
    run bit for bit.

    Args:
        directory: where stages are recorded; nothing is written if None.
        seconds: limit on the time of all stages together, those of earlier calls not included.
        checkpoint_every: steps between two checkpoints.
        callbacks: watchers of every stage.
    """

    def __init__(
        self,
        directory: Path | None,
        seconds: float | None = None,
        checkpoint_every: int = 10,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.directory, self.checkpoint_every, self.callbacks = directory, checkpoint_every, callbacks
        self._deadline = None if seconds is None else time.perf_counter() + seconds

    @property
    def out_of_time(self) -> bool:
        """Whether the limit on time is reached."""
        return self._deadline is not None and time.perf_counter() >= self._deadline

    def run(
        self, name: str, objective: ReducedObjective, optimizer: UpperOptimizer[Any], max_steps: int
    ) -> tuple[Evaluation, UpperStatus]:
        """The best evaluation of a stage and why the stage ended; its theta is set in the energy.

        Raises:
            StageInterrupted: if the user interrupts it.
        """
        folder, resume = None, False
        if self.directory is not None:
            path = self.directory / name
            resume = (path / "checkpoint" / "checkpoint.pt").is_file()
            folder = RunDirectory.open(path) if resume else RunDirectory.create(path, overwrite=True)
        left = None if self._deadline is None else max(self._deadline - time.perf_counter(), 1e-3)
        learner = Learner(
            objective, optimizer, None, self.callbacks, folder, max_steps, left, checkpoint_every=self.checkpoint_every
        )
        learned = learner.run(resume)
        if learned.state is None or learned.status is UpperStatus.INTERRUPTED:
            raise StageInterrupted(learned)
        return learned.state.best, learned.status
