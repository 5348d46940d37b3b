"""Packed tallies of all shards, added up to one evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bilearn._rate import Rate
from bilearn._tally import NUMBERS
from bilearn.evaluation import Evaluation
from bilearn.hypergradient import missed_accuracy
from bilearn.penalties import PenaltyTerms
from bilearn.solution import Cost


@dataclass
class Frame:
    """What an evaluation knows before its first chunk.

    Attributes:
        theta: (P,) coordinates.
        penalty: the penalty at theta.
        scale: factor of the sum of the losses.
        begin: ``time.perf_counter()`` at the start.
        cost: work of passes that are complete.
    """

    theta: Tensor
    penalty: PenaltyTerms
    scale: float
    begin: float
    cost: Cost = field(default_factory=Cost)


_MESSAGES = 9


class Total:
    """Sums over all shards.

    Args:
        rows: (S, L) packed tallies, see :meth:`bilearn._tally.Tally.packed`.
        positions: of the samples of every shard among those of the evaluation.
        like: (P,) coordinates.
        device: of the samples.
        square: as when they were packed.
        messages: what solves said.
    """

    def __init__(
        self,
        rows: Tensor,
        positions: Sequence[Tensor],
        like: Tensor,
        device: torch.device,
        square: bool,
        messages: list[str],
    ) -> None:
        parameters = like.numel()
        sums = rows[:, : NUMBERS + parameters * (1 + parameters * square)].sum(0)
        heads = rows[:, :NUMBERS]
        self.lower, self.upper, self.gradient_bound, self.chunk_norms = sums[:4].tolist()
        uncertified, single, residuals, gradient, gram = (sums[4:9] > 0).tolist()
        self.certified, self.messages = not uncertified, list(dict.fromkeys(messages))
        self.rate = next((Rate(*head[11:14].tolist()) for head in heads.flip(0) if head[10] > 0), None)
        self.cost = Cost(*(int(n) for n in sums[14:NUMBERS].tolist()))
        split = NUMBERS + parameters
        self.gradient = sums[NUMBERS:split].to(like) if gradient else None
        self.gram = sums[split:].reshape(parameters, parameters).to(like) if gram else None
        figures = rows[:, sums.numel() :].reshape(rows.shape[0], 3, -1)
        joined = torch.empty(3, sum(p.numel() for p in positions), dtype=torch.float64)
        for part, where in zip(figures, positions, strict=True):
            joined[:, where.cpu()] = part[:, : where.numel()]
        joined = joined.to(device, torch.float32 if single else torch.float64)
        self.losses, self.errors = joined[0], joined[1]
        self.residuals = joined[2] if residuals else None

    @staticmethod
    def speaks(rows: Tensor) -> bool:
        """Whether some tally has messages, which are not packed."""
        return bool(rows[:, _MESSAGES].any())

    def norm(self, frame: Frame) -> float:
        """2-norm of the gradient of F."""
        gradient = self._gradient(frame)
        return 0.0 if gradient is None else float(torch.linalg.vector_norm(gradient))

    def _gradient(self, frame: Frame) -> Tensor | None:
        if self.gradient is None or frame.penalty.gradient is None:
            return None
        return frame.scale * self.gradient + frame.penalty.gradient

    def evaluation(self, frame: Frame, accuracy: float | None) -> Evaluation:
        """The finished record."""
        scale, penalty = frame.scale, frame.penalty
        value = scale * float(self.losses.double().sum()) + penalty.value
        lower, upper = scale * self.lower + penalty.value, scale * self.upper + penalty.value
        slack = 8 * torch.finfo(torch.float64).eps * (abs(value) + abs(penalty.value))
        gram = None if self.gram is None or penalty.hessian is None else scale * self.gram + penalty.hessian
        finite = math.isfinite(value)
        gradient_bound = math.inf if self.gradient is None else scale * self.gradient_bound
        messages = list(self.messages)
        if self.gradient is not None and accuracy is not None and not gradient_bound <= accuracy:
            messages.insert(0, missed_accuracy(accuracy, gradient_bound))
        return Evaluation(
            theta=frame.theta.detach().clone(),
            value=value,
            lower=lower - slack if finite and not math.isnan(lower) else -math.inf,
            upper=upper + slack if finite and not math.isnan(upper) else math.inf,
            losses=self.losses,
            penalty=penalty.value,
            gradient=self._gradient(frame),
            gradient_bound=gradient_bound,
            jacobian_gram=gram,
            residuals=self.residuals,
            residual_bounds=None if self.residuals is None else self.errors,
            certified=self.certified and math.isfinite(upper),
            accuracy=accuracy,
            lower_error=float(self.errors.max()),
            message="; ".join(messages),
            cost=replace(frame.cost),
            seconds=time.perf_counter() - frame.begin,
        )
