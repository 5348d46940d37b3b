"""Solve in float32, certify in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.lower.default import default_solver
from bilearn.lower.minimize import minimize
from bilearn.lower.solver import LowerSolver, Prepared
from bilearn.problem import LowerProblem
from bilearn.solution import Tolerance

_SINGLE = {torch.float64: torch.float32, torch.complex128: torch.complex64}
# gradients up to this many rounding bounds of float32 are left to float64
_FLOORS = 4.0


@dataclass(frozen=True)
class MixedPrecision(LowerSolver):
    """Another method in float32 as far as that leads, then in float64 from there; certificates are those of float64.

    1. The float64 gradient at the start. A sample that meets its tolerance there, or whose gradient is no larger than a few
       rounding bounds of float32, goes to 4. at once: a good warm start is never made worse.
    2. ``solver`` in float32 on the others, to the same tolerance. It ends there, or at the floor of float32, with half of the
       step limit.
    3. Where the gradient, rounding included, became smaller than at the start, the float32 point is the new start.
    4. ``solver`` in float64. Its first gradient certifies the float32 point if the tolerance is met, and then is its only one.

    Every number of the returned solution is evaluated in float64, and a certificate holds as it does without this method. Only
    float64 and complex128 data are treated so; others go to 4. Work in float32 is counted like any other.

    It pays where a gradient costs half as much in float32: tensors beyond the cache, GPUs. It does not where an overhead per
    call dominates (small images), and it costs one gradient where warm starts are good.

    Args:
        solver: the method; the default one for the energy if None.
        max_steps: step limit; the method's own counts where it is smaller.

    Raises:
        ValueError: from operators that cannot compute in float32, such as a float64 ``MatrixOperator``.
    """

    solver: LowerSolver | None = None
    max_steps: int = 100_000

    @property
    def name(self) -> str:
        """With the method's."""
        return "MixedPrecision" if self.solver is None else f"MixedPrecision({self.solver.name})"

    def _method(self, problem: LowerProblem) -> LowerSolver:
        return default_solver(problem.energy, problem.y, problem.curvature) if self.solver is None else self.solver

    def check(self, problem: LowerProblem) -> None:
        """As the method; and the energy must compute in float32, which the gradient of one sample shows."""
        self._method(problem).check(problem)
        if problem.y.dtype in _SINGLE and _batch.size(problem.y):
            first = problem.y[:1].to(_SINGLE[problem.y.dtype])
            start = problem.energy.start(first)
            found = problem.energy.grad(start, first).dtype
            if found not in _SINGLE.values():
                raise ValueError(
                    f"MixedPrecision: found gradients in {found} for data in {first.dtype}, expected float32 from float32; "
                    "give the energy's constants the dtype of the data, or leave this method out"
                )

    def init(self, problem: LowerProblem, x0: Tensor) -> Any:
        """As the method, in the dtype of x0."""
        return self._method(problem).init(problem, x0)

    def step(self, problem: LowerProblem, state: Any) -> Any:
        """As the method, in the dtype of the state."""
        return self._method(problem).step(problem, state)

    def prepare(self, problem: LowerProblem, x0: Tensor, tolerance: Tolerance, max_steps: int) -> Prepared:
        """Steps 1 to 3."""
        method = self._method(problem)
        limit = min(max_steps, method.max_steps)
        if x0.dtype not in _SINGLE or _batch.size(x0) == 0 or limit < 2:
            return Prepared(method, x0, None, limit)
        mu, norm = problem.mu(x0), _batch.norm(problem.grad(x0))
        low, data = x0.to(_SINGLE[x0.dtype]), problem.y.to(_SINGLE[problem.y.dtype])
        floor = problem.energy.rounding(low, data).to(norm)
        wanted = tolerance.gradient_norm(mu)
        if tolerance.distance is not None:
            wanted = torch.where(mu > 0, wanted, tolerance.distance)
        todo = ((norm > wanted) & (norm > _FLOORS * floor)).nonzero().squeeze(1)
        finite = torch.isfinite(_batch.norm(low[todo])) & torch.isfinite(_batch.norm(data[todo]))
        todo = todo[finite]
        start, steps = x0.clone(), torch.zeros(_batch.size(x0), dtype=torch.int64, device=x0.device)
        if todo.numel():
            single = minimize(problem.energy, data[todo], method, low[todo], tolerance, limit // 2, throw=False)
            problem.cost.add(single.cost)
            better = (single.gradient_norm + single.rounding).to(norm) < norm[todo]
            start[todo[better]] = single.x[better].to(x0.dtype)
            steps[todo] = single.steps
        return Prepared(method, start, steps, limit - limit // 2)
