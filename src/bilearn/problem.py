"""A lower-level problem at fixed theta and data: what a lower-level solver sees."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Curvature
from bilearn.energy import Energy, Hessian
from bilearn.solution import Cost


@dataclass
class LowerProblem:
    """Energy, data of the samples still being solved, curvature at the current theta, and a work count.

    Every call counts one unit of work per sample.
    """

    energy: Energy
    y: Tensor
    curvature: Curvature
    cost: Cost = field(default_factory=Cost)

    def value(self, x: Tensor) -> Tensor:
        """h(x), shape (B,)."""
        self.cost.values += _batch.size(x)
        return self.energy(x, self.y)

    def grad(self, x: Tensor) -> Tensor:
        """Gradient of h at x, shape of x."""
        self.cost.gradients += _batch.size(x)
        return self.energy.grad(x, self.y)

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """h(x), shape (B,), and its gradient."""
        self.cost.values += _batch.size(x)
        self.cost.gradients += _batch.size(x)
        return self.energy.value_and_grad(x, self.y)

    def hessian(self, x: Tensor) -> Hessian:
        """Hessian of h at x; its products are counted by who takes them."""
        return self.energy.hessian(x, self.y)

    def mu(self, like: Tensor) -> Tensor:
        """Strong convexity constant (B,), zero where unknown or negative."""
        return self.curvature.strong_convexity.per_sample(like).clamp(min=0.0)

    def smoothness(self, like: Tensor) -> Tensor:
        """Lipschitz constant L of the gradient (B,), infinite where unknown."""
        return self.curvature.smoothness.per_sample(like)

    def select(self, index: Tensor) -> LowerProblem:
        """The problem of the samples ``index``; the work count stays shared."""
        value = self.curvature
        return LowerProblem(self.energy, _batch.select(self.y, index), _batch.select(value, index), self.cost)
