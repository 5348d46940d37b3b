"""Zeroth-order smoothing: slopes of the losses along random directions of theta."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.differences import central_slopes
from bilearn.hypergradient.estimator import UNKNOWN_BOUND, Hypergradient, HypergradientEstimator
from bilearn.hypergradient.lower_stage import loss_interval
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector


@dataclass(frozen=True, kw_only=True)
class ZerothOrder(HypergradientEstimator):
    """mean_k (f(theta + s u_k) - f(theta - s u_k)) / (2 s) u_k over K random directions with E u u' = I.

    Nothing is differentiated: f may be any objective with a solver, nonsmooth and nonconvex ones included. The mean over the
    directions is the gradient of a smoothed f (averaged over a Gaussian or a ball of size s), which differs from grad f by
    O(s^2) where f is smooth. Its variance is about (P + 1) / K |grad f|^2 for P parameters with independent directions,
    (P - 1) / K |grad f|^2 on the sphere; "orthogonal" takes random orthonormal directions times sqrt(P), in as many
    frames as needed: variance (P / K - 1) |grad f|^2 for K <= P, zero for K = P (finite differences in a rotated frame).

    The directions depend on ``seed`` and on theta alone: the same call gives the same answer, all batches at one theta share
    them, and two points draw independently. The bound is infinite: bias and variance are not bounded by anything declared.

    Args:
        directions: K >= 1; 2 K + 1 solves.
        step: s, in coordinates. It must be large against (accuracy of f) / |grad f|.
        distribution: "gaussian", "sphere" (uniform, of length sqrt(P)) or "orthogonal".
        seed: of the directions.
        distance: accuracy of the lower level relative to |x|.

    Raises:
        ValueError: if a number is out of range.

    References:
        Nesterov, Spokoiny, "Random gradient-free minimization of convex functions", Found. Comput. Math. 2017.
        Sow, Ji, Liang, "On the convergence theory for Hessian-free bilevel algorithms", NeurIPS 2022.
    """

    directions: int = 8
    step: float = 1e-3
    distribution: Literal["gaussian", "sphere", "orthogonal"] = "orthogonal"
    seed: int = 0
    distance: float = 1e-10

    def __post_init__(self) -> None:
        if self.directions < 1:
            raise ValueError(f"directions: found {self.directions}, expected at least 1")
        for name in ("step", "distance"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}: found {value}, expected a positive number")
        if self.distribution not in ("gaussian", "sphere", "orthogonal"):
            raise ValueError(
                f"distribution: found {self.distribution!r}, expected 'gaussian', 'sphere' or 'orthogonal'"
            )

    def estimate(
        self,
        energy: Energy,
        loss: UpperLoss,
        y: Tensor,
        target: Tensor,
        parameters: ParameterVector | None = None,
        solver: LowerSolver | None = None,
        x0: Tensor | None = None,
        adjoint0: Tensor | None = None,
        accuracy: float | None = None,
        lower_tolerance: float | None = None,
    ) -> Hypergradient:
        """See :meth:`HypergradientEstimator.estimate`; ``adjoint0`` and ``lower_tolerance`` have no effect."""
        vector = ParameterVector(energy) if parameters is None else parameters
        rows = self.draw(vector.get())
        found = central_slopes(energy, loss, y, target, vector, solver, x0, rows, self.step, self.distance)
        gradient = (found.along[:, None] * rows).mean(0)
        losses, low, high = loss_interval(loss, found.center, target)
        message = ""
        if _batch.size(y) and not bool(torch.isfinite(gradient).all()):
            message = "a non-finite value appeared"
        elif accuracy is not None:
            message = (
                f"the requested gradient accuracy {accuracy:.3g} cannot be certified: the gradient of a smoothed objective "
                f"is estimated from {self.directions} random directions"
            )
        return Hypergradient(
            losses, low, high, gradient, UNKNOWN_BOUND, False, found.center, None, None, message, found.cost
        )

    def draw(self, theta: Tensor) -> Tensor:
        """(K, P) directions at theta (P,), with E u u' = I."""
        count = theta.numel()
        bits = theta.detach().double().cpu().numpy().tobytes()
        generator = torch.Generator().manual_seed(zlib.crc32(bits, self.seed % 2**32))
        normal = torch.randn(self.directions, count, generator=generator, dtype=torch.float64)
        if self.distribution == "orthogonal":
            rows = math.sqrt(count) * torch.cat([_orthonormal(part) for part in normal.split(count)])
        elif self.distribution == "sphere":
            rows = math.sqrt(count) * normal / torch.linalg.vector_norm(normal, dim=1, keepdim=True)
        else:
            rows = normal
        return rows.to(theta)


def _orthonormal(normal: Tensor) -> Tensor:
    """(K, P) orthonormal rows, uniformly distributed, from at most P independent Gaussian ones."""
    frame, triangle = torch.linalg.qr(normal.T)
    return (frame * triangle.diagonal().sign()).T
