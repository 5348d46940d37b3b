"""Runs an upper-level method: records, validation, early stopping, budget, checkpoints, interrupts. No mathematics."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from bilearn.callbacks import Callback, CSVHistory, Progress
from bilearn.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from bilearn.evaluation import Evaluation
from bilearn.history import bounded, history_entry
from bilearn.reduced_objective import ReducedObjective
from bilearn.run_directory import RunDirectory
from bilearn.run_records import Bounded
from bilearn.upper.optimizer import UpperOptimizer, UpperState, UpperStatus, run, state_from_tree, state_to_tree


@dataclass(frozen=True)
class Learned:
    """Result of :meth:`Learner.run`.

    Attributes:
        theta: (P,) the answer: the smallest objective found or, where early stopping is on, the smallest validation loss.
        status: why learning ended.
        state: last state of the upper-level method; None if it was interrupted before its first evaluation was complete.
        start: the first evaluation; None in that case.
        steps: upper-level steps.
        seconds: learning time, earlier parts of a resumed run included.
    """

    theta: Tensor
    status: UpperStatus
    state: UpperState | None
    start: Bounded | None
    steps: int
    seconds: float


class Learner:
    """Learns the parameters of an objective with an upper-level method.

    Every evaluation is recorded with its interval (``history.jsonl``, ``history.csv``), every ``checkpoint_every`` steps
    the state of the method, the warm starts and the work counts are saved, and a resumed run continues bit for bit.
    Ctrl-C ends the run in order: :meth:`run` returns what was learned so far with status INTERRUPTED.
    Where several processes share the objective, all run the learner with the same arguments and take the same steps; the
    first one alone writes records and checkpoints, which any number of processes can resume.

    Args:
        objective: the training objective; its ``observer`` is used by the learner while it runs.
        optimizer: the upper-level method.
        validation: objective of the validation pairs, over the same energy; evaluated after every step.
        callbacks: watchers.
        directory: where records go; nothing is written if None.
        max_steps: limit on upper-level steps.
        seconds: limit on learning time, looked at after every step.
        patience: stop after this many steps without a smaller validation loss; None never stops early.
        checkpoint_every: steps between two checkpoints.
        max_gradients: limit on lower-level gradients, counted per sample; solves are cut off there, also inside a step.

    Raises:
        ValueError: if ``patience`` is given without validation, or a limit is not positive.
    """

    def __init__(
        self,
        objective: ReducedObjective,
        optimizer: UpperOptimizer[Any],
        validation: ReducedObjective | None = None,
        callbacks: Sequence[Callback] = (),
        directory: RunDirectory | None = None,
        max_steps: int = 50,
        seconds: float | None = None,
        patience: int | None = None,
        checkpoint_every: int = 1,
        max_gradients: int | None = None,
    ) -> None:
        if patience is not None and validation is None:
            raise ValueError("patience: given without a validation objective; pass validation=...")
        for name, value in (
            ("max_steps", max_steps),
            ("seconds", seconds),
            ("patience", patience),
            ("checkpoint_every", checkpoint_every),
            ("max_gradients", max_gradients),
        ):
            if value is not None and not value > 0:
                raise ValueError(f"{name}: found {value}, expected a positive number")
        self.objective, self.optimizer, self.validation = objective, optimizer, validation
        self.processes, self._recorded = objective.processes, directory is not None
        self.directory = directory if self.processes.first else None
        self.max_steps, self.seconds = max_steps, seconds
        self.patience, self.checkpoint_every, self.max_gradients = patience, checkpoint_every, max_gradients
        records = [CSVHistory(self.directory.path / "history.csv")] if self.directory is not None else []
        self.callbacks: list[Callback] = [*records, *callbacks]
        self._pending: list[tuple[Tensor, dict[str, Any]]] = []
        self._rows = 0
        self._before = 0.0
        self._begin = 0.0
        self._start: Bounded | None = None
        self._state: UpperState | None = None
        self._best_validation: tuple[float, Tensor, int] | None = None

    def run(self, resume: bool = False) -> Learned:
        """Learn until the method ends, a limit is reached, or Ctrl-C is pressed.

        Args:
            resume: continue from the last checkpoint of the run directory.

        Raises:
            CheckpointError: if there is nothing to resume from.
            ValueError: if ``resume`` is asked for without a run directory.
        """
        first = self.objective.parameters.project(self.objective.parameters.get())
        state, earlier = self._restore() if resume else (None, [])
        self._begin = time.perf_counter()
        for callback in self.callbacks:
            callback.start(earlier)
        self.objective.observer = self._observe
        own = self.objective.max_gradients
        if self.max_gradients is not None:
            self.objective.max_gradients = self.max_gradients
        try:
            final = run(
                self.optimizer, self.objective, first, self.max_steps, self._after_step, state, self.max_gradients
            )
            self._state, status = final, final.status
        except KeyboardInterrupt:
            status = UpperStatus.INTERRUPTED
        finally:
            self.objective.observer = None
            self.objective.max_gradients = own
        self._flush(self._state, accepted=False)
        theta = first if self._state is None else self._answer(self._state)
        self.objective.parameters.set(theta)
        for callback in self.callbacks:
            callback.end(status.value)
        steps = 0 if self._state is None else self._state.iteration
        return Learned(theta, status, self._state, self._start, steps, self._elapsed())

    def _elapsed(self) -> float:
        return self._before + time.perf_counter() - self._begin

    def _answer(self, state: UpperState) -> Tensor:
        """Theta of the smallest objective or, with early stopping, of the smallest validation loss."""
        if self.patience is not None and self._best_validation is not None:
            return self._best_validation[1]
        return state.best.theta

    def _observe(self, evaluation: Evaluation) -> None:
        entry = history_entry(evaluation, self.objective.parameters)
        entry |= {"cost": self.objective.cost.as_dict(), "seconds": self._elapsed()}
        self._pending.append((evaluation.theta, entry))

    def _after_step(self, state: UpperState) -> UpperStatus | None:
        """Records, validation, callbacks, checkpoint; the verdict of the learner on whether to go on."""
        self._state = state
        if self._start is None:
            self._start = bounded(state.current if state.current.minibatch is None else state.best)
        figures = self._validate(state)
        rows = self._flush(state, accepted=True, validation=figures)
        progress = Progress(
            state.iteration,
            self.max_steps,
            state.current,
            state.best,
            self.objective.parameters.describe(state.current.theta),
            figures,
            rows,
            self._elapsed(),
        )
        for callback in self.callbacks:
            callback.step(progress)
        ended = state.status is not UpperStatus.RUNNING or state.iteration >= self.max_steps
        if self._recorded and (ended or state.iteration % self.checkpoint_every == 0):
            tree = self._tree(state)
            if self.directory is not None:
                save_checkpoint(self.directory.checkpoint_path, tree)
        best = self._best_validation
        if best is not None and self.patience is not None and state.iteration - best[2] >= self.patience:
            return UpperStatus.EARLY_STOP
        if self.seconds is not None and self.processes.agree(self._elapsed() >= self.seconds):
            return UpperStatus.BUDGET
        return None

    def _validate(self, state: UpperState) -> dict[str, float]:
        """Validation loss at the current point, with its interval; remembers the smallest."""
        if self.validation is None or not math.isfinite(state.current.value):
            return {}
        evaluation = self.validation.value(state.current.theta)
        best = self._best_validation
        if math.isfinite(evaluation.value) and (best is None or evaluation.value < best[0]):
            self._best_validation = (evaluation.value, state.current.theta.clone(), state.iteration)
        return {"loss": evaluation.value, "lower": evaluation.lower, "upper": evaluation.upper}

    def _flush(
        self, state: UpperState | None, accepted: bool, validation: Mapping[str, float] | None = None
    ) -> list[dict[str, Any]]:
        """Write the evaluations since the last call; the accepted one carries the validation figures."""
        rows: list[dict[str, Any]] = []
        for theta, entry in self._pending:
            self._rows += 1
            took = accepted and state is not None and torch.equal(theta, state.current.theta)
            place = {"evaluation": self._rows, "iteration": 0 if state is None else state.iteration, "accepted": took}
            rows.append({**place, **entry, "validation": dict(validation or {}) if took else {}})
        self._pending.clear()
        if self.directory is not None:
            for row in rows:
                self.directory.append_history(row)
        return rows

    def _tree(self, state: UpperState) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.name,
            "state": self.objective.whole_tree(state_to_tree(state)),
            "objective": self.objective.state_tree(),
            "validation": None if self.validation is None else self.validation.state_tree(),
            "start": None if self._start is None else asdict(self._start),
            "best_validation": self._best_validation,
            "rows": self._rows,
            "seconds": self._elapsed(),
        }

    def _restore(self) -> tuple[UpperState, list[dict[str, Any]]]:
        """State of the last checkpoint and the history up to it; later rows are dropped, they will be written again."""
        if not self._recorded:
            raise ValueError("resume: this learner has no run directory; pass directory=...")
        tree = self.processes.share(self._load)
        if tree["optimizer"] != self.optimizer.name:
            raise CheckpointError(
                f"resume: the checkpoint was written by {tree['optimizer']}, found {self.optimizer.name}; "
                "use the method the run began with"
            )
        self.objective.load_state_tree(tree["objective"])
        if self.validation is not None and tree["validation"] is not None:
            self.validation.load_state_tree(tree["validation"])
        self._start = None if tree["start"] is None else Bounded(**tree["start"])
        self._best_validation, self._rows, self._before = tree["best_validation"], tree["rows"], tree["seconds"]
        state: UpperState = state_from_tree(self.optimizer, tree["state"])
        self._state = state
        return state, [] if self.directory is None else self.directory.truncate_history(self._rows)

    def _load(self) -> dict[str, Any]:
        assert self.directory is not None
        return load_checkpoint(self.directory.checkpoint_path)
