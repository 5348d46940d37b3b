"""Another method with a smaller step limit."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bilearn.lower.solver import LowerSolver, Prepared
from bilearn.problem import LowerProblem
from bilearn.solution import Tolerance


class Capped(LowerSolver):
    """Does what ``solver`` does, for at most ``steps`` steps; the certificate then is that of the point reached.

    Args:
        solver: the method.
        steps: limit; the method's own counts where it is smaller.

    Raises:
        ValueError: if ``steps`` is not positive.
    """

    def __init__(self, solver: LowerSolver, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"Capped.steps: found {steps}, expected at least 1")
        self._solver = solver
        self.max_steps = min(steps, solver.max_steps)
        self.check_every = min(solver.check_every, self.max_steps)

    @property
    def name(self) -> str:
        """That of the method."""
        return self._solver.name

    def check(self, problem: LowerProblem) -> None:
        """As the method."""
        self._solver.check(problem)

    def init(self, problem: LowerProblem, x0: Tensor) -> Any:
        """As the method."""
        return self._solver.init(problem, x0)

    def step(self, problem: LowerProblem, state: Any) -> Any:
        """As the method."""
        return self._solver.step(problem, state)

    def prepare(self, problem: LowerProblem, x0: Tensor, tolerance: Tolerance, max_steps: int) -> Prepared:
        """As the method; this one then runs what is left."""
        return self._solver.prepare(problem, x0, tolerance, max_steps)

    def stalled(self, state: Any) -> Tensor | None:
        """As the method."""
        return self._solver.stalled(state)
