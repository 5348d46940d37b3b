"""Minimum-Frobenius-norm interpolation on a few points, through its Lagrange functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ASCENTS = 3
_DEFECT = 1e-6


@dataclass(frozen=True)
class Lagrange:
    """The functions l_j(s) = c_j + g_j's + s'H_j s/2 with l_j(node_i) = 1 where i = j and 0 elsewhere.

    Among all such quadratics each has the smallest Frobenius norm of H_j; with n + 1 nodes H_j = 0, which is linear
    interpolation, and with 2n + 1 nodes along the axes every H_j is diagonal. The interpolant of any data d_j is
    sum_j d_j l_j, whether the d_j are numbers or vectors. Everything is float64 on the CPU.

    Attributes:
        nodes: (m, n) displacements; n + 1 <= m.
        constants: (m,) c.
        slopes: (m, n) g.
        curvatures: (m, n, n) H.

    Reference:
        Conn, Scheinberg, Vicente, Introduction to Derivative-Free Optimization (2009), chapters 3 and 5.
    """

    nodes: Tensor
    constants: Tensor
    slopes: Tensor
    curvatures: Tensor

    @classmethod
    def of(cls, nodes: Tensor) -> Lagrange | None:
        """Solve the optimality system [W A; A' 0] with W_ij = (y_i'y_j)^2/2 and A = [1 Y]; None where it is singular.

        Args:
            nodes: (m, n) displacements.
        """
        count, size = nodes.shape
        reach = float(nodes.abs().max())
        if count <= size or reach == 0.0:
            return None
        unit = nodes / reach
        system = nodes.new_zeros(count + 1 + size, count + 1 + size)
        system[:count, :count] = 0.5 * (unit @ unit.T).square()
        system[:count, count] = system[count, :count] = 1.0
        system[:count, count + 1 :] = unit
        system[count + 1 :, :count] = unit.T
        right = torch.eye(count + 1 + size, count, dtype=nodes.dtype)
        answer, failed = torch.linalg.solve_ex(system, right)
        if int(failed) or not bool(answer.isfinite().all()):
            return None
        weights, constants, slopes = answer[:count], answer[count], answer[count + 1 :]
        curvatures = torch.einsum("ij,ik,il->jkl", weights, unit, unit)
        found = cls(nodes, constants, slopes.T / reach, curvatures / reach**2)
        defect = torch.stack([found(node) for node in nodes]) - torch.eye(count, dtype=nodes.dtype)
        return found if float(defect.abs().max()) <= _DEFECT else None

    def __call__(self, move: Tensor) -> Tensor:
        """(m,) values at the displacement s (n,)."""
        return self.constants + self.slopes @ move + 0.5 * (self.curvatures @ move) @ move

    def extremes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Largest |l_j| found in a box around zero, and where.

        A corner of the box maximizes a linear l_j exactly; for a quadratic one corners are improved by following its
        gradient, upward and downward.

        Args:
            lower, upper: (n,) the box.

        Returns:
            (m,) values and (m, n) points.
        """
        best = self.constants.abs()
        where = torch.zeros_like(self.slopes)
        for sign in (1.0, -1.0):
            point = torch.zeros_like(self.slopes)
            for _ in range(_ASCENTS):
                slope = sign * (self.slopes + torch.einsum("jkl,jl->jk", self.curvatures, point))
                point = torch.where(slope > 0, upper, lower)
                linear = (self.slopes * point).sum(1)
                value = (
                    self.constants + linear + 0.5 * torch.einsum("jk,jkl,jl->j", point, self.curvatures, point)
                ).abs()
                improved = value > best
                best = torch.where(improved, value, best)
                where = torch.where(improved[:, None], point, where)
        return best, where
