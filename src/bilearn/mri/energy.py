"""The energy of sampling learning."""

from __future__ import annotations

from torch import Tensor

from bilearn.mri.coils import CoilFourierTransform
from bilearn.mri.fidelity import KSpaceFidelity
from bilearn.mri.fourier import FourierTransform
from bilearn.mri.pattern import Pattern
from bilearn.mri.weighting import Weighting
from bilearn.regularizers import Regularizer
from bilearn.variational import VariationalEnergy


def sampling_energy(
    pattern: Pattern, regularizer: Regularizer, weighting: Weighting | None = None, maps: Tensor | None = None
) -> VariationalEnergy:
    """h(x) = 1/2 sum_k b_k |(F x - y)_k|^2 + R(x), b = weighting(pattern()), for complex images in two channels.

    With sensitivity maps S of several coils, which all share the pattern: 1/2 sum_c sum_k b_k |(F S_c x - y_c)_k|^2 + R(x).

    Strongly convex with mu = min b (min_j sum_c |S_c,j|^2) + mu_R: patterns that may reach zero need a regularizer with a
    ridge.

    Args:
        pattern: degrees of sampling on a grid of one or two axes; two with maps.
        regularizer: R, for instance ``SmoothedTV(axes=2, coupled=True)``.
        weighting: b(s); s^2 if None.
        maps: (C, H, W) complex sensitivities, see :class:`CoilFourierTransform`; None for a single coil that sees evenly.

    Raises:
        ValueError: if the maps do not fit the pattern.
    """
    grid = tuple(pattern().shape)
    if maps is None:
        return VariationalEnergy(KSpaceFidelity(pattern, weighting), regularizer, FourierTransform(len(grid)))
    operator = CoilFourierTransform(maps)
    if tuple(maps.shape[1:]) != grid:
        raise ValueError(f"maps: found shape {tuple(maps.shape)} for a pattern of shape {grid}, expected (coils, H, W)")
    return VariationalEnergy(KSpaceFidelity(pattern, weighting), regularizer, operator)
