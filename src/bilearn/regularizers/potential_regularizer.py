"""alpha * sum_j phi(|(K x)_j|; nu) + ridge/2 |x|^2 with an analysis operator K: values, derivatives and certificates.

With u = K x, t = |u|^2 per pixel (summed over fields where isotropic, over channels where coupled), a = alpha first(t) and
b = alpha cross(t) <= 0:

    grad  = K' (a u) + ridge x
    H v   = K' (a K v + b u <u, K v>) + ridge v  =  K' (a (K v - e <e, K v>)) + ridge v,   e = u sqrt(-b/a)

a and e are computed once per Hessian; a product then moves each byte once. Outside of grad mode all intermediate fields
live in reused memory.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bilearn import _batch
from bilearn._spectral import Basis
from bilearn._workspace import Workspace
from bilearn.curvature import Constant, Curvature
from bilearn.energy import Advance
from bilearn.parameters import collect
from bilearn.regularizers.analysis import AnalysisOperator
from bilearn.regularizers.potentials import Potential
from bilearn.regularizers.regularizer import Regularizer, Symbol, TermHessian

LN10 = math.log(10.0)


class PotentialRegularizer(Regularizer):
    """Base of the regularizers that penalize finite differences or wavelet coefficients through a convex potential.

    A subclass says what alpha, nu and the ridge are (``scale``, ``shape``, ``ridge``) and how they are learned
    (``cross_factors``).

    Args:
        analysis: the operator K.
        potential: phi.
        isotropic: magnitudes over all fields jointly (True; for differences: over all axes) or field by field.
        coupled: magnitudes over all channels jointly (complex images in two channels, vectorial TV).
    """

    def __init__(
        self, analysis: AnalysisOperator, potential: Potential, isotropic: bool = True, coupled: bool = False
    ) -> None:
        super().__init__()
        self.analysis, self.potential = analysis, potential
        self.isotropic, self.coupled = isotropic, coupled
        self._workspace = Workspace()

    def scale(self, like: Tensor) -> Tensor:
        """alpha, a scalar or a map that broadcasts against x, in x's dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define scale")

    def shape(self, like: Tensor) -> Tensor:
        """nu, a scalar in x's dtype."""
        return torch.ones((), dtype=like.dtype, device=like.device)

    def ridge(self, like: Tensor) -> Tensor:
        """Coefficient of 1/2 |x|^2, a scalar or a map in x's dtype."""
        return torch.zeros((), dtype=like.dtype, device=like.device)

    def cross_factors(self, like: Tensor) -> tuple[bool, bool, Tensor]:
        """Whether log10 alpha and log10 nu are learned, and the 2-norm over the learned parameters of d(ridge)/d(theta)."""
        raise NotImplementedError(f"{type(self).__name__} must define cross_factors")

    def _groups(self) -> list[list[int]]:
        count = self.analysis.fields
        return [list(range(count))] if self.isotropic else [[k] for k in range(count)]

    def _magnitude(self, fields: tuple[Tensor, ...], group: list[int]) -> Tensor:
        t = fields[group[0]].square()
        for k in group[1:]:
            t = t + fields[k].square()
        return t.sum(-self.analysis.axes - 1, keepdim=True) if self.coupled else t

    def forward(self, x: Tensor) -> Tensor:
        """Value (B,)."""
        fields = self.analysis(x)
        alpha, nu = self.scale(x), self.shape(x)
        value = 0.5 * _batch.total(self.ridge(x) * x.square())
        for group in self._groups():
            value = value + _batch.total(alpha * self.potential.value(self._magnitude(fields, group), nu))
        return value

    def grad(self, x: Tensor) -> Tensor:
        """K'(a u) + ridge x."""
        if not torch.is_grad_enabled():
            return self.add_grad(torch.zeros_like(x), x)
        fields = self.analysis(x)
        alpha, nu = self.scale(x), self.shape(x)
        flux: list[Tensor] = list(fields)
        for group in self._groups():
            a = alpha * self.potential.first(self._magnitude(fields, group), nu)
            for k in group:
                flux[k] = a * fields[k]
        return self.analysis.adjoint(flux) + self.ridge(x) * x

    def add_grad(self, out: Tensor, x: Tensor) -> Tensor:
        """out + grad R(x), in the memory of ``out`` and of the workspace outside of grad mode."""
        if torch.is_grad_enabled():
            return out + self.grad(x)
        fields = self._fill(x)
        alpha, nu = self.scale(x), self.shape(x)
        for group in self._groups():
            a = self.potential.fill_first(self._fill_magnitude(fields, group), nu).mul_(alpha)
            for k in group:
                fields[k].mul_(a)
        return self._add_ridge(self.analysis.add_adjoint(out, fields), x)

    def _add_ridge(self, out: Tensor, x: Tensor) -> Tensor:
        return out.addcmul_(self.ridge(x).detach(), x)

    def _fill(self, x: Tensor) -> list[Tensor]:
        fields = [self._workspace.take(f"field{k}", x) for k in range(self.analysis.fields)]
        self.analysis.fill(fields, x)
        return fields

    def _fill_magnitude(self, fields: list[Tensor], group: list[int]) -> Tensor:
        t = self._workspace.take("magnitude", fields[0])
        torch.mul(fields[group[0]], fields[group[0]], out=t)
        for k in group[1:]:
            t.addcmul_(fields[k], fields[k])
        return t.sum(-self.analysis.axes - 1, keepdim=True) if self.coupled else t

    def hessian(self, x: Tensor) -> TermHessian:
        """Second derivative at x, with a and e computed once."""
        amplitudes, unit, _ = self._linearize(x)
        return PotentialHessian(self, amplitudes, unit, self.ridge(x).detach())

    def newton_model(self, x: Tensor, memory: Any) -> tuple[TermHessian, Advance]:
        """Primal-dual linearization of Chan, Golub and Mulet (SIAM J. Sci. Comput. 20, 1999, sections 2 and 3).

        The flux direction e(x) is replaced by an independent dual field w with |w| <= 1, which gives the matrix
        K' a (I - (w e' + e w')/2) K, positive semidefinite, and the update w <- e + r (K d - w <e, K d>), projected onto
        |w| <= 1, where e = r u. Full steps converge from afar where Newton's method on h creeps (|u| much larger than nu).
        Starting with w = 0, the first step is one of lagged diffusivity.
        """
        amplitudes, unit, roots = self._linearize(x)
        dual = [torch.zeros_like(e) for e in unit] if memory is None else list(memory)
        hessian = PrimalDualHessian(self, amplitudes, unit, self.ridge(x).detach(), dual)

        def advance(direction: Tensor) -> tuple[Tensor, ...]:
            fields = [torch.empty_like(direction) for _ in unit]
            self.analysis.fill(fields, direction)
            for group, root in zip(self._groups(), roots, strict=True):
                along = self._inner(fields, unit, group, torch.empty_like(direction))
                for k in group:
                    fields[k].addcmul_(dual[k], along, value=-1.0).mul_(root).add_(unit[k])
                size = self._magnitude(tuple(fields), group).sqrt_().clamp_(min=1.0)
                for k in group:
                    fields[k].div_(size)
            return tuple(fields)

        return hessian, advance

    def _linearize(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """a per group, e per axis and r = |e|/|u| per group."""
        with torch.no_grad():
            fields = [torch.empty_like(x) for _ in range(self.analysis.fields)]
            self.analysis.fill(fields, x)
            alpha, nu = self.scale(x), self.shape(x)
            amplitudes, roots = [], []
            for group in self._groups():
                t = self._fill_magnitude(fields, group)
                first, root = self.potential.first_and_root(t, nu)
                for k in group:
                    fields[k].mul_(root)
                amplitudes.append(first * alpha)
                roots.append(root.clone())
            return amplitudes, fields, roots

    def _inner(self, fields: list[Tensor], others: list[Tensor], group: list[int], out: Tensor) -> Tensor:
        """<others, fields> per pixel, in the memory of ``out`` unless channels are summed."""
        torch.mul(fields[group[0]], others[group[0]], out=out)
        for k in group[1:]:
            out.addcmul_(fields[k], others[k])
        return out.sum(-self.analysis.axes - 1, keepdim=True) if self.coupled else out

    def curvature(self, like: Tensor) -> Curvature:
        """Constants from |K|^2 <= 4 per axis; differentiable in the parameters where grad mode is on."""
        alpha, nu, ridge = self.scale(like), self.shape(like), self.ridge(like)
        top = alpha.max()
        square = self.analysis.norm_squared
        first = self.potential.first_max(nu)
        third = self.potential.third(torch.zeros_like(nu), nu)
        zero = torch.zeros((1,), dtype=like.dtype, device=like.device)
        learned_alpha, learned_nu, ridge_slope = self.cross_factors(like)
        slope = self.potential.shape_slope(zero, nu)
        cross = ridge_slope + LN10 * top * square * (
            (first if learned_alpha else 0.0) + (slope.max() if learned_nu else 0.0)
        )
        return Curvature(
            Constant(ridge.min()),
            Constant(top * first * square + ridge.max()),
            Constant(top * third * square**1.5),
            Constant(cross),
        )

    def _floor(self, fields: tuple[Tensor, ...], group: list[int], radius: Tensor) -> Tensor:
        """Smallest magnitude that each pixel can take while x moves by at most radius."""
        reach = radius * self.analysis.local_norm
        magnitude = torch.sqrt(self._magnitude(fields, group))
        return (magnitude - _batch.expand(reach, magnitude)).clamp(min=0.0)

    def hessian_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """|K| * max_j(alpha third_j |(K v)_j|) * |K| radius, with third_j taken over what pixel j can reach."""
        with torch.no_grad():
            lead = v.ndim - x.ndim + 1
            fields, directions = self.analysis(x), self.analysis(v)
            alpha, nu = self.scale(x), self.shape(x)
            worst = torch.zeros(v.shape[:lead], dtype=x.dtype, device=x.device)
            for group in self._groups():
                third = alpha * self.potential.third(self._floor(fields, group, radius), nu)
                worst = torch.maximum(
                    worst, _batch.max_abs(third * torch.sqrt(self._magnitude(directions, group)), lead)
                )
            return worst * self.analysis.norm_squared * radius

    def cross_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Change of <d/dtheta grad R, v>: Lipschitz constants of the fluxes over what each pixel can reach.

        The changes of all pixels that share one coordinate of alpha (a learned alpha is the number ``self.alpha``) add up
        (2-norm against |K| radius); over the coordinates the largest counts.
        """
        with torch.no_grad():
            learned_alpha, learned_nu, ridge_slope = self.cross_factors(x)
            total = ridge_slope * radius * _batch.norm(v)
            if not (learned_alpha or learned_nu):
                return total
            fields, directions = self.analysis(x), self.analysis(v)
            alpha, nu = self.scale(x), self.shape(x)
            square_alpha = torch.zeros_like(radius)
            square_nu = torch.zeros_like(radius)
            for group in self._groups():
                low = self._floor(fields, group, radius)
                size = alpha * torch.sqrt(self._magnitude(directions, group))
                if learned_alpha:
                    change = self.potential.first(low.square(), nu) * size
                    square_alpha += _batch.max_abs(collect(self, "alpha", change.square()))
                if learned_nu:
                    square_nu += _batch.norm(self.potential.shape_slope(low, nu) * size) ** 2
            reach = LN10 * math.sqrt(self.analysis.norm_squared) * radius
            return total + reach * torch.sqrt(square_alpha + square_nu)

    def rounding(self, x: Tensor) -> Tensor:
        """Relative rounding of the fluxes: |a u| <= min(alpha phi'_max, alpha first_max |u|) per pixel, summed by K'.

        Differences of neighbors and their magnitudes carry a relative error of a few unit roundoffs, so no factor 1/nu.
        The absolute error of other operators is multiplied by the steepest slope, alpha first_max, on its way to the flux.
        """
        unit = torch.finfo(x.dtype).eps
        with torch.no_grad():
            alpha, nu = self.scale(x).abs().max(), self.shape(x)
            norm = _batch.norm(x)
            root = math.sqrt(self.analysis.norm_squared)
            steep = self.potential.first_max(nu) * root * norm
            flat = torch.full_like(norm, math.sqrt(_batch.samples(x) * self.analysis.fields))
            flux = alpha * (torch.minimum(steep, flat) if self.potential.has_shape else steep)
            factor = self.analysis.rounding_factor
            error = (1 + factor) * flux + factor * alpha * steep
            return 8 * unit * (root * error + self.ridge(x).abs().max() * norm)


def _cast(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    return [t.to(dtype) for t in tensors]


class PotentialHessian(TermHessian):
    """Second derivative of a :class:`PotentialRegularizer` at one point."""

    def __init__(
        self, regularizer: PotentialRegularizer, amplitudes: list[Tensor], unit: list[Tensor], ridge: Tensor
    ) -> None:
        self._regularizer = regularizer
        self._amplitudes, self._unit, self._ridge = amplitudes, unit, ridge
        self._workspace = Workspace()

    def __call__(self, v: Tensor) -> Tensor:
        return self.add_to(torch.zeros_like(v), v)

    def add_to(self, out: Tensor, v: Tensor) -> Tensor:
        """out += H v."""
        regularizer, analysis = self._regularizer, self._regularizer.analysis
        fields = [self._workspace.take(f"field{k}", v) for k in range(analysis.fields)]
        analysis.fill(fields, v)
        inner = self._workspace.take("inner", v)
        for group, a in zip(regularizer._groups(), self._amplitudes, strict=True):
            along = regularizer._inner(fields, self._unit, group, inner)
            for k in group:
                fields[k].addcmul_(self._unit[k], along, value=-1.0).mul_(a)
        return analysis.add_adjoint(out, fields).addcmul_(self._ridge, v)

    def select(self, index: Tensor) -> TermHessian:
        amplitudes = [_batch.select(a, index) for a in self._amplitudes]
        return PotentialHessian(
            self._regularizer, amplitudes, [_batch.select(e, index) for e in self._unit], self._ridge
        )

    def cast(self, dtype: torch.dtype) -> TermHessian | None:
        """Its fields in another precision."""
        return PotentialHessian(
            self._regularizer, _cast(self._amplitudes, dtype), _cast(self._unit, dtype), self._ridge.to(dtype)
        )

    @cached_property
    def _weights(self) -> list[Tensor]:
        weights: list[Tensor] = [torch.empty(0)] * len(self._unit)
        for group, a in zip(self._regularizer._groups(), self._amplitudes, strict=True):
            for k in group:
                weights[k] = a * (1 - self._unit[k].square()).clamp(min=0.0)
        return weights

    def diagonal(self) -> Tensor | None:
        """Diagonal of K' a (I - e e') K without the products between different axes, exact in 1-D and where e = 0."""
        diagonal = self._regularizer.analysis.normal_diagonal(self._weights)
        return None if diagonal is None else diagonal + self._ridge

    def off_diagonal(self) -> Tensor | None:
        """Exact coupling in 1-D with uncoupled channels."""
        if self._regularizer.coupled or self._regularizer.analysis.axes != 1:
            return None
        return self._regularizer.analysis.coupling(self._weights[0])

    def symbol(self, basis: Basis, like: Tensor) -> Symbol | None:
        """Mean weight of each sample times the symbol of K'K, plus the ridge.

        Exact for a quadratic potential with one weight where the basis has the boundary condition of K.
        """
        regularizer = self._regularizer
        if basis.axes != regularizer.analysis.axes:
            return None
        weights = self._weights
        mean = torch.stack([_batch.total(w) / _batch.samples(w) for w in weights]).mean(0)
        uniform = regularizer.scale(like).ndim == 0 and self._ridge.ndim == 0
        exact = uniform and not regularizer.potential.has_shape and regularizer.analysis.matches(basis)
        normal = regularizer.analysis.normal_symbol(basis, like)
        return Symbol(_batch.expand(mean, like) * normal + self._ridge.mean(), exact)


class PrimalDualHessian(PotentialHessian):
    """K' a (I - (w e' + e w')/2) K + ridge with a dual field w, |w| <= 1; the Hessian where w = e."""

    def __init__(
        self,
        regularizer: PotentialRegularizer,
        amplitudes: list[Tensor],
        unit: list[Tensor],
        ridge: Tensor,
        dual: list[Tensor],
    ) -> None:
        super().__init__(regularizer, amplitudes, unit, ridge)
        self._dual = dual

    def add_to(self, out: Tensor, v: Tensor) -> Tensor:
        """out += H v."""
        regularizer, analysis = self._regularizer, self._regularizer.analysis
        fields = [self._workspace.take(f"field{k}", v) for k in range(analysis.fields)]
        analysis.fill(fields, v)
        for group, a in zip(regularizer._groups(), self._amplitudes, strict=True):
            along, across = (
                regularizer._inner(fields, other, group, self._workspace.take(role, v))
                for role, other in (("along", self._unit), ("across", self._dual))
            )
            for k in group:
                fields[k].addcmul_(self._dual[k], along, value=-0.5).addcmul_(self._unit[k], across, value=-0.5).mul_(a)
        return analysis.add_adjoint(out, fields).addcmul_(self._ridge, v)

    def select(self, index: Tensor) -> TermHessian:
        parts = (tuple(self._amplitudes), tuple(self._unit), tuple(self._dual))
        amplitudes, unit, dual = (list(p) for p in _batch.select(parts, index))
        return PrimalDualHessian(self._regularizer, amplitudes, unit, self._ridge, dual)

    def cast(self, dtype: torch.dtype) -> TermHessian | None:
        """Its fields in another precision."""
        amplitudes, unit, dual = (_cast(p, dtype) for p in (self._amplitudes, self._unit, self._dual))
        return PrimalDualHessian(self._regularizer, amplitudes, unit, self._ridge.to(dtype), dual)

    @cached_property
    def _weights(self) -> list[Tensor]:
        weights: list[Tensor] = [torch.empty(0)] * len(self._unit)
        for group, a in zip(self._regularizer._groups(), self._amplitudes, strict=True):
            for k in group:
                weights[k] = torch.addcmul(a, a * self._unit[k], self._dual[k], value=-1.0)
        return weights
