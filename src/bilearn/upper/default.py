"""The upper-level method that is used when none is named."""

from __future__ import annotations

from bilearn.parameters import ParameterVector
from bilearn.upper.gauss_newton import GaussNewton
from bilearn.upper.lbfgsb import LBFGSB

FEW_PARAMETERS = 10
"""Up to this many parameters the Jacobian of the reconstructions costs little more than a gradient."""


def default_optimizer(parameters: ParameterVector, least_squares: bool) -> GaussNewton | LBFGSB:
    """Gauss-Newton for few parameters and a loss it can linearize, L-BFGS-B otherwise.

    Args:
        parameters: what is learned.
        least_squares: whether the objective provides a Gauss-Newton matrix (losses of squared-error type).
    """
    return GaussNewton() if least_squares and len(parameters) <= FEW_PARAMETERS else LBFGSB()
