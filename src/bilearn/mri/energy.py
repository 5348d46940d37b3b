"""The energy of single-coil sampling learning."""

from __future__ import annotations

from bilearn.mri.fidelity import KSpaceFidelity
from bilearn.mri.fourier import FourierTransform
from bilearn.mri.pattern import Pattern
from bilearn.mri.weighting import Weighting
from bilearn.regularizers import Regularizer
from bilearn.variational import VariationalEnergy


def sampling_energy(
    pattern: Pattern, regularizer: Regularizer, weighting: Weighting | None = None
) -> VariationalEnergy:
    """h(x) = 1/2 sum_k b_k |(F x - y)_k|^2 + R(x), b = weighting(pattern()), for complex images in two channels.

    Strongly convex with mu = min b + mu_R: patterns that may reach zero need a regularizer with a ridge.

    Args:
        pattern: degrees of sampling on a grid of one or two axes.
        regularizer: R, for instance ``SmoothedTV(axes=2, coupled=True)``.
        weighting: b(s); s^2 if None.
    """
    return VariationalEnergy(KSpaceFidelity(pattern, weighting), regularizer, FourierTransform(pattern().ndim))
