"""StocBiO and AmIGO: several stochastic steps of the lower level for each step of the upper level."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from bilearn.stochastic.finite_sum import FiniteSum
from bilearn.stochastic.method import Draws, StochasticMethod, StochasticState
from bilearn.upper.schedules import Fixed, Schedule


@dataclass(frozen=True, kw_only=True)
class _DoubleLoop(StochasticMethod[StochasticState]):
    step_size: Schedule = field(default_factory=lambda: Fixed(0.1))
    inner_steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner_steps < 1:
            raise ValueError(f"{self.name}.inner_steps: found {self.inner_steps}, expected at least 1")

    def init(self, problem: FiniteSum, z: Tensor, x: Tensor) -> StochasticState:
        return StochasticState(**self.start(problem, z, x))

    def step(self, problem: FiniteSum, state: StochasticState) -> StochasticState:
        rho, gamma = self.steps(state.iteration)
        draws = Draws(self, problem, state)
        z, x = state.z, state.x
        for _ in range(self.inner_steps):
            batch = draws.lower_batch()
            z = z - (rho * batch.scale) * draws.lower_gradient(z, x, batch)
        above = draws.upper_batch()
        upper = draws.upper_parts(z, x, above)
        v = self.adjoint(draws, z, x, state.v, above.scale * upper.lower, rho)
        below = draws.lower_batch()
        direction = below.scale * draws.cross_product(z, x, v, below) + above.scale * upper.upper
        return draws.advanced(state, z=z, v=v, x=x - gamma * direction, direction=direction)

    def evaluated_at(self, before: StochasticState, after: StochasticState) -> tuple[Tensor, Tensor]:
        """The direction of x belongs to the lower-level variables of the same step."""
        return after.z, after.v

    @abstractmethod
    def adjoint(self, draws: Draws, z: Tensor, x: Tensor, v: Tensor, slope: Tensor, rho: float) -> Tensor:
        """An approximation of -(grad_zz G)^-1 slope, from the present one."""


@dataclass(frozen=True, kw_only=True)
class StocBiO(_DoubleLoop):
    """T SGD steps of z; the adjoint by a stochastic Neumann series; one step of x.

    1. T times: z -= rho grad_z G_b, each with a fresh batch.
    2. v = -rho sum_{k=0}^{K} prod_{l<=k} (I - rho grad_zz G_{b_l}) grad_z F_c, the products with fresh batches, the term k = 0
       without a product.
    3. x -= gamma (grad_xz G_b v + grad_x F_c).

    Args:
        step_size: rho; 0.1 as published.
        inner_steps: T.
        terms: K, products in the series.
        ratio, batch_size, seed: see :class:`StochasticMethod`.

    Raises:
        ValueError: if a number is out of range.

    Reference: Ji, Yang, Liang, "Bilevel optimization: convergence analysis and enhanced design", ICML 2021.
    """

    terms: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terms < 0:
            raise ValueError(f"StocBiO.terms: found {self.terms}, expected a number that is not negative")

    def adjoint(self, draws: Draws, z: Tensor, x: Tensor, v: Tensor, slope: Tensor, rho: float) -> Tensor:
        """Step 2; the present v is not used."""
        term, total = slope, slope
        for _ in range(self.terms):
            batch = draws.lower_batch()
            term = term - (rho * batch.scale) * draws.hessian_product(z, x, term, batch)
            total = total + term
        return -rho * total


@dataclass(frozen=True, kw_only=True)
class AmIGO(_DoubleLoop):
    """T SGD steps of z; T warm-started SGD steps of the adjoint with one batch of F; one step of x.

    1. T times: z -= rho grad_z G_b, each with a fresh batch.
    2. T times: v -= rho (grad_zz G_b v + grad_z F_c), each with a fresh b and the same c.
    3. x -= gamma (grad_xz G_b v + grad_x F_c).

    Args:
        step_size: rho; 0.1 as published.
        inner_steps: T.
        ratio, batch_size, seed: see :class:`StochasticMethod`.

    Raises:
        ValueError: if a number is out of range.

    Reference: Arbel, Mairal, "Amortized implicit differentiation for stochastic bilevel optimization", ICLR 2022.
    """

    def adjoint(self, draws: Draws, z: Tensor, x: Tensor, v: Tensor, slope: Tensor, rho: float) -> Tensor:
        """Step 2."""
        for _ in range(self.inner_steps):
            batch = draws.lower_batch()
            v = v - rho * (batch.scale * draws.hessian_product(z, x, v, batch) + slope)
        return v
