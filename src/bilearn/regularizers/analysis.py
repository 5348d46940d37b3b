"""What an analysis operator is: the linear map K of a regularizer that penalizes K x entry by entry."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from bilearn._spectral import Basis


class AnalysisOperator(ABC):
    """K: x -> ``fields`` tensors, each shaped like x; entry j of all of them together is the vector u_j at place j.

    All products also take stacks (K, B, ...), and treat channels alike and apart.
    """

    #: Trailing axes of x that are image axes; the one before them is the channel axis.
    axes: int

    #: Rounding error of one application, as a multiple of 8 unit roundoffs times |K| |x|, beyond a relative error of a few
    #: unit roundoffs in every u_j; 0 where there is none.
    rounding_factor: float = 0.0

    @property
    @abstractmethod
    def fields(self) -> int:
        """Number of fields."""

    @property
    @abstractmethod
    def norm_squared(self) -> float:
        """Bound on |K|^2."""

    @property
    @abstractmethod
    def local_norm(self) -> float:
        """Largest change of the vector u_j at one place for a unit change of x."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Fields of x; differentiable."""

    @abstractmethod
    def fill(self, out: list[Tensor], x: Tensor) -> None:
        """Write the fields of x into ``out`` (tensors shaped like x)."""

    @abstractmethod
    def adjoint(self, fields: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
        """K' of the fields; differentiable."""

    @abstractmethod
    def add_adjoint(self, out: Tensor, fields: list[Tensor]) -> Tensor:
        """out += K' fields, in place."""

    @abstractmethod
    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor:
        """Eigenvalues of K'K in ``basis``, or a nonnegative approximation of them."""

    def matches(self, basis: Basis) -> bool:
        """Whether ``basis`` diagonalizes K'K, with ``normal_symbol`` as eigenvalues."""
        return False

    def normal_diagonal(self, weights: list[Tensor]) -> Tensor | None:
        """Diagonal of K' diag(weights) K, or None where it is not known."""
        return None

    def coupling(self, weight: Tensor) -> Tensor | None:
        """Off-diagonal (..., n-1) of K' diag(weight) K where it is tridiagonal along the last axis, else None."""
        return None
