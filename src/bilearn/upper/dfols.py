"""DFO-LS behind ``init`` and ``step``: derivative-free nonlinear least squares, a baseline at fixed relative accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.foreign_dfo import ForeignDFO


@dataclass(frozen=True)
class DFOLS(ForeignDFO):
    """DFO-LS (``pip install "bilearn[dfo]"``): Gauss-Newton models interpolated residual by residual, in a trust region.

    F is handed over as the sum of squares of r_i = sqrt(scale * loss_i), one for each sample, and of sqrt(penalty):
    for squared errors without penalty these are the distances |xhat_i - x_i|, as published for bilevel
    problems. Losses and penalty must therefore not be negative; take :class:`PyBOBYQA` for others.

    The package is distributed under the GPL, is imported only when an object of this class is made, and is otherwise no
    part of this library. It knows nothing of inexact values: compare :class:`DynamicDFO`. Each step is one evaluation; see
    :class:`ForeignDFO` for accuracies, failures and how a run is resumed.

    References: Cartis, Fiala, Marteau, Roberts, Improving the flexibility and robustness of model-based derivative-free
    optimization solvers, ACM TOMS 45 (2019); Hough, Roberts, Model-based derivative-free methods for convex-constrained
    optimization, SIAM J. Optim. 32 (2022).

    Args:
        initial_radius, final_radius, value_accuracy, max_evaluations: see :class:`ForeignDFO`.

    Raises:
        ImportError: if DFO-LS is not installed.
        ValueError: if a number is out of range, or a loss or the penalty is negative.
    """

    @property
    def package(self) -> tuple[str, str]:
        return "DFO-LS", "dfols"

    def told(self, evaluation: Evaluation) -> Tensor:
        """(N + 1,) residuals whose squares sum to F; the last one is that of the penalty."""
        losses = evaluation.losses.detach().to("cpu", torch.float64)
        total = float(losses.sum())
        if bool((losses < 0).any()) or evaluation.penalty < 0:
            raise ValueError(
                f"DFOLS: found a smallest loss of {float(losses.min()):.3g} and a penalty of {evaluation.penalty:.3g}, "
                "expected none to be negative, since F must be a sum of squares; use PyBOBYQA"
            )
        scale = (evaluation.value - evaluation.penalty) / total if total > 0 else 0.0
        parts = torch.cat((scale * losses, torch.tensor([evaluation.penalty], dtype=torch.float64)))
        return parts.clamp(min=0.0).sqrt()

    def solve_options(self) -> dict[str, Any]:
        return {}
