"""deepinv priors and fidelities inside a bilearn energy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilearn.curvature import Curvature
from bilearn.energy import Energy
from bilearn.parameters import Log10, learnable
from bilearn.regularizers import Regularizer


class PriorRegularizer(Regularizer):
    """R(x) = weight * prior(x) for a differentiable ``deepinv.optim.Prior`` (or any callable x -> (B,)).

    Derivatives come from autograd through the prior's value; its own ``grad`` is not used, since some are not the gradient
    of the value. Learnable parameters inside the prior are learned too.

    Args:
        prior: the prior; must have an explicit value.
        weight: positive factor, learned by default, optimized as log10.
        learn: whether the weight is learned.
        curvature: constants of the *unweighted* prior where known; unknown otherwise.
    """

    weight: Tensor

    def __init__(self, prior: Any, weight: float = 1.0, learn: bool = True, curvature: Curvature | None = None) -> None:
        super().__init__()
        if getattr(prior, "explicit_prior", True) is False:
            raise ValueError(
                f"prior: found {type(prior).__name__}, which has no explicit value, expected a prior with prior(x) -> (B,)"
            )
        self.prior = prior
        self._curvature = Curvature() if curvature is None else curvature
        learnable(self, "weight", weight, Log10((1e-7, 1e7)), learn)

    def forward(self, x: Tensor) -> Tensor:
        """Value (B,)."""
        return self.weight.to(x.dtype) * self.prior(x).reshape(x.shape[0])

    def curvature(self, like: Tensor) -> Curvature:
        """Given constants times the weight; the cross derivative in log10 weight has Lipschitz constant ln(10) L."""
        weight, base = self.weight, self._curvature
        return Curvature(
            base.strong_convexity * weight,
            base.smoothness * weight,
            base.hessian_lipschitz * weight,
            base.smoothness * (weight * torch.log(torch.tensor(10.0, dtype=weight.dtype))),
        )


class PhysicsEnergy(Energy):
    """h(x) = data_fidelity(x, y, physics) + R(x) with a ``deepinv.optim.DataFidelity`` and any deepinv physics.

    Everything is differentiated by autograd and nothing is known of its curvature; ``VariationalEnergy`` is faster and
    certified wherever its fidelities do.

    Args:
        data_fidelity: called as data_fidelity(x, y, physics) -> (B,).
        physics: the operator.
        regularizer: R.
    """

    def __init__(self, data_fidelity: Any, physics: Any, regularizer: Regularizer) -> None:
        super().__init__()
        self.data_fidelity, self.physics, self.regularizer = data_fidelity, physics, regularizer

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Energy (B,)."""
        return self.data_fidelity(x, y, self.physics).reshape(x.shape[0]) + self.regularizer(x)

    def start(self, y: Tensor) -> Tensor:
        """A' y."""
        with torch.no_grad():
            return self.physics.A_adjoint(y)
