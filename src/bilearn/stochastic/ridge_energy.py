"""Ridge weights of logistic regression as an energy and a loss whose constants are declared: certified hyperparameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Constant, Curvature
from bilearn.energy import Apply, Energy, Hessian
from bilearn.losses import UpperLoss
from bilearn.losses.loss import slack, smooth_interval
from bilearn.parameters import Log10, learnable
from bilearn.stochastic.problems import RidgeLogistic

# max |s''| of the logistic function s
_THIRD = 1 / (6 * math.sqrt(3))


class RidgeEnergy(Energy):
    """G(z; w) = mean_i loss(a_i z, c_i) + 1/2 sum_f w_f |z_f|^2 with learnable w; each row of the argument is one z.

    **Constants.** With S = |A|^2/N: min w <= H <= max w + S/4 (two classes; S/2 for more). For two classes the Hessian
    mean_i s'(a_i z) a_i a_i' has the Lipschitz constant max_i |a_i| S max|s''|. The cross derivative in log10 w has the columns
    ln(10) w_f z_f, hence the Lipschitz constant ln(10) max w.

    Args:
        problem: the training samples.
        weight: w at the start, one number for all features.
        bounds: of w.

    Raises:
        ValueError: if the weight is out of bounds.
    """

    weights: Tensor

    def __init__(self, problem: RidgeLogistic, weight: float = 0.1, bounds: tuple[float, float] = (1e-5, 1e3)) -> None:
        super().__init__()
        self.problem = problem
        learnable(self, "weights", problem.upper_start.new_full(problem.upper_start.shape, weight), Log10(bounds))
        rows = problem.features
        longest = float(torch.linalg.vector_norm(rows, dim=1).max())
        self._steepest = float(torch.linalg.matrix_norm(rows, 2)) / math.sqrt(rows.shape[0])
        self._turn = longest * self._steepest**2 * _THIRD

    def data(self) -> Tensor:
        """(1, 1) placeholder: the samples are part of the energy."""
        return self.problem.lower_start.new_zeros(1, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """G(z, w) of each row (B,), computed in the dtype of the samples."""
        logarithms = self.weights.log().to(self.problem.features)
        return torch.stack([self.problem.lower(z, logarithms, None) for z in x.to(self.problem.features)]).to(x)

    def start(self, y: Tensor) -> Tensor:
        """Zero."""
        return self.problem.lower_start.detach().repeat(y.shape[0], 1)

    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        """A dense matrix for two classes: there are few features."""
        if self.problem.columns > 1:
            return super().hessian(x, y)
        with torch.no_grad():
            rows = self.problem.features
            chance = torch.sigmoid(x.to(rows) @ rows.T)
            weighted = rows * (chance * (1 - chance) / rows.shape[0]).unsqueeze(2)
            return _MatrixHessian((rows.T @ weighted + torch.diag(self.weights)).to(x))

    def curvature(self, y: Tensor) -> Curvature:
        """Constants of the class docstring; those of third derivatives are unknown for more than two classes."""
        weights = self.weights.detach()
        basic = self.problem.curvature(weights.log())
        if self.problem.columns > 1:
            return basic
        cross = math.log(10) * float(weights.max())
        return Curvature(basic.strong_convexity, basic.smoothness, Constant(self._turn), Constant(cross))

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """8 unit roundoffs of L |z| and of |A|/sqrt(N), which bounds the gradient of the loss."""
        scale = self.curvature(y).smoothness.per_sample(x) * _batch.norm(x) + self._steepest
        return 8 * torch.finfo(x.dtype).eps * scale

    def cross_norm(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) the exact norm of the cross derivative, whose columns are orthogonal: max_f ln(10) w_f |z_f|."""
        rows = x.detach().unflatten(1, (-1, self.problem.columns)).norm(dim=2)
        return (math.log(10) * self.weights.detach().to(x) * rows).amax(1)


class _MatrixHessian(Hessian):
    """Symmetric positive definite matrices (B, n, n)."""

    def __init__(self, matrices: Tensor) -> None:
        self._matrices = matrices

    def __call__(self, v: Tensor) -> Tensor:
        return (self._matrices @ v.unsqueeze(-1)).squeeze(-1)

    def select(self, index: Tensor) -> Hessian:
        return _MatrixHessian(_batch.select(self._matrices, index))

    def direct(self) -> Apply:
        """By a Cholesky factorization."""
        factors = torch.linalg.cholesky(self._matrices)
        return lambda g: torch.cholesky_solve(g.unsqueeze(-1), factors).squeeze(-1)


@dataclass(frozen=True)
class ValidationLoss(UpperLoss):
    """F(z) = mean_j loss(b_j z, d_j) on the validation samples, z in row 0; the target is not used.

    grad F has the Lipschitz constant |B|^2/(4 M) for two classes and |B|^2/(2 M) for more, and |F(z') - F(z)| is at most
    |grad F(z)| r plus half that constant times r^2 within the radius r.

    Args:
        problem: with the validation samples.
    """

    problem: RidgeLogistic

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """F, shape (1,)."""
        return self.problem.upper(x[0], self.problem.upper_start, None)[None]

    def _smoothness(self) -> float:
        rows = self.problem.validation_features
        share = 0.25 if self.problem.columns == 1 else 0.5
        return share * float(torch.linalg.matrix_norm(rows, 2)) ** 2 / rows.shape[0]

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradient and its Lipschitz constant."""
        with torch.no_grad():
            value = self(x, target)
        steep = _batch.norm(self.grad(x, target))
        low, high = smooth_interval(value, steep, self._smoothness(), math.inf, radius)
        rounding = slack(value, x)
        return low - rounding, high + rounding

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """The Lipschitz constant times the radius."""
        return self._smoothness() * radius
