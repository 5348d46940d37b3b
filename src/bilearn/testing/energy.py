"""``check_energy``: everything a solver, an estimator or a certificate relies on, checked on a small example."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.testing.bounds import check_constants, check_rounding, check_variations
from bilearn.testing.derivatives import (
    check_cross,
    check_gradient,
    check_hessian,
    check_newton_model,
    check_untouched,
    check_values,
)


def check_energy(energy: Energy, x: Tensor, y: Tensor, seed: int = 0, rtol: float = 1e-6) -> None:
    """Check an energy of your own against finite differences and against everything it declares.

    Call it in your tests, once per energy, on something tiny::

        x, y = torch.rand(2, 1, 7, 6, dtype=torch.float64), torch.rand(2, 1, 7, 6, dtype=torch.float64)
        check_energy(MyEnergy(), x, y)

    1. Values: shape (B,), finite, and each sample's value, gradient and start independent of the other samples.
    2. ``grad`` against autograd of the value and against central differences, with grad mode on and off.
    3. ``hessian``: products against central differences of ``grad``, alone and stacked (K, B, ...); symmetry; ``select``;
       ``direct()`` inverts it; ``preconditioner()`` is symmetric and positive. The same for ``newton_model``, which
       after a step of length zero must be the Hessian.
    4. ``cross_vjp`` and ``cross_columns`` against central differences in the coordinates of theta (all of them up to 12
       parameters, 12 random ones beyond).
    5. ``curvature``: no eigenvalue of the Hessian below mu or above L, no change above a Lipschitz constant, at 15 points
       from 1e-4 to 10 times |x| away. An unknown constant passes; a wrong one fails.
    6. ``hessian_variation``, ``cross_variation``, ``column_variation``, ``cross_norm``: no sampled change above them.
    7. ``rounding``: the float32 gradient errs by no more.
    8. None of this changed x, y or a parameter, or wrote a ``.grad``.

    Differences need derivatives: an energy that is only C1 (Huber) passes as long as no difference step crosses a kink.

    Args:
        energy: the energy at the theta to check, parameters in float64.
        x: (B, ...) float64 point, B >= 2; not a special one (not y, not zero, not a minimizer).
        y: (B, ...) float64 data.
        seed: seed of the sampled directions and points.
        rtol: allowed relative difference between derivatives and finite differences.

    Raises:
        AssertionError: something does not hold; the message names it and by how much.
        ValueError: fewer than two samples, or another dtype than float64.
    """
    if _batch.size(x) < 2:
        raise ValueError(f"x: found {_batch.size(x)} samples, expected at least 2, so that neighbors can be told apart")
    if x.dtype != torch.float64 or y.dtype != torch.float64:
        raise ValueError(f"x, y: found {x.dtype} and {y.dtype}, expected float64, which finite differences need")
    generator = torch.Generator().manual_seed(seed)

    def check() -> None:
        check_values(energy, x, y)
        check_gradient(energy, x, y, generator, rtol)
        check_hessian(energy, x, y, generator, rtol)
        check_newton_model(energy, x, y, generator)
        check_cross(energy, x, y, generator, rtol)
        check_constants(energy, x, y, generator)
        check_variations(energy, x, y, generator)
        check_rounding(energy, x, y, generator)

    check_untouched(energy, x, y, check)
