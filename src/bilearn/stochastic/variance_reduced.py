"""Variance-reduced gradients over minibatches of training pairs: SAGA on an oracle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.stochastic.sampler import BatchSampler, SamplerState
from bilearn.upper.accuracy import better, finite, gradient_of
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus
from bilearn.upper.schedules import Adaptive, Schedule


@dataclass(frozen=True)
class VarianceReducedState(UpperState):
    """Adds to :class:`UpperState` the point and the memory.

    Attributes:
        theta: (P,) where the next gradient is taken.
        rows: (K, P) last gradient of every batch.
        mean: (P,) their weighted mean.
        order: (N,) samples in the order of the batches.
        sampler_order, position, generator: where the draws stand.
    """

    theta: Tensor = field(default_factory=lambda: torch.empty(0))
    rows: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    mean: Tensor = field(default_factory=lambda: torch.empty(0))
    order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    sampler_order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    position: int = 0
    generator: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))


@dataclass(frozen=True)
class VarianceReduced(UpperOptimizer[VarianceReducedState]):
    """theta <- P(theta - alpha_k D_k), D_k the SAGA direction over fixed minibatches of training pairs.

    1. The samples are put in a random order once and cut into batches; each epoch draws every batch once.
    2. z_b, the gradient of F estimated from the batch drawn, with the accuracy of the schedule.
       D = scale_b (z_b - m_b) + mean(m); mean(m) += w_b (z_b - m_b); m_b = z_b, w_b = |b| / N, scale_b = w_b K.
    3. Every ``epochs_between_values`` epochs F itself is evaluated; ``state.best`` is the lowest of those.

    With :class:`bilearn.hypergradient.SingleLoop` as the objective's estimator this is SABA on training pairs, each with a
    lower level of its own: one step of the reconstructions and adjoints of a batch, kept per pair, and one step of theta.

    Conditions: grad F Lipschitz, errors of z_b below the schedule. With exact z_b and a constant step of order 1 / (K L), F
    strongly convex near the solution: linear convergence. Errors eps_k leave a neighborhood of their size.

    Args:
        length: alpha_k, in coordinates per unit of gradient.
        accuracy: requested of z_b; its argument ``slope`` is the norm of the last D.
        batch_size: samples in a batch, the last one the rest.
        seed: of order and draws.
        epochs_between_values: epochs between two evaluations of F.
        step_tolerance: SMALL_STEP when a step after the first epoch moves no coordinate by more.

    Raises:
        ValueError: if a number is out of range.

    References:
        Defazio, Bach, Lacoste-Julien, "SAGA: a fast incremental gradient method", NeurIPS 2014.
        Dagreou, Ablin, Vaiter, Moreau, NeurIPS 2022 (SABA).
    """

    length: Schedule
    accuracy: Schedule = field(default_factory=Adaptive)
    batch_size: int = 8
    seed: int = 0
    epochs_between_values: int = 10
    step_tolerance: float = 1e-12

    state_type = VarianceReducedState

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs_between_values"):
            if getattr(self, name) < 1:
                raise ValueError(f"VarianceReduced.{name}: found {getattr(self, name)}, expected at least 1")
        if not self.step_tolerance >= 0:
            raise ValueError(
                f"VarianceReduced.step_tolerance: found {self.step_tolerance}, expected a number that is not negative"
            )

    def init(self, objective: Oracle, theta: Tensor) -> VarianceReducedState:
        start = objective.value(theta)
        sampler = self._sampler(objective)
        draws = sampler.init(self.seed)
        order = torch.randperm(objective.samples, generator=torch.Generator().manual_seed(self.seed))
        return VarianceReducedState(
            best=start,
            current=start,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            theta=theta,
            rows=theta.new_zeros(sampler.batches, theta.numel()),
            mean=torch.zeros_like(theta),
            order=order,
            sampler_order=draws.order,
            position=draws.position,
            generator=draws.generator,
        )

    def step(self, objective: Oracle, state: VarianceReducedState) -> VarianceReducedState:
        sampler = self._sampler(objective)
        batch, draws = sampler.draw(SamplerState(state.sampler_order, state.position, state.generator))
        size = float(torch.linalg.vector_norm(state.mean))
        wanted = self.accuracy(state.iteration, size if size > 0 else None)
        part = objective.subset(state.order[batch.index], unbiased=True).hypergradient(state.theta, wanted)
        evaluations = state.evaluations + 1
        if not finite(part):
            return replace(state, evaluations=evaluations, status=UpperStatus.NON_FINITE)
        difference = gradient_of(part) - state.rows[batch.number]
        direction = batch.scale * difference + state.mean
        length = self.length(state.iteration, size)
        assert length is not None
        theta = objective.parameters.project(state.theta - length * direction)
        if not bool(theta.isfinite().all()):
            return replace(state, evaluations=evaluations, status=UpperStatus.NON_FINITE)
        rows = state.rows.clone()
        rows[batch.number] = gradient_of(part)
        iteration = state.iteration + 1
        best, status = state.best, UpperStatus.RUNNING
        if iteration % (self.epochs_between_values * sampler.batches) == 0:
            whole: Evaluation = objective.value(theta)
            evaluations += 1
            best = better(best, whole)
            status = UpperStatus.RUNNING if finite(whole) else UpperStatus.NON_FINITE
        moved = float((theta - state.theta).abs().max())
        if status is UpperStatus.RUNNING and iteration > sampler.batches and moved <= self.step_tolerance:
            status = UpperStatus.SMALL_STEP
        return replace(
            state,
            best=best,
            current=part,
            iteration=iteration,
            evaluations=evaluations,
            status=status,
            theta=theta,
            rows=rows,
            mean=state.mean + batch.weight * difference,
            sampler_order=draws.order,
            position=draws.position,
            generator=draws.generator,
        )

    def _sampler(self, objective: Oracle) -> BatchSampler:
        return BatchSampler(objective.samples, self.batch_size)
