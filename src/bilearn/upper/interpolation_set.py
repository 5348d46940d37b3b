"""Which of the evaluated points a model interpolates, and whether that makes it fully linear."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.upper.interpolation import Lagrange

_REACH = 2.0
_PIVOT = 0.1
_POISED = 25.0


@dataclass(frozen=True)
class InterpolationSet:
    """Points chosen around the first one, which is the current iterate.

    Attributes:
        chosen: their indices, 0 first.
        lagrange: their Lagrange functions, or None where directions are missing.
        fully_linear: whether n of them lie within twice the radius and span all directions, each at least a tenth of the
            radius (less for more than four parameters) away from the span of those before: then the errors of the linear
            interpolant and of its gradient are at most a constant times radius^2 and radius.
        missing: (n,) how much of each coordinate direction the near points do not span, between 0 and 1; None if the
            set is fully linear.
    """

    chosen: list[int]
    lagrange: Lagrange | None
    fully_linear: bool
    missing: Tensor | None

    @classmethod
    def choose(cls, nodes: Tensor, radius: float, limit: int, reach: float = 10.0) -> InterpolationSet:
        """Choose among the evaluated points.

        1. From the nearest to the farthest, take a point within twice the radius if it adds a direction.
        2. Complete what is missing from points farther away, up to ``reach`` times the radius; such a set is not fully linear.
        3. Add more points, the nearest first, as long as the Lagrange functions stay bounded in the trust region; at most
           ``limit`` points in all.

        Args:
            nodes: (m, n) displacements from the current iterate, in units of the trust region; the first is zero.
            radius: of the trust region.
            limit: largest number of points, at least n + 1.
            reach: distance in radii beyond which points are ignored.

        Reference:
            Wild, Regis, Shoemaker, ORBIT, SIAM J. Sci. Comput. 30 (2008), algorithms 4.1 and 4.2.
        """
        size = nodes.shape[1]
        distance = nodes.abs().amax(1)
        pivot = min(_PIVOT, 2 * _PIVOT / size**0.5) * radius
        order = [j for j in distance.argsort().tolist() if j != 0 and float(distance[j]) <= reach * radius]
        near = [j for j in order if float(distance[j]) <= _REACH * radius]
        span = torch.zeros(0, size, dtype=nodes.dtype)
        basis, span = _extend([], span, nodes, near, pivot)
        fully_linear = len(basis) == size
        missing = None if fully_linear else _complement(span)
        basis, span = _extend(basis, span, nodes, [j for j in order if j not in basis], pivot)
        chosen = [0, *basis]
        if len(basis) < size:
            return cls(chosen, None, False, missing)
        lagrange = Lagrange.of(nodes[chosen])
        edge = torch.full((size,), radius, dtype=nodes.dtype)
        for j in order:
            if len(chosen) >= limit or lagrange is None:
                break
            if j in chosen:
                continue
            larger = Lagrange.of(nodes[[*chosen, j]])
            if larger is not None and float(larger.extremes(-edge, edge)[0].max()) <= _POISED:
                chosen, lagrange = [*chosen, j], larger
        return cls(chosen, lagrange, fully_linear and lagrange is not None, missing)


def _extend(
    basis: list[int], span: Tensor, nodes: Tensor, candidates: list[int], threshold: float
) -> tuple[list[int], Tensor]:
    """Candidates whose distance from the span of the chosen ones is at least ``threshold``, one after the other."""
    basis = list(basis)
    for j in candidates:
        if len(basis) == nodes.shape[1]:
            break
        rest = nodes[j] - span.T @ (span @ nodes[j])
        rest = rest - span.T @ (span @ rest)
        length = float(rest.norm())
        if length >= threshold:
            basis.append(j)
            span = torch.cat((span, rest[None] / length))
    return basis, span


def _complement(span: Tensor) -> Tensor:
    """Diagonal of the projection onto what is orthogonal to the span: how much of each coordinate direction is missing."""
    return (1.0 - span.square().sum(0)).clamp(min=0.0).sqrt()
