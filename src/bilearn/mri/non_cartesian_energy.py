"""Readouts whose locations are learned off the grid: data are simulated where the samples are."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bilearn import _batch
from bilearn._spectral import as_channels, as_complex
from bilearn.curvature import Constant, Curvature
from bilearn.energy import Advance, Energy, Hessian
from bilearn.mri.non_cartesian import NonCartesian, attainable, nonuniform_adjoint, nonuniform_fourier
from bilearn.mri.patterns import GriddedPattern
from bilearn.regularizers import Regularizer, TermHessian
from bilearn.variational import VariationalHessian


class NonCartesianEnergy(Energy):
    """h(x; theta) = 1/2 sum_t w_t |(A_theta x - y_theta)_t|^2 + R(x),  y_theta = A_theta x* + n.

    A_theta is :class:`bilearn.mri.NonCartesian` at the locations of a pattern, w its sample weights. Moving a sample changes
    what would have been measured there, so data measured once cannot be used: they are simulated from the true image x*, with
    noise n that belongs to the sample, wherever it moves. What a solver gets as data y is therefore (x*, n) in one tensor,
    made by :meth:`simulate`, and h = 1/2 sum_t w_t |(A_theta (x - x*) - n)_t|^2 + R(x): derivatives in theta, through data and
    operator together, are exact up to the accuracy of finufft. Nothing else of x* reaches the reconstruction.

    Strongly convex with the constant of R, which needs a ridge.

    Args:
        trajectory: locations, for instance :class:`bilearn.mri.patterns.RadialPattern` or ``TrajectoryPattern``; its
            interpolation on the grid is not used.
        regularizer: R, for images of two channels.
        accuracy: relative accuracy asked of finufft.

    Raises:
        ValueError: when called with data that do not fit.

    Reference:
        Wang, Luo, Nielsen, Noll, Fessler, B-spline parameterized joint optimization of reconstruction and k-space
        trajectories (BJORK), IEEE TMI 41, 2022, there with networks and approximate derivatives.
    """

    def __init__(self, trajectory: GriddedPattern, regularizer: Regularizer, accuracy: float = 1e-12) -> None:
        super().__init__()
        self.trajectory, self.regularizer, self.accuracy = trajectory, regularizer, accuracy
        self._known: list[NonCartesian] = []

    def simulate(self, truth: Tensor, sigma: float, seed: int) -> Tensor:
        """(B, 2 H W + 2 T) the images and the noise of their samples, as data of this energy.

        Args:
            truth: (B, 2, H, W).
            sigma: standard deviation of real and imaginary part of the noise.
            seed: of the noise.
        """
        generator = torch.Generator().manual_seed(seed)
        shape = (len(truth), 2 * len(self.trajectory.location_norms()))
        noise = torch.randn(shape, generator=generator, dtype=torch.float64).to(truth)
        return torch.cat((truth.flatten(1), sigma * noise), 1)

    def operator(self) -> NonCartesian:
        """A_theta at the present locations, which the operator does not follow."""
        with torch.no_grad():
            at = self.trajectory.locations()
        if not self._known or not torch.equal(self._known[0].get_buffer("locations"), at):
            self._known = [NonCartesian(at, self.trajectory.shape, self.accuracy)]
        return self._known[0]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Value (B,)."""
        r = self._residual(x, y)
        square = r.real.square() + r.imag.square()
        return 0.5 * _batch.total(self._weights(x) * square) + self.regularizer(x)

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        """A' w (A (x - x*) - n) + R'(x)."""
        weighted = self._weights(x) * self._residual(x, y)
        back = nonuniform_adjoint(weighted, self._locations(x), self.trajectory.shape, self.accuracy)
        return self.regularizer.add_grad(as_channels(back.unsqueeze(-3), 2), x)

    def directional(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """sum_t w_t Re conj(r_t) (A v)_t + <R'(x), v>."""
        seen = nonuniform_fourier(as_complex(v, 2).squeeze(-3), self._locations(x), self.accuracy)
        product = (self._residual(x, y).conj() * seen).real
        return (self._weights(x) * product).sum() + self.regularizer.directional(x, v)

    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        """A' diag(w) A + R''(x)."""
        return self._with(self.regularizer.hessian(x), x)

    def newton_model(self, x: Tensor, y: Tensor, memory: Any) -> tuple[Hessian, Advance]:
        """The Hessian of the data term with the Newton model of R."""
        prior, advance = self.regularizer.newton_model(x, memory)
        return self._with(prior, x), advance

    def curvature(self, y: Tensor) -> Curvature:
        """mu = mu_R, L = max w |A|^2 + L_R; the cross derivative moves by at most c + its constant of R.

        With grad z_t the derivative of a value in its location, |grad A| <= kappa |A| with
        kappa = 2 pi |((H - 1) / H, (W - 1) / W)|. Let nu and omega be the norms of the derivatives of locations and weights.
        For a change d of x and a direction v, the derivative of the data term moves by at most
        sum_t w_t nu_t (|grad z(d)_t| |z(v)_t| + |z(d)_t| |grad z(v)_t|) + omega_t |z(d)_t| |z(v)_t|, so that
        c = (2 kappa max(w nu) + max omega) |A|^2.
        """
        weights, norm = self._weights(y), self.operator().norm_squared()
        prior = self.regularizer.curvature(self.start(y))
        moves = 2 * self._kappa() * (weights * self._location_norms(y)).max() + self._weight_norms(y).max()
        return Curvature(
            prior.strong_convexity,
            Constant(weights.max()).times(norm) + prior.smoothness,
            prior.hessian_lipschitz,
            Constant(moves).times(norm) + prior.cross_lipschitz,
        )

    def start(self, y: Tensor) -> Tensor:
        """A' w y_theta over max w |A|^2: the first step of gradient descent on the data term from zero."""
        with torch.no_grad():
            like = y.new_zeros(len(y), 2, *self.trajectory.shape)
            weights, operator = self._weights(y), self.operator()
            step = 1 / (weights.max() * operator.norm_squared().per_sample(like)).clamp(min=torch.finfo(y.dtype).tiny)
            data = as_channels((-weights * self._residual(like, y)).unsqueeze(-2), 1)
            return _batch.expand(step, like) * operator.A_adjoint(data)

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """Of both transforms, ten times their accuracy, and of R'."""
        with torch.no_grad():
            truth, noise = self._parts(x, y)
            square = self.operator().norm_squared().per_sample(x) * self._weights(x).max()
            unit = 10 * attainable(self.accuracy, x.dtype)
            data = 2 * square * (_batch.norm(x) + _batch.norm(truth)) + square.sqrt() * _batch.norm(noise)
            return unit * data + self.regularizer.rounding(x)

    def hessian_variation(self, x: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """That of R: the data term is quadratic."""
        return self.regularizer.hessian_variation(x, v, radius)

    def cross_variation(self, x: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """radius |A| (kappa |w nu z(v)| + |w nu grad z(v)| + |omega z(v)|), see :meth:`curvature`, and that of R."""
        with torch.no_grad():
            return radius * self._sensitivity(v, x) + self.regularizer.cross_variation(x, v, radius)

    def column_variation(self, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        """c radius, see :meth:`curvature`, and that of R."""
        with torch.no_grad():
            moves = 2 * self._kappa() * (self._weights(x) * self._location_norms(x)).max() + self._weight_norms(x).max()
            data = moves * self.operator().norm_squared().per_sample(x)
            return radius * data + self.regularizer.column_variation(x, radius)

    def cross_norm(self, x: Tensor, y: Tensor) -> Tensor | None:
        """|A| (kappa |w nu r| + |w nu grad z(x - x*)| + |omega r|), r the residual, and the bound of R."""
        prior = self.regularizer.cross_norm(x)
        if prior is None:
            return None
        with torch.no_grad():
            d = x - self._parts(x, y)[0]
            return self._sensitivity(d, x, self._residual(x, y)) + prior

    def _sensitivity(self, v: Tensor, like: Tensor, values: Tensor | None = None) -> Tensor:
        """(B,) |A| (kappa |w nu z| + |w nu grad z(v)| + |omega z|), z the transform of v unless given."""
        at, images = self._locations(like), as_complex(v, 2).squeeze(-3)
        z = nonuniform_fourier(images, at, self.accuracy) if values is None else values
        slopes = []
        for axis, n in enumerate(self.trajectory.shape):
            index = torch.arange(n, dtype=like.dtype).reshape((-1, 1) if axis == 0 else (1, -1))
            slopes.append(nonuniform_fourier(images * (2 * math.pi / n * index), at, self.accuracy).abs())
        moved = self._weights(like) * self._location_norms(like)
        norms = [(moved * z.abs()), (moved * torch.hypot(*slopes)), (self._weight_norms(like) * z.abs())]
        first, second, third = (torch.linalg.vector_norm(part, dim=-1) for part in norms)
        return self.operator().norm_squared().per_sample(like).sqrt() * (self._kappa() * first + second + third)

    def _with(self, prior: TermHessian, x: Tensor) -> VariationalHessian:
        weight = self._weights(x).detach().expand(len(x), 2, -1)
        return VariationalHessian(self.operator(), weight, prior, x)

    def _residual(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, T) A (x - x*) - n, complex."""
        truth, noise = self._parts(x, y)
        images = as_complex(x - truth, 2).squeeze(-3)
        return nonuniform_fourier(images, self._locations(x), self.accuracy) - torch.complex(noise[:, 0], noise[:, 1])

    def _parts(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        pixels, samples = 2 * math.prod(self.trajectory.shape), len(self.trajectory.location_norms())
        if y.ndim != 2 or y.shape[1] != pixels + 2 * samples:
            raise ValueError(
                f"y: found shape {tuple(y.shape)}, expected (B, {pixels + 2 * samples}): images and noise, made by simulate()"
            )
        truth, noise = y.split([pixels, 2 * samples], 1)
        return truth.reshape(-1, 2, *self.trajectory.shape), noise.reshape(-1, 2, samples)

    def _locations(self, like: Tensor) -> Tensor:
        return self.trajectory.locations().to(like.dtype)

    def _weights(self, like: Tensor) -> Tensor:
        return self.trajectory.sample_weights().to(like.dtype)

    def _location_norms(self, like: Tensor) -> Tensor:
        return self.trajectory.location_norms().to(like.dtype)

    def _weight_norms(self, like: Tensor) -> Tensor:
        return self.trajectory.weight_norms().to(like.dtype)

    def _kappa(self) -> float:
        return 2 * math.pi * math.hypot(*((n - 1) / n for n in self.trajectory.shape))
