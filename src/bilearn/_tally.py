"""Sums over chunks of samples: what one evaluation of the reduced objective is put together from."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bilearn import _batch
from bilearn._rate import Rate
from bilearn.certified_loss import CertifiedLoss
from bilearn.hypergradient import Hypergradient
from bilearn.losses import UpperLoss
from bilearn.solution import Cost


@dataclass
class Tally:
    """Sums over the chunks of one shard of samples.

    Attributes:
        loss: upper-level loss.
        samples: number of samples in the shard.
        rates: what gradients so far say about lower-level tolerances, by kind; updated with every chunk.
        cost: work so far.
    """

    loss: UpperLoss
    samples: int
    rates: dict[str, Rate]
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        self.losses: list[Tensor] = []
        self.residuals: list[Tensor] = []
        self.errors: list[Tensor] = []
        self.lower, self.upper, self.used, self.done = 0.0, 0.0, 0.0, 0
        self.gradient: Tensor | None = None
        self.gradient_bound, self.chunk_norms = 0.0, 0.0
        self.gram: Tensor | None = None
        self.certified = True
        self.messages: list[str] = []

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

    def packed(self, kind: str, parameters: int, square: bool, columns: int) -> Tensor:
        """(L,) everything but the messages, in float64 on the CPU; read by :class:`bilearn._total.Total`.

        Args:
            kind: of the rate that is sent along.
            parameters: P.
            square: whether room is left for a (P, P) matrix.
            columns: room for figures of so many samples.
        """
        rate = self.rates.get(kind)
        numbers = [
            self.lower,
            self.upper,
            self.gradient_bound,
            self.chunk_norms,
            float(not self.certified),
            float(bool(self.losses) and self.losses[0].dtype == torch.float32),
            float(bool(self.residuals)),
            float(self.gradient is not None),
            float(square and self.gram is not None),
            float(bool(self.messages)),
            *((0.0, 0.0, 0.0, 0.0) if rate is None or not self.done else (1.0, rate.rate, rate.norm, rate.reached)),
            *(float(n) for n in self.cost.as_dict().values()),
        ]
        zeros = torch.zeros(parameters, dtype=torch.float64)
        pieces = [torch.tensor(numbers, dtype=torch.float64), zeros if self.gradient is None else _host(self.gradient)]
        if square:
            pieces.append(torch.zeros(parameters**2, dtype=torch.float64) if self.gram is None else _host(self.gram))
        for figures in (self.losses, self.errors, self.residuals):
            row = torch.zeros(columns, dtype=torch.float64)
            if figures:
                row[: self.samples] = _host(torch.cat(figures))
            pieces.append(row)
        return torch.cat(pieces)


NUMBERS = 14 + len(Cost().as_dict())
"""Entries of a packed tally before the gradient."""


def _host(value: Tensor) -> Tensor:
    return value.detach().to("cpu", torch.float64).reshape(-1)
