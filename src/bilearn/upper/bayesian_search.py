"""Bayesian search by Optuna: a baseline that asks for values only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from bilearn.parameters import ParameterVector
from bilearn.upper.optimizer import Oracle, UpperState
from bilearn.upper.search import Search


@dataclass(frozen=True)
class BayesianState(UpperState):
    """Adds to :class:`UpperState` what the sampler learns from.

    Attributes:
        trials: (point, value) of every evaluation, in order.
    """

    trials: tuple[tuple[Tensor, float], ...] = field(default=())


@dataclass(frozen=True)
class BayesianSearch(Search):
    """Values at points proposed by an Optuna sampler from all values so far (ask and tell).

    Each step rebuilds the study from the stored trials and seeds the sampler with ``seed`` plus the step number, so that a
    state determines the next point and a resumed run is the uninterrupted one. Non-finite values are told as failures.

    Conditions: none under which this implementation is proved to converge; a baseline.

    References: Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011 (TPE); Akiba et al., Optuna,
    KDD 2019.

    Args:
        count: number of points after the start.
        seed: seed of the sampler.
        sampler: "tpe" (tree-structured Parzen estimator) or "gp" (Gaussian process, slower, better for few parameters).
        accuracy: value accuracy to ask for; None leaves it to the oracle.

    Raises:
        ImportError: if Optuna is not installed.
        ValueError: if ``count`` is not positive, or the box is unbounded.
    """

    count: int = 50
    seed: int = 0
    sampler: Literal["tpe", "gp"] = "tpe"
    accuracy: float | None = None

    state_type = BayesianState

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"BayesianSearch.count: found {self.count}, expected a positive number")
        if self.sampler not in ("tpe", "gp"):
            raise ValueError(f"BayesianSearch.sampler: found {self.sampler!r}, expected 'tpe' or 'gp'")
        _optuna()

    def total(self, parameters: ParameterVector) -> int:
        return self.count

    def init(self, objective: Oracle, theta: Tensor) -> BayesianState:
        start = super().init(objective, theta)
        return BayesianState(
            best=start.best,
            current=start.current,
            status=start.status,
            trials=((start.current.theta, start.current.value),),
        )

    def step(self, objective: Oracle, state: UpperState) -> UpperState:
        assert isinstance(state, BayesianState)
        following = super().step(objective, state)
        if following.iteration == state.iteration:
            return following
        told = (following.current.theta, following.current.value)
        return replace(following, trials=(*state.trials, told))  # type: ignore[call-arg]

    def point(self, parameters: ParameterVector, index: int, state: UpperState) -> Tensor:
        assert isinstance(state, BayesianState)
        optuna = _optuna()
        lower, upper = parameters.lower.tolist(), parameters.upper.tolist()
        space = {str(i): optuna.distributions.FloatDistribution(lower[i], upper[i]) for i in range(len(lower))}
        study = _study(optuna, self.sampler, self.seed + index)
        for point, value in state.trials:
            finite = bool(torch.tensor(value).isfinite())
            study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.COMPLETE if finite else optuna.trial.TrialState.FAIL,
                    params={str(i): v for i, v in enumerate(point.tolist())},
                    distributions=space,
                    value=value if finite else None,
                )
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            proposal = study.ask(space).params
        return torch.tensor([proposal[str(i)] for i in range(len(lower))], dtype=torch.float64)


def _study(optuna: Any, sampler: str, seed: int) -> Any:
    """An empty study in memory; Optuna's announcement of it is kept out of the log."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            kinds = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}
            return optuna.create_study(sampler=kinds[sampler](seed=seed))
    finally:
        optuna.logging.set_verbosity(verbosity)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "BayesianSearch: Optuna is not installed; install it with 'pip install \"bilearn[search]\"', "
            "or use RandomSearch"
        ) from error
    return optuna
