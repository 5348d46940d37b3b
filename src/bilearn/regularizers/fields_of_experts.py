"""Fields of Experts: weighted potentials of the responses to learned filters."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from bilearn.parameters import Log10, learnable
from bilearn.regularizers.filter_regularizer import FilterRegularizer, Ranges
from bilearn.regularizers.filters import FilterBank, Filters, cosine_filters
from bilearn.regularizers.response_potentials import ResponsePotential, StudentTResponse

_NAMES = ("filters", "weights")


class FieldsOfExperts(FilterRegularizer):
    """R(x) = sum_c w_c sum_j phi_c((k_c * x)_j).

    Roth and Black, "Fields of Experts", Int. J. Comput. Vis. 82, 2009; learned in a bilevel way by Chen, Ranftl and Pock,
    "Insights into analysis operator learning", IEEE Trans. Image Process. 23, 2014. With the Student-t potential R is not
    convex: -max(w) |K|^2/4 <= H. Where the data term's curvature exceeds that, h is strongly convex and distances are
    certified; elsewhere a solve ends at a stationary point and says so.

    Args:
        filters: (F, size, size) to begin with, or a filter bank; the first 24 functions of the 5 x 5 cosine basis if None.
        weights: w, one number or (F,).
        potential: phi; Student-t if None.
        learn: which of "filters" and "weights" are learned; the potential has its own flag. A given bank keeps its own.
        bounds: of the weights.
        zero_mean, boundary: see :class:`bilearn.regularizers.filters.Filters`; of no effect on a given bank.

    Raises:
        ValueError: if ``learn`` names anything else, or a value is out of bounds.
    """

    weights: Tensor

    def __init__(
        self,
        filters: Tensor | FilterBank | None = None,
        weights: float | Tensor = 1e-3,
        potential: ResponsePotential | None = None,
        learn: Collection[str] = _NAMES,
        bounds: tuple[float, float] = (1e-7, 1e4),
        zero_mean: bool = True,
        boundary: str = "valid",
    ) -> None:
        unknown = sorted(set(learn) - set(_NAMES))
        if unknown:
            raise ValueError(f"learn: found {unknown}, expected names out of {list(_NAMES)}")
        start = cosine_filters(24, 5) if filters is None else filters
        bank = start if isinstance(start, FilterBank) else Filters(start, zero_mean, boundary, "filters" in learn)  # type: ignore[arg-type]
        super().__init__(bank)
        self.potential = StudentTResponse() if potential is None else potential
        values = torch.as_tensor(weights, dtype=torch.float64).expand(bank.fields)
        learnable(self, "weights", values, Log10(bounds), "weights" in learn)

    def _weights(self, like: Tensor) -> Tensor:
        return self.weights.to(like).reshape(-1, 1, 1)

    def values(self, u: Tensor) -> Tensor:
        """w phi(u)."""
        return self.potential.value(u) * self._weights(u)

    def slopes(self, u: Tensor) -> Tensor:
        """w phi'(u)."""
        if torch.is_grad_enabled():
            return self.potential.slope(u) * self._weights(u)
        return self.potential.slope(u).mul_(self._weights(u))

    def seconds(self, u: Tensor) -> Tensor:
        """w phi''(u)."""
        return self.potential.second(u) * self._weights(u)

    def ranges(self, like: Tensor) -> Ranges:
        """Those of phi times w."""
        weights, potential = self.weights.to(like), self.potential
        return Ranges(
            weights * potential.lowest(like), weights * potential.highest(like), weights * potential.third(like)
        )

    def second_variation(self, u: Tensor, reach: Tensor) -> Tensor:
        """w times that of phi."""
        return self._weights(u) * self.potential.variation(u, reach)
