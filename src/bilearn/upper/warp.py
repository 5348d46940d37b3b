"""A change of variables that flattens the tails of logarithmic and similar coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.parameters import ParameterVector


@dataclass(frozen=True)
class Warp:
    """phi_i(s) = (exp(c_i s) - 1) / c_i, or s where the rate c_i is zero: phi(0) = 0 and phi'(0) = 1.

    A number that is optimized through its logarithm and tends to its lower bound has a gradient that decays like
    exp(c s): in the coordinate, Newton steps stay near 1/c for ever and a quadratic model overrates long steps, while F is
    nearly linear in phi, the natural value up to scale. For a coordinate map v the rate is v''/v': log(10) for a decimal
    logarithm, 1 - 2 p for a logit, 0 for the identity.

    Attributes:
        rate: (P,) c, float64 on the CPU.
    """

    rate: Tensor

    def __call__(self, move: Tensor) -> Tensor:
        """phi(s)."""
        return torch.where(self.rate == 0, move, torch.expm1(self.rate * move) / self._divisor)

    def derivative(self, move: Tensor) -> Tensor:
        """phi'(s)."""
        return torch.exp(self.rate * move)

    def inverse(self, warped: Tensor) -> Tensor:
        """s with phi(s) = warped, for a value that phi takes."""
        return torch.where(self.rate == 0, warped, torch.log1p(self.rate * warped) / self._divisor)

    @property
    def _divisor(self) -> Tensor:
        return torch.where(self.rate == 0, 1.0, self.rate)


def descent_warp(parameters: ParameterVector, theta: Tensor, gradient: Tensor) -> Warp:
    """The warp of the coordinates at theta (P,), used only where descent runs into the flat tail (c_i g_i > 0).

    Where descent runs up the exponential, the coordinate itself is the safer variable. At an interior stationary point
    both choices have the same second derivative, so the choice does not disturb fast local convergence.
    """
    rate = coordinate_rates(parameters, theta)
    return Warp(torch.where(rate * gradient > 0, rate, torch.zeros_like(rate)))


def coordinate_rates(parameters: ParameterVector, theta: Tensor) -> Tensor:
    """(P,) v''/v' of the map v from each coordinate to its natural value, float64 on the CPU; zero for the identity."""
    rates = []
    with torch.enable_grad():
        for s in parameters.slots:
            point = theta[s.start : s.stop].detach().to("cpu", torch.float64).requires_grad_(True)
            natural = s.coordinate(point.reshape(s.parameter.shape))
            (first,) = torch.autograd.grad(natural.sum(), point, create_graph=True)
            second = torch.zeros_like(point)
            if first.requires_grad:
                (second,) = torch.autograd.grad(first.sum(), point, materialize_grads=True)
            rates.append(second / first.detach())
    return torch.cat(rates)
