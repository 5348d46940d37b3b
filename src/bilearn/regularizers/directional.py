"""Directional total variation: edges of a reference image of another contrast cost less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from bilearn._spectral import Basis
from bilearn.coarse_map import CoarseMap
from bilearn.regularizers.analysis import AnalysisOperator
from bilearn.regularizers.differences import Boundary, Direction, FiniteDifferences
from bilearn.regularizers.potentials import Potential
from bilearn.regularizers.smoothed_analysis import SmoothedAnalysis


class DirectionalDifferences(nn.Module, AnalysisOperator):
    """K x = (I - xi xi') D x with finite differences D and xi = D r/sqrt(eta^2 + |D r|^2) of a reference image r.

    Ehrhardt and Betcke, Multicontrast MRI reconstruction with structure-guided total variation, SIAM J. Imaging Sci. 9,
    2016. |xi| < 1, so |K| <= |D|.

    Args:
        reference: (H, W) real image r on the grid of x (the magnitude of a complex one), shared by all samples.
        eta: size of differences of r that count as an edge, in its gray values.
        boundary, direction: see :class:`FiniteDifferences`.

    Raises:
        ValueError: a reference that is not one real image, or an eta that is not positive.
    """

    axes = 2
    #: The projection of differences that are parallel to xi cancels; the error stays below 4 unit roundoffs of |D x|.
    rounding_factor = 0.5

    def __init__(
        self,
        reference: Tensor,
        eta: float = 1e-2,
        boundary: Boundary = "neumann",
        direction: Direction = "backward",
    ) -> None:
        super().__init__()
        if reference.ndim != 2 or not reference.is_floating_point():
            raise ValueError(
                f"reference: found {reference.dtype} of shape {tuple(reference.shape)}, expected one real floating-point "
                "image (H, W); take the magnitude of a complex one"
            )
        if not eta > 0:
            raise ValueError(f"eta: found {eta}, expected a positive number")
        self.differences = FiniteDifferences(2, boundary, direction)
        slopes = torch.stack(self.differences(reference.detach().double()))
        self.normals: Tensor
        self.register_buffer("normals", slopes / torch.sqrt(eta * eta + slopes.square().sum(0)))

    @property
    def fields(self) -> int:
        """One per axis."""
        return 2

    @property
    def norm_squared(self) -> float:
        """That of D."""
        return self.differences.norm_squared

    @property
    def local_norm(self) -> float:
        """That of D."""
        return self.differences.local_norm

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Fields of x, one per axis; differentiable."""
        if x.shape[-2:] != self.normals.shape[-2:]:
            raise ValueError(
                f"x: found images of {tuple(x.shape[-2:])} pixels, expected {tuple(self.normals.shape[-2:])} like the "
                "reference"
            )
        return self._project(self.differences(x))

    def _project(self, fields: tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, ...]:
        first, second = self.normals.to(fields[0].dtype)
        along = first * fields[0] + second * fields[1]
        return fields[0] - first * along, fields[1] - second * along

    def fill(self, out: list[Tensor], x: Tensor) -> None:
        """Write the fields of x into ``out``."""
        for field, value in zip(out, self(x), strict=True):
            field.copy_(value)

    def adjoint(self, fields: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
        """D'(I - xi xi') of the fields; differentiable."""
        return self.differences.adjoint(self._project(fields))

    def add_adjoint(self, out: Tensor, fields: list[Tensor]) -> Tensor:
        """out += K' fields, in place."""
        return self.differences.add_adjoint(out, list(self._project(fields)))

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor:
        """That of D times the mean of |I - xi xi'|^2/2 over pixels, in the Frobenius norm."""
        square = self.normals.to(like.dtype).square().sum(0)
        return basis.laplacian(like) * (1 + (1 - square).square()).mean() / 2

    def normal_diagonal(self, weights: list[Tensor]) -> Tensor | None:
        """Diagonal of D' diag(p) D, p the diagonal of (I - xi xi') diag(weights) (I - xi xi')."""
        first, second = self.normals.to(weights[0].dtype)
        cross = (first * second).square()
        one = (1 - first.square()).square() * weights[0] + cross * weights[1]
        two = cross * weights[0] + (1 - second.square()).square() * weights[1]
        return self.differences.normal_diagonal([one, two])


class DirectionalTV(SmoothedAnalysis):
    """R(x) = alpha * sum_j phi(|(I - d_j d_j') (D x)_j|; nu) + xi/2 |x|^2, where d is the direction of a reference's edges.

    Differences along the reference's gradient are not penalized where it has an edge. Parameters in the order alpha, xi,
    nu, each optimized as log10.

    Args:
        reference: (H, W) real image of another contrast, shared by all samples.
        alpha: weight, a number or a pixel-wise map (1, C or 1, H, W).
        xi: coefficient of the ridge, which makes the energy strongly convex.
        nu: smoothing of the absolute value, in units of the image's gray values per pixel.
        eta: size of differences of the reference that count as an edge, in its gray values.
        bracket: whether alpha multiplies the ridge too.
        learn: names of the learned parameters.
        bounds: bounds by name; alpha in [1e-7, 1e7], xi and nu in [1e-7, 1] by default.
        coupled: magnitude over all channels jointly (complex images).
        boundary, direction: see :class:`FiniteDifferences`.
        potential: the smoothed absolute value phi; sqrt(r^2 + nu^2) if None.

    Raises:
        ValueError: see :class:`DirectionalDifferences` and :class:`SmoothedAnalysis`.
    """

    def __init__(
        self,
        reference: Tensor,
        alpha: float | Tensor | CoarseMap = 0.1,
        xi: float = 1e-3,
        nu: float = 1e-2,
        eta: float = 1e-2,
        bracket: bool = False,
        learn: Iterable[str] = ("alpha", "xi", "nu"),
        bounds: Mapping[str, tuple[float, float]] | None = None,
        coupled: bool = False,
        boundary: Boundary = "neumann",
        direction: Direction = "backward",
        potential: Potential | None = None,
    ) -> None:
        differences = DirectionalDifferences(reference, eta, boundary, direction)
        super().__init__(
            differences, alpha, xi, nu, bracket, learn, bounds, isotropic=True, coupled=coupled, potential=potential
        )
