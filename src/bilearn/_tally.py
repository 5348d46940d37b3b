"""Sums over chunks of samples: what one evaluation of the reduced objective is put together from."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.certified_loss import CertifiedLoss
from bilearn.evaluation import Evaluation
from bilearn.hypergradient import Hypergradient, missed_accuracy
from bilearn.losses import UpperLoss
from bilearn.penalties import PenaltyTerms
from bilearn.solution import Cost


@dataclass
class Tally:
    """Sums over the chunks of one evaluation.

    Attributes:
        theta: (P,) coordinates.
        loss: upper-level loss.
        penalty: the penalty at theta.
        scale: factor of the sum of the losses.
        samples: number of samples in the sum.
        begin: ``time.perf_counter()`` at the start.
        cost: work so far.
    """

    theta: Tensor
    loss: UpperLoss
    penalty: PenaltyTerms
    scale: float
    samples: int
    begin: float
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.losses: list[Tensor] = []
        self.lower, self.upper, self.used, self.done = 0.0, 0.0, 0.0, 0
        self.residuals: list[Tensor] = []
        self.errors: list[Tensor] = []
        self.gradient: Tensor | None = None
        self.gradient_bound, self.chunk_norms = 0.0, 0.0
        self.gram: Tensor | None = None
        self.certified = True
        self.messages: list[str] = []

    def again(self) -> Tally:
        """The same evaluation before its first chunk; work done so far stays counted."""
        self._clear()
        return self

    def share(self, goal: float, count: int) -> float:
        """Part of ``goal`` for the next ``count`` samples: what is left, divided by the samples that are left."""
        left = self.samples - self.done
        return max(goal - self.used, 1e-3 * goal) * count / left

    def add_value(self, part: CertifiedLoss, target: Tensor) -> None:
        """Add the losses of one chunk."""
        wide = torch.maximum(part.upper - part.losses, part.losses - part.lower)
        self.used += float(wide.double().sum())
        self.certified &= part.solution.certified
        self._add(part.losses, part.lower, part.upper, part.solution.x, part.solution.error, target)
        self.cost.add(part.cost)
        self._say(part.message)

    def add_gradient(self, result: Hypergradient, target: Tensor) -> None:
        """Add losses, gradient and Gauss-Newton matrix of one chunk."""
        self.used += result.gradient_bound
        self.gradient_bound += result.gradient_bound
        self.chunk_norms += float(torch.linalg.vector_norm(result.gradient))
        self.gradient = result.gradient if self.gradient is None else self.gradient + result.gradient
        if result.gauss_newton is not None:
            self.gram = result.gauss_newton if self.gram is None else self.gram + result.gauss_newton
        self.certified &= result.certified
        self._add(result.losses, result.loss_lower, result.loss_upper, result.lower.x, result.lower.error, target)
        self.cost.add(result.cost)
        if result.message:
            for solution in (result.lower, result.adjoint):
                if solution is not None and not solution.converged:
                    self._say(solution.describe())

    def _add(self, losses: Tensor, lower: Tensor, upper: Tensor, x: Tensor, error: Tensor, target: Tensor) -> None:
        self.done += _batch.size(target)
        self.losses.append(losses)
        self.lower += float(lower.double().sum())
        self.upper += float(upper.double().sum())
        self.errors.append(error)
        residual = self.loss.residual(x, target)
        if residual is not None:
            self.residuals.append(residual)

    def _say(self, message: str) -> None:
        if message and message not in self.messages:
            self.messages.append(message)

    def total_norm(self) -> float:
        """2-norm of the gradient of F."""
        gradient = self._total()
        return 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient))

    def _total(self) -> Tensor | None:
        if self.gradient is None or self.penalty.gradient is None:
            return None
        return self.scale * self.gradient + self.penalty.gradient

    def evaluation(self, accuracy: float | None) -> Evaluation:
        """The finished record."""
        scale = self.scale
        losses, errors = torch.cat(self.losses), torch.cat(self.errors)
        value = scale * float(losses.double().sum()) + self.penalty.value
        lower, upper = scale * self.lower + self.penalty.value, scale * self.upper + self.penalty.value
        slack = 8 * torch.finfo(torch.float64).eps * (abs(value) + abs(self.penalty.value))
        gram = None if self.gram is None or self.penalty.hessian is None else scale * self.gram + self.penalty.hessian
        finite = math.isfinite(value)
        gradient_bound = math.inf if self.gradient is None else scale * self.gradient_bound
        if self.gradient is not None and accuracy is not None and not gradient_bound <= accuracy:
            self.messages.insert(0, missed_accuracy(accuracy, gradient_bound))
        return Evaluation(
            theta=self.theta.detach().clone(),
            value=value,
            lower=lower - slack if finite and not math.isnan(lower) else -math.inf,
            upper=upper + slack if finite and not math.isnan(upper) else math.inf,
            losses=losses,
            penalty=self.penalty.value,
            gradient=self._total(),
            gradient_bound=gradient_bound,
            jacobian_gram=gram,
            residuals=torch.cat(self.residuals) if self.residuals else None,
            residual_bounds=errors if self.residuals else None,
            certified=self.certified and math.isfinite(upper),
            accuracy=accuracy,
            lower_error=float(errors.max()),
            message="; ".join(self.messages),
            cost=replace(self.cost),
            seconds=time.perf_counter() - self.begin,
        )
