"""Py-BOBYQA behind ``init`` and ``step``: derivative-free optimization of values, a baseline at fixed relative accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.foreign_dfo import ForeignDFO


@dataclass(frozen=True)
class PyBOBYQA(ForeignDFO):
    """Py-BOBYQA (``pip install "bilearn[dfo]"``): quadratic models that interpolate values, in a trust region in a box.

    The package is distributed under the GPL, is imported only when an object of this class is made, and is otherwise no
    part of this library. Each step is one evaluation; see :class:`ForeignDFO` for
    accuracies, failures and how a run is resumed.

    References: Powell, The BOBYQA algorithm for bound constrained optimization without derivatives, report DAMTP 2009/NA06;
    Cartis, Fiala, Marteau, Roberts, Improving the flexibility and robustness of model-based derivative-free optimization
    solvers, ACM TOMS 45 (2019).

    Args:
        initial_radius, final_radius, value_accuracy, max_evaluations: see :class:`ForeignDFO`.
        seek_global_minimum: restart from larger radii to leave local minima, until ``max_evaluations``.

    Raises:
        ImportError: if Py-BOBYQA is not installed.
        ValueError: if a number is out of range.
    """

    seek_global_minimum: bool = False

    @property
    def package(self) -> tuple[str, str]:
        return "Py-BOBYQA", "pybobyqa"

    def told(self, evaluation: Evaluation) -> Tensor:
        """() the value."""
        return torch.tensor(evaluation.value, dtype=torch.float64)

    def solve_options(self) -> dict[str, Any]:
        return {"seek_global_minimum": self.seek_global_minimum}
