"""Upper-level methods: they minimize F(theta) over a box and see only an :class:`Oracle`."""

from bilearn.upper.adabelief import AdaBelief
from bilearn.upper.bayesian_search import BayesianSearch
from bilearn.upper.default import default_optimizer
from bilearn.upper.dfols import DFOLS
from bilearn.upper.dynamic_dfo import DynamicDFO
from bilearn.upper.feasible import Budget
from bilearn.upper.fixed_accuracy import FixedAccuracy
from bilearn.upper.gauss_newton import GaussNewton
from bilearn.upper.hoag import HOAG
from bilearn.upper.inexact_sgd import InexactSGD
from bilearn.upper.lbfgsb import LBFGSB
from bilearn.upper.maid import MAID
from bilearn.upper.optimizer import (
    Oracle,
    UpperOptimizer,
    UpperState,
    UpperStatus,
    run,
    state_from_tree,
    state_to_tree,
)
from bilearn.upper.projected_gradient import ProjectedGradient
from bilearn.upper.projected_lbfgs import ProjectedLBFGS
from bilearn.upper.pybobyqa import PyBOBYQA
from bilearn.upper.scheduled_gradient import ScheduledGradient
from bilearn.upper.schedules import Adaptive, Fixed, Geometric, Polynomial, Schedule
from bilearn.upper.search import GridSearch, RandomSearch
from bilearn.upper.torch_optimizer import TorchOptimizer

__all__ = [
    "DFOLS",
    "HOAG",
    "LBFGSB",
    "MAID",
    "AdaBelief",
    "Adaptive",
    "BayesianSearch",
    "Budget",
    "DynamicDFO",
    "Fixed",
    "FixedAccuracy",
    "GaussNewton",
    "Geometric",
    "GridSearch",
    "InexactSGD",
    "Oracle",
    "Polynomial",
    "ProjectedGradient",
    "ProjectedLBFGS",
    "PyBOBYQA",
    "RandomSearch",
    "Schedule",
    "ScheduledGradient",
    "TorchOptimizer",
    "UpperOptimizer",
    "UpperState",
    "UpperStatus",
    "default_optimizer",
    "run",
    "state_from_tree",
    "state_to_tree",
]
