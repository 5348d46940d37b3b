"""What a stochastic bilevel method is: frozen hyperparameters, ``init`` and ``step`` on a finite sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from bilearn.stochastic.finite_sum import FiniteSum, LowerParts, OracleCount, UpperParts
from bilearn.stochastic.sampler import Batch, BatchSampler, SamplerState
from bilearn.upper.schedules import Schedule


@dataclass(frozen=True)
class StochasticState:
    """Variables of a run.

    Attributes:
        z: (n,) lower-level variable.
        v: (n,) adjoint variable; it approaches -(grad_zz G)^-1 grad_z F, so that grad_xz G v + grad_x F approaches grad Phi.
        x: (p,) upper-level variable.
        direction: (p,) the last direction of x; zero before the first step.
        iteration: steps taken.
        lower_sampler, upper_sampler: where the draws stand.
        count: work so far.
    """

    z: Tensor
    v: Tensor
    x: Tensor
    direction: Tensor
    iteration: int
    lower_sampler: SamplerState
    upper_sampler: SamplerState
    count: OracleCount = field(default_factory=OracleCount)

    @property
    def finite(self) -> bool:
        """Whether no variable holds NaN or infinity."""
        return all(bool(torch.isfinite(t).all()) for t in (self.z, self.v, self.x))

    @property
    def size(self) -> float:
        """Largest norm among the variables."""
        return max(float(torch.linalg.vector_norm(t)) for t in (self.z, self.v, self.x))


S = TypeVar("S", bound=StochasticState)


@dataclass(frozen=True, kw_only=True)
class StochasticMethod(ABC, Generic[S]):
    """A method for min_x F(z(x), x) with batches of G and F.

    An author must write ``init`` and ``step``. Tables in a state are updated in place: ``step`` consumes the state it is
    given, whose plain tensors stay as they are.

    Args:
        step_size: rho_t, of the lower-level and adjoint variables.
        ratio: rho_t / gamma_t, gamma_t the step of the upper-level variable.
        batch_size: samples in a batch, below and above.
        seed: of the draws.

    Raises:
        ValueError: if a number is not positive.
    """

    step_size: Schedule
    ratio: float = 1.0
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("ratio", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{self.name}.{name}: found {getattr(self, name)}, expected a positive number")

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    @abstractmethod
    def init(self, problem: FiniteSum, z: Tensor, x: Tensor) -> S:
        """State at the start."""

    @abstractmethod
    def step(self, problem: FiniteSum, state: S) -> S:
        """One step of the upper-level variable and what comes with it."""

    def steps(self, iteration: int) -> tuple[float, float]:
        """rho_t and gamma_t."""
        rho = self.step_size(iteration)
        assert rho is not None
        return rho, rho / self.ratio

    def evaluated_at(self, before: S, after: S) -> tuple[Tensor, Tensor]:
        """(z, v) at which ``after.direction`` was computed, with ``before.x``; the old ones unless a method says otherwise."""
        return before.z, before.v

    def samplers(self, problem: FiniteSum) -> tuple[BatchSampler, BatchSampler]:
        """Of the lower and the upper level."""
        return BatchSampler(problem.lower_samples, self.batch_size), BatchSampler(
            problem.upper_samples, self.batch_size
        )

    def start(self, problem: FiniteSum, z: Tensor, x: Tensor) -> dict[str, Any]:
        """Fields of :class:`StochasticState` at the start."""
        lower, upper = self.samplers(problem)
        return {
            "z": z.detach().clone(),
            "v": torch.zeros_like(z),
            "x": x.detach().clone(),
            "direction": torch.zeros_like(x),
            "iteration": 0,
            "lower_sampler": lower.init(2 * self.seed),
            "upper_sampler": upper.init(2 * self.seed + 1),
        }


class Draws:
    """Batches for one step, with counts: advances copies of a state's samplers and of its record of work."""

    def __init__(self, method: StochasticMethod[Any], problem: FiniteSum, state: StochasticState) -> None:
        self._problem = problem
        self._lower, self._upper = method.samplers(problem)
        self._lower_state, self._upper_state = state.lower_sampler, state.upper_sampler
        self._count = state.count.copy()

    def lower_batch(self) -> Batch:
        """The next batch of G."""
        batch, self._lower_state = self._lower.draw(self._lower_state)
        return batch

    def upper_batch(self) -> Batch:
        """The next batch of F."""
        batch, self._upper_state = self._upper.draw(self._upper_state)
        return batch

    def lower_gradient(self, z: Tensor, x: Tensor, batch: Batch) -> Tensor:
        """grad_z G of a batch."""
        self._count.lower_gradients += batch.index.numel()
        return self._problem.lower_gradient(z, x, batch.index)

    def lower_parts(self, z: Tensor, x: Tensor, v: Tensor, batch: Batch) -> LowerParts:
        """Gradient and both products of a batch."""
        size = batch.index.numel()
        self._count.lower_gradients += size
        self._count.hessian_products += size
        self._count.cross_products += size
        return self._problem.lower_parts(z, x, v, batch.index)

    def hessian_product(self, z: Tensor, x: Tensor, v: Tensor, batch: Batch) -> Tensor:
        """grad_zz G v of a batch."""
        self._count.hessian_products += batch.index.numel()
        return self._problem.hessian_product(z, x, v, batch.index)

    def cross_product(self, z: Tensor, x: Tensor, v: Tensor, batch: Batch) -> Tensor:
        """grad_xz G v of a batch."""
        self._count.cross_products += batch.index.numel()
        return self._problem.cross_product(z, x, v, batch.index)

    def upper_parts(self, z: Tensor, x: Tensor, batch: Batch) -> UpperParts:
        """Both gradients of F of a batch."""
        self._count.upper_gradients += batch.index.numel()
        return self._problem.upper_parts(z, x, batch.index)

    def advanced(self, state: S, **changes: Any) -> S:
        """The next state, with the samplers and counts as they stand now."""
        return replace(
            state,
            iteration=state.iteration + 1,
            lower_sampler=self._lower_state,
            upper_sampler=self._upper_state,
            count=self._count,
            **changes,
        )
