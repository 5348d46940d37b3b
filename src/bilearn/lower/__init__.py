"""Lower-level methods and the loop that runs and certifies them."""

from bilearn.lower.accelerated_descent import AcceleratedDescent
from bilearn.lower.anderson import Anderson
from bilearn.lower.broyden import Broyden
from bilearn.lower.closed_form import ClosedForm
from bilearn.lower.default import default_solver, explain_default
from bilearn.lower.gradient_descent import GradientDescent
from bilearn.lower.lbfgs import LBFGS
from bilearn.lower.minimize import minimize
from bilearn.lower.mixed_precision import MixedPrecision
from bilearn.lower.nesterov import NesterovGradient
from bilearn.lower.newton_cg import NewtonCG
from bilearn.lower.solver import LowerSolver

__all__ = [
    "LBFGS",
    "AcceleratedDescent",
    "Anderson",
    "Broyden",
    "ClosedForm",
    "GradientDescent",
    "LowerSolver",
    "MixedPrecision",
    "NesterovGradient",
    "NewtonCG",
    "default_solver",
    "explain_default",
    "minimize",
]
