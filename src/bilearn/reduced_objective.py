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

from bilearn._rate import DEFAULT_RELATIVE, Rate
from bilearn._tally import Tally
from bilearn._total import Frame, Total
from bilearn.certified_loss import certified_loss
from bilearn.distributed import Processes, Shards
from bilearn.energy import Energy
from bilearn.evaluation import Evaluation
from bilearn.hypergradient import HypergradientEstimator, ImplicitHypergradient, TangentHypergradient
from bilearn.hypergradient.tangent import check_few
from bilearn.losses import SquaredError, UpperLoss, as_loss
from bilearn.lower.capped import Capped
from bilearn.lower.default import default_solver
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.penalties import Penalty, PenaltyTerms
from bilearn.solution import Cost
from bilearn.warm_starts import WarmStarts, predict, whole

_CHUNK_BYTES_THREAD = 1_500_000
_CHUNK_BYTES_ACCELERATOR = 64_000_000
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
        processes: who shares the samples; this process alone if None. Every process makes the objective of all samples,
            computes those of its shards and gets the same answers (:mod:`bilearn.distributed`).
        shards: parts of the samples, each with a share of the accuracy of its own; one for each process if None. The same
            number gives the same answers on any number of processes.

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
        processes: Processes | None = None,
        shards: int | None = None,
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
        self.processes = Processes() if processes is None else processes
        self._shards = Shards(y.shape[0], shards, self.processes)
        self.parameters = ParameterVector(energy)
        self.cost = Cost()
        self._made = _Count()
        self._warm = WarmStarts(y.shape[0], self._shards.own)
        self._rates: dict[str, Rate] = {}
        self._index = torch.arange(y.shape[0], device=y.device)
        self._weight = 1.0

    @property
    def evaluations(self) -> int:
        """Number of evaluations so far, those of subsets included."""
        return self._made.number

    @property
    def shards(self) -> int:
        """Number of parts the samples are divided into."""
        return self._shards.count

    @property
    def samples(self) -> int:
        """Number of samples in the sum or mean."""
        return self._index.numel()

    @property
    def reconstructions(self) -> Tensor | None:
        """(N, ...) the latest reconstruction of every sample, or None before the first evaluation.

        Several processes must all ask for it.
        """
        return self._assembled("reconstructions", lambda index: self._warm.get("x", index))

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
        """Warm starts, learned tolerances and work counts, for a checkpoint; tensors are not copied.

        Asked for by all processes; the first one gets the tree of all samples, which any number of processes can load.
        """
        return {
            "warm": WarmStarts.joined(self.processes.gather(self._warm.tree())),
            "rates": {kind: (rate.rate, rate.norm, rate.reached) for kind, rate in self._rates.items()},
            "cost": self.cost.as_dict(),
            "evaluations": self._made.number,
        }

    def whole_tree(self, tree: Any) -> Any:
        """A tree with :meth:`snapshot` in it, for a checkpoint: in the first process each has the rows of all processes."""
        trees = self.processes.gather(tree)
        return trees[0] if len(trees) == 1 else whole(trees, self._shards.kept)

    def load_state_tree(self, tree: dict[str, Any]) -> None:
        """Continue as the objective that gave ``tree`` would, bit for bit where the number of shards is the same.

        Raises:
            ValueError: if it belongs to another number of samples.
        """
        self._warm.restore(tree["warm"], self.y.device)
        self._rates = {kind: Rate(*numbers) for kind, numbers in tree["rates"].items()}
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
        if self.loss.residual(self.target[:1], self.target[:1]) is None:
            return None
        x = self._assembled("residual vectors", lambda index: self._warm.rows(snapshot, "x", index))
        if x is None:
            return None
        vectors = x - self.target[self._index]
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

    def _chunks(self, index: Tensor) -> Iterator[Tensor]:
        if index.numel():
            yield from index.tensor_split(math.ceil(index.numel() / self.batch_size))

    def _open(self, theta: Tensor, order: Literal[0, 1, 2]) -> Frame:
        begin = time.perf_counter()
        self.parameters.set(theta)
        penalty = PenaltyTerms.of(self.penalty, self.energy, self.y[self._index], self.parameters, order)
        return Frame(theta.detach().clone(), penalty, self._scale, begin)

    def _value(self, theta: Tensor, accuracy: float | None, distance: float | None) -> Evaluation:
        frame = self._open(theta, 0)

        def add(index: Tensor, tally: Tally, goal: float | None) -> None:
            part = certified_loss(
                self.energy,
                self.loss,
                self.y[index],
                self.target[index],
                self._solver(index, tally, frame),
                self._start(index, tally, frame.theta),
                None if goal is None else tally.share(goal, index.numel()),
                distance,
            )
            self._keep(index, part.solution.x, frame.theta)
            tally.add_value(part, self.target[index])

        total = self._pass("value", frame, add, None if accuracy is None else accuracy / self._scale)
        return self._record(total.evaluation(frame, accuracy if distance is None else distance))

    def _differentiate(
        self, estimator: HypergradientEstimator, kind: str, theta: Tensor, accuracy: float | None
    ) -> Evaluation:
        """One pass over the chunks at the requested accuracy; without one, a second pass if the first was too coarse."""
        frame = self._open(theta, 2 if kind == "tangent" else 1)

        def add(index: Tensor, tally: Tally, goal: float | None) -> None:
            share = None if goal is None else tally.share(goal, index.numel())
            result = estimator.estimate(
                self.energy,
                self.loss,
                self.y[index],
                self.target[index],
                self.parameters,
                self._solver(index, tally, frame),
                self._start(index, tally, frame.theta),
                self._warm.get(kind, index),
                share,
                tally.rates[kind].tolerance(share, index.numel()) if kind in tally.rates else None,
            )
            self._keep(index, result.lower.x, frame.theta)
            if result.adjoint is not None:
                self._warm.put(kind, index, result.adjoint.x, result.adjoint.x.ndim - result.lower.x.ndim)
            tally.rates[kind] = Rate.of(result, index.numel())
            tally.add_gradient(result, self.target[index])

        total = self._pass(kind, frame, add, None if accuracy is None else accuracy / self._scale)
        if accuracy is None and math.isfinite(total.gradient_bound):
            goal = max(DEFAULT_RELATIVE * total.norm(frame), _RELATIVE_FLOOR * total.chunk_norms * self._scale)
            divided = self.samples > self.batch_size or self.shards > 1 or self.penalty is not None
            if divided and self._scale * total.gradient_bound > 1.01 * goal:
                total = self._pass(kind, frame, add, goal / self._scale)
        return self._record(total.evaluation(frame, accuracy))

    def _pass(
        self, kind: str, frame: Frame, add: Callable[[Tensor, Tally, float | None], None], goal: float | None
    ) -> Total:
        """Every chunk of this process's shards once; the sum over the shards of all processes.

        A shard may err by its part of ``goal``, whatever the others do.
        """
        positions = self._shards.positions(self._index)
        columns = max(where.numel() for where in positions)
        square = kind == "tangent"
        said: list[str] = []

        def work() -> Tensor:
            rows = []
            for where in self._shards.hosted(positions):
                index = self._index[where]
                tally = Tally(self.loss, index.numel(), dict(self._rates))
                for chunk in self._chunks(index):
                    self.processes.pause()
                    add(chunk, tally, None if goal is None else goal * (index.numel() / self.samples))
                said.extend(tally.messages)
                rows.append(tally.packed(kind, len(self.parameters), square, columns))
            return torch.stack(rows)

        rows = self.processes.exchange((kind, frame.theta, goal, self._index), work)
        messages = self.processes.texts(said) if Total.speaks(rows) else []
        total = Total(rows, positions, frame.theta, self.y.device, square, messages)
        if total.rate is not None:
            self._rates[kind] = total.rate
        frame.cost.add(total.cost)
        return total

    def _solver(self, index: Tensor, tally: Tally, frame: Frame) -> LowerSolver | None:
        """The lower-level method, with the steps that ``max_gradients`` leaves to the samples ``index``."""
        if self.max_gradients is None:
            return self.solver
        left = (self.max_gradients - self.cost.gradients - frame.cost.gradients) * tally.samples // self.samples
        steps = (left - tally.cost.gradients) // index.numel()
        return Capped(default_solver(self.energy, self.y[index]) if self.solver is None else self.solver, max(1, steps))

    def _start(self, index: Tensor, tally: Tally, theta: Tensor) -> Tensor | None:
        """Start of the lower-level solves: the last reconstructions, moved along their tangents where that helps."""
        x, before = self._warm.get("x", index), self._warm.get("theta", index)
        tangents = self._warm.get("tangent", index)
        if x is None or before is None or tangents is None:
            return x
        steps = theta.to(before) - before
        if not bool(steps.any()):
            return x
        tally.cost.gradients += 2 * index.numel()
        return predict(self.energy, self.y[index], x, tangents, steps)

    def _keep(self, index: Tensor, x: Tensor, theta: Tensor) -> None:
        self._warm.put("x", index, x)
        self._warm.put("theta", index, theta.detach().to(x.device).expand(index.numel(), -1))

    def _assembled(self, name: str, rows_of: Callable[[Tensor], Tensor | None]) -> Tensor | None:
        """(M, ...) rows of all samples, each found by the process that keeps it; None unless all are there."""
        if self.processes.count == 1:
            return rows_of(self._index)
        positions = self._shards.positions(self._index)
        own = torch.cat(list(self._shards.hosted(positions)))
        mine = rows_of(self._index[own]) if own.numel() else None
        parts = self.processes.everyone((name,), (own.cpu(), mine))
        found = [(where, rows.to(self.y.device)) for where, rows in parts if rows is not None]
        if sum(where.numel() for where, _ in found) < self.samples:
            return None
        order = torch.cat([where for where, _ in found]).argsort().to(self.y.device)
        return torch.cat([rows for _, rows in found])[order]

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
