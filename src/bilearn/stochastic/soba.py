"""SOBA and MA-SOBA: one stochastic step of all three variables at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bilearn.stochastic.finite_sum import FiniteSum
from bilearn.stochastic.method import Draws, StochasticMethod, StochasticState
from bilearn.upper.schedules import Polynomial, Schedule


@dataclass(frozen=True, kw_only=True)
class SOBA(StochasticMethod[StochasticState]):
    """Stochastic bilevel algorithm: SGD steps of z, v and x from one batch of G and one of F, all at the old point.

    1. D_z = grad_z G_b, D_v = grad_zz G_b v + grad_z F_c, D_x = grad_xz G_b v + grad_x F_c at (z_t, v_t, x_t); b, c drawn.
    2. z -= rho_t D_z, v -= rho_t D_v, x -= gamma_t D_x.

    A step costs one gradient, one Hessian and one cross product of a batch of G, and the gradients of a batch of F.
    Conditions: G strongly convex in z, derivatives Lipschitz; with rho_t, gamma_t ~ t^(-1/2),
    min_t E |grad Phi|^2 = O(log T / sqrt T). Constant steps reach a neighborhood.

    Args:
        step_size: rho_t; 0.1 (t + 1)^(-1/2) as published.
        ratio, batch_size, seed: see :class:`StochasticMethod`.

    Reference: Dagreou, Ablin, Vaiter, Moreau, "A framework for bilevel optimization that enables stochastic and global
    variance reduction algorithms", NeurIPS 2022.
    """

    step_size: Schedule = field(default_factory=lambda: Polynomial(0.1, 0.5))

    def init(self, problem: FiniteSum, z: Tensor, x: Tensor) -> StochasticState:
        return StochasticState(**self.start(problem, z, x))

    def step(self, problem: FiniteSum, state: StochasticState) -> StochasticState:
        rho, gamma = self.steps(state.iteration)
        draws = Draws(self, problem, state)
        z, v, x = descend(draws, state, rho)
        return draws.advanced(state, z=z, v=v, x=state.x - gamma * x, direction=x)


@dataclass(frozen=True, kw_only=True)
class MASOBA(StochasticMethod[StochasticState]):
    """SOBA with a moving average of the upper-level direction.

    1. D_z, D_v, D_x as in :class:`SOBA`.
    2. x -= gamma_t h_t, z -= rho_t D_z, v -= rho_t D_v, h_{t+1} = (1 - a_t) h_t + a_t D_x, a_t = min(1, average rho_t).

    Same cost as SOBA. With all steps of order T^(-1/2), min_t E |grad Phi|^2 = O(T^(-1/2)) under Lipschitz derivatives of G of
    second order only.

    Args:
        step_size: rho_t.
        average: a_t / rho_t.
        ratio, batch_size, seed: see :class:`StochasticMethod`.

    Reference: Chen, Xiao, Balasubramanian, "Optimal algorithms for stochastic bilevel optimization under relaxed smoothness
    conditions", JMLR 2024.
    """

    step_size: Schedule = field(default_factory=lambda: Polynomial(0.1, 0.5))
    average: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.average > 0:
            raise ValueError(f"MASOBA.average: found {self.average}, expected a positive number")

    def init(self, problem: FiniteSum, z: Tensor, x: Tensor) -> StochasticState:
        return StochasticState(**self.start(problem, z, x))

    def step(self, problem: FiniteSum, state: StochasticState) -> StochasticState:
        rho, gamma = self.steps(state.iteration)
        weight = min(1.0, self.average * rho)
        draws = Draws(self, problem, state)
        z, v, fresh = descend(draws, state, rho)
        direction = (1 - weight) * state.direction + weight * fresh
        return draws.advanced(state, z=z, v=v, x=state.x - gamma * state.direction, direction=direction)


def descend(draws: Draws, state: StochasticState, rho: float) -> tuple[Tensor, Tensor, Tensor]:
    """z and v after SOBA's step, and D_x."""
    below, above = draws.lower_batch(), draws.upper_batch()
    lower = draws.lower_parts(state.z, state.x, state.v, below)
    upper = draws.upper_parts(state.z, state.x, above)
    z = state.z - (rho * below.scale) * lower.gradient
    v = state.v - rho * (below.scale * lower.product + above.scale * upper.lower)
    return z, v, below.scale * lower.cross + above.scale * upper.upper
