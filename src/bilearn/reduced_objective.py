"""theta -> F(theta) = mean (or sum) of the losses of the reconstructions + penalty, to a requested accuracy."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from bilearn._tally import Tally
from bilearn.certified_loss import certified_loss
from bilearn.energy import Energy
from bilearn.evaluation import Evaluation
from bilearn.hypergradient import Hypergradient, HypergradientEstimator, ImplicitHypergradient, TangentHypergradient
from bilearn.hypergradient.tangent import check_few
from bilearn.losses import SquaredError, UpperLoss, as_loss
from bilearn.lower.capped import Capped
from bilearn.lower.default import default_solver
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.penalties import Penalty, PenaltyTerms
from bilearn.solution import Cost
from bilearn.warm_starts import WarmStarts, predict

_CHUNK_BYTES_THREAD = 1_500_000
_CHUNK_BYTES_ACCELERATOR = 64_000_000
_DEFAULT_RELATIVE = 1e-3
_RELATIVE_FLOOR = 1e-6


class ReducedObjective:
    """The upper-level objective as an oracle: every answer carries bounds, every request may carry an accuracy.

        F(theta) = scale * sum_i loss(xhat_i(theta), target_i) + penalty(theta),    scale = 1/N ("mean") or 1 ("sum")

    Each call sets theta in the energy and leaves it there. Reconstructions, adjoints and tangents of every sample are kept
    as starts of the next solves; they change the work, and values and gradients only within their bounds. Samples are
    processed in chunks small enough for the cache. Solves that fail do not raise: the evaluation's message says what
    happened and its bounds are those of the points that were found, infinite where there are none.

    Args:
        energy: the lower-level energy; its learnable parameters are theta.
        y: (N, ...) data.
        target: (N, ...) true signals, shaped like the reconstructions.
        loss: upper-level loss, or any function (x, target) -> (B,).
        penalty: penalty on theta.
        reduction: "mean" or "sum" of the losses.
        solver: lower-level method; the default one for this energy if None.
        estimator: of the hypergradient; ``ImplicitHypergradient()`` if None.
        tangents: of the Gauss-Newton matrix; ``TangentHypergradient()`` if None.
        batch_size: samples per chunk; if None about 1.5 MB per vector and thread on the CPU and 64 MB elsewhere.
        observer: called with every evaluation, those of subsets included (``Evaluation.minibatch`` tells).
        max_gradients: lower-level gradients after which every solve gets one step more only, and its bound says what that
            proves; the solve under way is cut off there. None sets no limit but the solver's own.

    Attributes:
        parameters: theta as a flat vector with its box.
        cost: all work so far.

    Raises:
        ValueError: if shapes do not fit, there is no sample or no learnable parameter, or an option is unknown.
    """

    def __init__(
        self,
        energy: Energy,
        y: Tensor,
        target: Tensor,
        loss: UpperLoss | Callable[[Tensor, Tensor], Tensor] | None = None,
        penalty: Penalty | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        solver: LowerSolver | None = None,
        estimator: HypergradientEstimator | None = None,
        tangents: TangentHypergradient | None = None,
        batch_size: int | None = None,
        observer: Callable[[Evaluation], None] | None = None,
        max_gradients: int | None = None,
    ) -> None:
        if y.ndim == 0 or y.shape[0] == 0 or y.shape[:1] != target.shape[:1]:
            raise ValueError(
                f"target: found {tuple(target.shape)} for data y of shape {tuple(y.shape)}, expected one target per sample "
                "and at least one sample"
            )
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction: found {reduction!r}, expected 'mean' or 'sum'")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size: found {batch_size}, expected at least 1, or None")
        if max_gradients is not None and max_gradients < 1:
            raise ValueError(f"max_gradients: found {max_gradients}, expected at least 1, or None")
        self.energy, self.y, self.target = energy, y, target
        self.loss = SquaredError() if loss is None else as_loss(loss)
        self.penalty, self.solver = penalty, solver
        self.reduction: Literal["mean", "sum"] = reduction
        self.estimator = ImplicitHypergradient() if estimator is None else estimator
        self.tangents = TangentHypergradient() if tangents is None else tangents
        self.batch_size = _chunk_size(energy, y) if batch_size is None else batch_size
        self.observer, self.max_gradients = observer, max_gradients
        self.parameters = ParameterVector(energy)
        self.cost = Cost()
        self._made = _Count()
        self._warm = WarmStarts(y.shape[0])
        self._rates: dict[str, _Rate] = {}
        self._index = torch.arange(y.shape[0], device=y.device)
        self._weight = 1.0

    @property
    def evaluations(self) -> int:
        """Number of evaluations so far, those of subsets included."""
        return self._made.number

    @property
    def samples(self) -> int:
        """Number of samples in the sum or mean."""
        return self._index.numel()

    @property
    def reconstructions(self) -> Tensor | None:
        """(N, ...) the latest reconstruction of every sample, or None before the first evaluation."""
        return self._warm.get("x", self._index)

    def subset(self, index: Tensor, unbiased: bool = False) -> ReducedObjective:
        """The objective of some samples only (a minibatch); warm starts, learned tolerances and work count are shared.

        Args:
            index: (M,) positions among this objective's samples.
            unbiased: weight a sum of losses by N / M, so that the mean over random subsets is this objective.

        Raises:
            ValueError: if ``index`` is empty.
        """
        if index.numel() == 0:
            raise ValueError("index: found no sample, expected at least one")
        view = copy.copy(self)
        view._index = self._index[index.to(self._index.device)]
        if unbiased and self.reduction == "sum":
            view._weight = self._weight * self.samples / view.samples
        return view

    def forget(self) -> None:
        """Drop all warm starts and learned tolerances, as if nothing had been evaluated."""
        self._warm.clear()
        self._rates.clear()

    def state_tree(self) -> dict[str, Any]:
        """Warm starts, learned tolerances and work counts, for a checkpoint; tensors are not copied."""
        return {
            "warm": self._warm.tree(),
            "rates": {kind: (rate.rate, rate.norm, rate.reached) for kind, rate in self._rates.items()},
            "cost": self.cost.as_dict(),
            "evaluations": self._made.number,
        }

    def load_state_tree(self, tree: dict[str, Any]) -> None:
        """Continue as the objective that gave ``tree`` would, bit for bit.

        Raises:
            ValueError: if it belongs to another number of samples.
        """
        self._warm.restore(tree["warm"], self.y.device)
        self._rates = {kind: _Rate(*numbers) for kind, numbers in tree["rates"].items()}
        self.cost = Cost(**tree["cost"])
        self._made = _Count(tree["evaluations"])

    def snapshot(self) -> dict[str, Any]:
        """A copy of the latest reconstructions, to continue from later at the same theta or near it.

        Each reconstruction was found at some theta; a method that returns to a point hands back its snapshot first, so
        that the solves go on where they stopped there. Costs one copy of the reconstructions, no solve.
        """
        return self._warm.copy(("x", "theta"))

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Start the next solves from the reconstructions of a :meth:`snapshot`, which is not changed."""
        self._warm.overwrite(snapshot)

    def residual_vectors(self, snapshot: dict[str, Any]) -> Tensor | None:
        """(N, K) differences between the reconstructions of a :meth:`snapshot` and the targets, as real numbers.

        Their squared norms add up to F - penalty up to a factor; None where the loss is not a function of residuals, or
        the snapshot lacks a reconstruction.
        """
        x = self._warm.rows(snapshot, "x", self._index)
        target = self.target[self._index]
        if x is None or self.loss.residual(x[:1], target[:1]) is None:
            return None
        vectors = x - target
        return (torch.view_as_real(vectors) if vectors.is_complex() else vectors).reshape(self.samples, -1)

    def penalty_terms(self, theta: Tensor) -> PenaltyTerms:
        """Exact value, gradient and positive semidefinite part of the Hessian of the penalty; no solve.

        Args:
            theta: (P,) coordinates, set in the energy.
        """
        self.parameters.set(theta)
        return PenaltyTerms.of(self.penalty, self.energy, self.y[self._index], self.parameters, 2)

    def value(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F(theta) and an interval that contains it.

        Args:
            theta: (P,) coordinates.
            accuracy: bound on |computed - exact|; None asks for 1e-3 of the losses.
        """
        return self._value(theta, accuracy, None)

    def residuals(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """As :meth:`value`, with every residual |xhat_i - x_i| accurate to ``accuracy``.

        Raises:
            ValueError: if the loss is not a function of residuals.
        """
        if self.loss.residual(self.target[:1], self.target[:1]) is None:
            raise ValueError(f"loss: found {self.loss.name}, expected one with residuals, such as SquaredError")
        return self._value(theta, None, accuracy)

    def hypergradient(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F, its interval, and its gradient.

        Args:
            theta: (P,) coordinates.
            accuracy: bound on the 2-norm error of the gradient; None asks for 1e-3 of its norm.
        """
        return self._differentiate(self.estimator, "adjoint", theta, accuracy)

    def gauss_newton(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F, its gradient, and the Gauss-Newton matrix: scale * sum T'(loss Hessian)T + positive part of the penalty's Hessian.

        Args:
            theta: (P,) coordinates.
            accuracy: as in :meth:`hypergradient`.

        Raises:
            ValueError: if there are too many parameters for tangents.
        """
        check_few(self.parameters)
        return self._differentiate(self.tangents, "tangent", theta, accuracy)

    @property
    def _scale(self) -> float:
        return 1.0 / self.samples if self.reduction == "mean" else self._weight

    def _chunks(self) -> Iterator[Tensor]:
        count = math.ceil(self.samples / self.batch_size)
        yield from self._index.tensor_split(count)

    def _open(self, theta: Tensor, order: Literal[0, 1, 2]) -> Tally:
        begin = time.perf_counter()
        self.parameters.set(theta)
        penalty = PenaltyTerms.of(self.penalty, self.energy, self.y[self._index], self.parameters, order)
        return Tally(theta.detach().clone(), self.loss, penalty, self._scale, self.samples, begin)

    def _value(self, theta: Tensor, accuracy: float | None, distance: float | None) -> Evaluation:
        tally = self._open(theta, 0)
        for index in self._chunks():
            share = None if accuracy is None else tally.share(accuracy / self._scale, index.numel())
            part = certified_loss(
                self.energy,
                self.loss,
                self.y[index],
                self.target[index],
                self._solver(index, tally),
                self._start(index, tally),
                share,
                distance,
            )
            self._keep(index, part.solution.x, theta)
            tally.add_value(part, self.target[index])
        return self._record(tally.evaluation(accuracy if distance is None else distance))

    def _differentiate(
        self, estimator: HypergradientEstimator, kind: str, theta: Tensor, accuracy: float | None
    ) -> Evaluation:
        """One pass over the chunks at the requested accuracy; without one, a second pass if the first was too coarse."""
        goal = None if accuracy is None else accuracy / self._scale
        tally = self._pass(estimator, kind, self._open(theta, 2 if kind == "tangent" else 1), goal)
        if accuracy is None and math.isfinite(tally.gradient_bound):
            goal = max(_DEFAULT_RELATIVE * tally.total_norm(), _RELATIVE_FLOOR * tally.chunk_norms * self._scale)
            divided = self.samples > self.batch_size or self.penalty is not None
            if divided and self._scale * tally.gradient_bound > 1.01 * goal:
                tally = self._pass(estimator, kind, tally.again(), goal / self._scale)
        return self._record(tally.evaluation(accuracy))

    def _pass(self, estimator: HypergradientEstimator, kind: str, tally: Tally, goal: float | None) -> Tally:
        for index in self._chunks():
            share = None if goal is None else tally.share(goal, index.numel())
            result = estimator.estimate(
                self.energy,
                self.loss,
                self.y[index],
                self.target[index],
                self.parameters,
                self._solver(index, tally),
                self._start(index, tally),
                self._warm.get(kind, index),
                share,
                self._rates[kind].tolerance(share, index.numel()) if kind in self._rates else None,
            )
            self._keep(index, result.lower.x, tally.theta)
            if result.adjoint is not None:
                self._warm.put(kind, index, result.adjoint.x, result.adjoint.x.ndim - result.lower.x.ndim)
            self._rates[kind] = _Rate.of(result, index.numel())
            tally.add_gradient(result, self.target[index])
        return tally

    def _solver(self, index: Tensor, tally: Tally) -> LowerSolver | None:
        """The lower-level method, with the steps that ``max_gradients`` leaves to the samples ``index``."""
        if self.max_gradients is None:
            return self.solver
        left = (self.max_gradients - self.cost.gradients - tally.cost.gradients) // index.numel()
        return Capped(default_solver(self.energy, self.y[index]) if self.solver is None else self.solver, max(1, left))

    def _start(self, index: Tensor, tally: Tally) -> Tensor | None:
        """Start of the lower-level solves: the last reconstructions, moved along their tangents where that helps."""
        x, before = self._warm.get("x", index), self._warm.get("theta", index)
        tangents = self._warm.get("tangent", index)
        if x is None or before is None or tangents is None:
            return x
        steps = tally.theta.to(before) - before
        if not bool(steps.any()):
            return x
        tally.cost.gradients += 2 * index.numel()
        return predict(self.energy, self.y[index], x, tangents, steps)

    def _keep(self, index: Tensor, x: Tensor, theta: Tensor) -> None:
        self._warm.put("x", index, x)
        self._warm.put("theta", index, theta.detach().to(x.device).expand(index.numel(), -1))

    def _record(self, evaluation: Evaluation) -> Evaluation:
        self._made.number += 1
        self.cost.add(evaluation.cost)
        if self.samples < self.y.shape[0]:
            evaluation = replace(evaluation, minibatch=self._index)
        if self.observer is not None:
            self.observer(evaluation)
        return evaluation


def _chunk_size(energy: Energy, y: Tensor) -> int:
    with torch.no_grad():
        sample = energy.start(y[:1])
    cpu = y.device.type == "cpu"
    allowed = _CHUNK_BYTES_THREAD * torch.get_num_threads() if cpu else _CHUNK_BYTES_ACCELERATOR
    return max(1, allowed // max(1, sample.numel() * sample.element_size()))


@dataclass
class _Count:
    """A number that an objective and its subsets share."""

    number: int = 0


@dataclass(frozen=True)
class _Rate:
    """What the last gradient said about the distance its accuracy needs: bound's lower part = rate * distance, per sample."""

    rate: float
    norm: float
    reached: float

    @classmethod
    def of(cls, result: Hypergradient, count: int) -> _Rate:
        reached = float(result.lower.error.max())
        if not math.isfinite(reached):
            measured = result.lower.gradient_norm + result.lower.rounding
            return cls(math.inf, 0.0, float(measured.max()))
        rate = result.bound.lower / (reached * count) if reached > 0 else math.inf
        return cls(rate, float(torch.linalg.vector_norm(result.gradient)) / count, reached)

    def tolerance(self, goal: float | None, count: int) -> float | None:
        """Distance to ask for first when ``count`` samples may err by ``goal`` together."""
        each = _DEFAULT_RELATIVE * self.norm if goal is None else goal / count
        wanted = 0.4 * each / self.rate if math.isfinite(self.rate) and self.rate > 0 else self.reached
        return wanted if wanted > 0 and math.isfinite(wanted) else None
