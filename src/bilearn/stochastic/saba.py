"""SABA: SOBA with the variance of every quantity reduced by a table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from bilearn.stochastic.finite_sum import FiniteSum, LowerParts, UpperParts
from bilearn.stochastic.method import Draws, StochasticMethod, StochasticState
from bilearn.stochastic.sampler import Batch, BatchSampler
from bilearn.stochastic.tables import GradientTable
from bilearn.upper.schedules import Fixed, Schedule


@dataclass(frozen=True)
class SABAState(StochasticState):
    """Adds to :class:`StochasticState` the tables of the five quantities, which steps update in place."""

    tables: dict[str, GradientTable] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SABA(StochasticMethod[SABAState]):
    """SOBA's directions with SAGA memories: for each of grad_z G, grad_zz G v, grad_xz G v, grad_z F, grad_x F

        D = scale_b (q_b - m_b) + mean(m),   mean(m) += w_b (q_b - m_b),   m_b = q_b,      w_b = |b| / N,

    with constant steps. At a fixed point of all batches, every direction is the full mean of its quantity, so that fixed
    points are the stationary points of Phi, for any batch size and a partial last batch. Memory: 2 n + p numbers for each batch
    of G and n + p for each batch of F.

    Conditions: as :class:`SOBA`. min_t E |grad Phi|^2 = O(1 / T) with steps of order N^(-2/3); linear convergence where Phi
    satisfies the Polyak-Lojasiewicz inequality.

    Args:
        step_size: rho_t; 0.1 as published.
        initialize: "zero" starts from empty tables as published, "full" from one pass over the data.
        directory: where the tables lie as memory-mapped files; None keeps them in memory.
        ratio, batch_size, seed: see :class:`StochasticMethod`.

    Raises:
        ValueError: if an option is out of range.

    Reference: Dagreou, Ablin, Vaiter, Moreau, "A framework for bilevel optimization that enables stochastic and global
    variance reduction algorithms", NeurIPS 2022. The scale of partial batches is ours.
    """

    step_size: Schedule = field(default_factory=lambda: Fixed(0.1))
    initialize: Literal["zero", "full"] = "zero"
    directory: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initialize not in ("zero", "full"):
            raise ValueError(f"SABA.initialize: found {self.initialize!r}, expected 'zero' or 'full'")

    def init(self, problem: FiniteSum, z: Tensor, x: Tensor) -> SABAState:
        lower, upper = self.samplers(problem)
        tables = {
            "gradient": self._table("gradient", lower, z),
            "product": self._table("product", lower, z),
            "cross": self._table("cross", lower, x),
            "upper_lower": self._table("upper_lower", upper, z),
            "upper_upper": self._table("upper_upper", upper, x),
        }
        state = SABAState(**self.start(problem, z, x), tables=tables)
        if self.initialize == "full":
            draws = Draws(self, problem, state)
            for number in range(lower.batches):
                batch = lower.batch(number)
                _reduce_lower(tables, batch, draws.lower_parts(state.z, state.x, state.v, batch))
            for number in range(upper.batches):
                batch = upper.batch(number)
                _reduce_upper(tables, batch, draws.upper_parts(state.z, state.x, batch))
            return replace(draws.advanced(state), iteration=0)
        return state

    def step(self, problem: FiniteSum, state: SABAState) -> SABAState:
        rho, gamma = self.steps(state.iteration)
        draws = Draws(self, problem, state)
        below, above = draws.lower_batch(), draws.upper_batch()
        lower = _reduce_lower(state.tables, below, draws.lower_parts(state.z, state.x, state.v, below))
        upper = _reduce_upper(state.tables, above, draws.upper_parts(state.z, state.x, above))
        direction = lower.cross + upper.upper
        return draws.advanced(
            state,
            z=state.z - rho * lower.gradient,
            v=state.v - rho * (lower.product + upper.lower),
            x=state.x - gamma * direction,
            direction=direction,
        )

    def _table(self, name: str, sampler: BatchSampler, like: Tensor) -> GradientTable:
        weights = torch.tensor([sampler.batch(b).weight for b in range(sampler.batches)], dtype=torch.float64)
        if self.directory is None:
            return GradientTable(weights, like)
        self.directory.mkdir(parents=True, exist_ok=True)
        return GradientTable(weights, like, self.directory / f"{name}.table")


def _reduce_lower(tables: dict[str, GradientTable], batch: Batch, parts: LowerParts) -> LowerParts:
    return LowerParts(
        tables["gradient"].exchange(batch, parts.gradient),
        tables["product"].exchange(batch, parts.product),
        tables["cross"].exchange(batch, parts.cross),
    )


def _reduce_upper(tables: dict[str, GradientTable], batch: Batch, parts: UpperParts) -> UpperParts:
    return UpperParts(
        tables["upper_lower"].exchange(batch, parts.lower), tables["upper_upper"].exchange(batch, parts.upper)
    )
