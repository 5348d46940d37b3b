"""Evaluations as rows of ``history.jsonl``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.run_records import Bounded


def history_entry(evaluation: Evaluation, parameters: ParameterVector) -> dict[str, Any]:
    """Everything an evaluation says of itself, as strict JSON values; see :class:`bilearn.run_records.HistoryRow`."""
    minibatch = evaluation.minibatch
    gradient = evaluation.gradient
    return {
        "kind": _kind(evaluation),
        "minibatch": None if minibatch is None else minibatch.numel(),
        "value": evaluation.value,
        "lower": evaluation.lower,
        "upper": evaluation.upper,
        "certified": evaluation.certified,
        "penalty": evaluation.penalty,
        "gradient_norm": None if gradient is None else float(torch.linalg.vector_norm(gradient)),
        "gradient_bound": None if gradient is None else evaluation.gradient_bound,
        "accuracy": evaluation.accuracy,
        "lower_error": evaluation.lower_error,
        "message": evaluation.message,
        "parameters": {name: plain(value) for name, value in parameters.natural(evaluation.theta).items()},
    }


def _kind(evaluation: Evaluation) -> str:
    if evaluation.jacobian_gram is not None:
        return "gauss_newton"
    return "value" if evaluation.gradient is None else "hypergradient"


def plain(value: Tensor) -> float | dict[str, float]:
    """A number, or the spread of many."""
    if value.numel() == 1:
        return float(value)
    return {"min": float(value.min()), "max": float(value.max()), "mean": float(value.mean())}


def bounded(evaluation: Evaluation) -> Bounded:
    """Value and interval of an evaluation."""
    return Bounded(evaluation.value, evaluation.lower, evaluation.upper, evaluation.certified)
