"""Learning a sampling pattern from training pairs in one call."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bilearn.callbacks import Callback
from bilearn.hypergradient import HypergradientEstimator
from bilearn.losses import UpperLoss
from bilearn.lower import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.sampling.budgeted import Continuation, learn_budgeted
from bilearn.sampling.penalized import learn_penalized
from bilearn.sampling.penalty import SamplingPenalty
from bilearn.sampling.problem import SamplingProblem
from bilearn.sampling.quality import magnitude_quality
from bilearn.sampling.records import Attempt, SamplingResult
from bilearn.sampling.stage import StageInterrupted, Stages
from bilearn.sampling.start import Start
from bilearn.sampling.trial import Trial
from bilearn.sampling.tune import tune
from bilearn.sampling.units import Units
from bilearn.upper import ProjectedLBFGS
from bilearn.variational import VariationalEnergy

PENALIZED_STARTS = (Start(0.5), Start(0.7))
BUDGET_STARTS = (Start(0.5), Start(0.5, spectrum=0.5))
PENALIZED_OPTIMIZER = ProjectedLBFGS(relative_tolerance=1e-3, decrease_tolerance=1e-7)
BUDGET_OPTIMIZER = ProjectedLBFGS(relative_tolerance=1e-5, decrease_tolerance=1e-6)


def learn_sampling(
    energy: VariationalEnergy,
    kspace: Tensor,
    truth: Tensor,
    penalty: SamplingPenalty | tuple[float, float] | None = None,
    rate: float | None = None,
    count: int | None = None,
    starts: Sequence[Start] | None = None,
    optimizer: ProjectedLBFGS | None = None,
    continuation: Continuation | None = None,
    solver: LowerSolver | None = None,
    estimator: HypergradientEstimator | None = None,
    max_steps: int = 300,
    max_returns: int = 10,
    max_exchanges: int = 30,
    seconds: float | None = None,
    batch_size: int | None = None,
    loss: UpperLoss | None = None,
    directory: str | Path | None = None,
    checkpoint_every: int = 10,
    callbacks: Sequence[Callback] = (),
) -> SamplingResult:
    """Learn which k-space samples to take, together with the learnable numbers of the regularizer.

    >>> pattern = FreePattern(torch.ones(192, 192))                                                  # doctest: +SKIP
    >>> energy = sampling_energy(pattern, SmoothedTV(1e-3, 1e-2, learn=["alpha"], coupled=True))     # doctest: +SKIP
    >>> result = learn_sampling(energy, kspace, truth, rate=0.25)                                    # doctest: +SKIP

    The objective is  mean_i |xhat_i - x_i|^2 / (2 n) + penalty  (n pixels; the mean squared error over all real numbers).

    1. Set the pattern to its largest degrees and learn the other numbers alone, from where they are.
    2. From every start, with a penalty: :func:`bilearn.sampling.penalized.learn_penalized`; with ``rate`` or ``count``:
       :func:`bilearn.sampling.budgeted.learn_budgeted`, which ends with exactly that number of samples.
    3. The best start is the one with the smallest certified objective (upper end) among those that did not collapse: a
       penalized pattern has collapsed if its reconstructions explain less than 90 % of the energy of the true images. If
       all did, the best of them is returned with a warning.

    Args:
        energy: made by :func:`bilearn.mri.sampling_energy`. Left at the result: the binary mask and its tuned numbers.
        kspace: (N, 2, ...) full noisy k-space, or complex (N, ...).
        truth: (N, 2, ...) true complex images, or complex (N, ...).
        penalty: on the degrees, or its (beta1, beta2).
        rate: part of k-space to sample, in (0, 1]; patterns of lines take the nearest number of lines.
        count: points of k-space to sample.
        starts: starts; degrees 0.5 and 0.7 with a penalty, uniform and half the training spectrum's mask with a budget.
        optimizer: upper-level method. If None, one that ends where the projected gradient and its certified error are below
            1e-3 of the first one (1e-5 with a budget, whose start is farther away).
        continuation: to zeros and ones, with a budget.
        solver: lower-level method.
        estimator: of hypergradients; with ``ImplicitHypergradient(error="estimate")`` nothing is called certified.
        max_steps: upper-level steps of a stage.
        max_returns: times that samples may come back, with a penalty.
        max_exchanges: rounds of exchanges, with a budget.
        seconds: limit on the time of this call; stages not reached are cut short.
        batch_size: pairs solved at once where memory is short.
        loss: of a pair, in place of the mean squared error. One without an interval (:class:`bilearn.losses.SSIMLoss`) ends
            exchanges, which are kept only where values prove that they help; :class:`bilearn.losses.SimilarityError` has one.
        directory: where everything is recorded; the same call with the same directory continues an interrupted run.
        checkpoint_every: steps between two checkpoints.
        callbacks: watchers of every stage.

    Raises:
        ValueError: if not exactly one of penalty, rate and count is given, or the data do not fit.
        KeyboardInterrupt: if interrupted before the first start was complete.
    """
    if (penalty is not None) + (rate is not None) + (count is not None) != 1:
        raise ValueError(
            f"penalty, rate, count: found {penalty}, {rate} and {count}, expected exactly one of them; "
            "penalty=(0.1, 0.1) or rate=0.25"
        )
    problem = SamplingProblem(energy, kspace, truth, solver, estimator, batch_size, loss)
    if not problem.learns_pattern:
        raise ValueError("pattern: found no learnable number, expected a pattern made with learn=True")
    cost = SamplingPenalty(*penalty) if isinstance(penalty, tuple) else penalty
    units = None if cost is not None else Units.of(problem.pattern)
    points = None if units is None else units.points(rate, count)
    chosen = (PENALIZED_STARTS if units is None else BUDGET_STARTS) if starts is None else tuple(starts)
    _check_starts(chosen)
    usual = PENALIZED_OPTIMIZER if units is None else BUDGET_OPTIMIZER
    method = usual if optimizer is None else optimizer
    path = None if directory is None else Path(directory)
    stages = Stages(path, seconds, checkpoint_every, callbacks)

    present = problem.snapshot()
    finished: list[tuple[Trial, Attempt, list[Tensor]]] = []
    interrupted = False
    try:
        _tune_rest(problem, stages)
        tuned = problem.snapshot()
        for start in chosen:
            problem.restore(
                [*present[: len(present) - problem.rest_count], *tuned[len(present) - problem.rest_count :]]
            )
            trial = Trial(start.name, problem, stages, cost is not None)
            theta = problem.objective(None, pattern=True).parameters.get()
            theta = start.theta(problem, theta, units, points)
            if cost is not None:
                learn_penalized(trial, theta, cost, method, max_steps, max_returns)
            elif units is not None and points is not None:
                steps = continuation or Continuation()
                learn_budgeted(trial, theta, units, points, method, steps, max_steps, max_exchanges)
            finished.append((trial, trial.finish(), problem.snapshot()))
    except StageInterrupted:
        if not finished:
            problem.release()
            raise KeyboardInterrupt from None
        interrupted = True
    settings = {
        "penalty": None if cost is None else [cost.slope, cost.concavity],
        "samples": points,
        "starts": [start.name for start in chosen],
        "seeds": [start.seed for start in chosen],
        "pairs": problem.pairs,
    }
    result = _result(problem, finished, settings, interrupted)
    if path is not None:
        result.save(path)
    return result


def _check_starts(starts: Sequence[Start]) -> None:
    names = [start.name for start in starts]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"starts: found {names}, expected at least one start and no two alike")


def _tune_rest(problem: SamplingProblem, stages: Stages) -> None:
    """Stage 1: the other numbers alone, with the pattern at its upper bounds."""
    if not problem.learns_rest:
        return
    vector = ParameterVector(problem.pattern)
    full = torch.where(torch.isfinite(vector.upper), vector.upper, vector.get())
    vector.set(full)
    tune(problem, stages, "full")


def _result(
    problem: SamplingProblem,
    finished: Sequence[tuple[Trial, Attempt, list[Tensor]]],
    settings: dict[str, Any],
    interrupted: bool,
) -> SamplingResult:
    sound = [entry for entry in finished if not entry[1].collapsed]
    trial, attempt, snapshot = min(sound or finished, key=lambda entry: _worth(entry[1]))
    problem.restore(snapshot)
    notes = ["interrupted before all starts were complete"] if interrupted else []
    if not sound:
        notes.append(
            "every start collapsed: the reconstructions explain less than 90 % of the energy of the true images; lower the "
            "penalty, ask for more samples or try other starts"
        )
        warnings.warn(notes[-1], stacklevel=3)
    objective = problem.objective(None, pattern=True, rest=False)
    objective.value(objective.parameters.get())
    x = objective.reconstructions
    problem.release()
    assert x is not None
    assert trial.degrees is not None
    return SamplingResult(
        degrees=trial.degrees.double().cpu(),
        mask=(problem.degrees() > 0).cpu(),
        parameters=problem.rest_values(),
        degree_parameters=trial.degree_parameters,
        best=attempt.name,
        attempts=tuple(entry[1] for entry in finished),
        quality=magnitude_quality(x, problem.x),
        settings=settings,
        message="; ".join(notes),
    )


def _worth(attempt: Attempt) -> float:
    """The objective that starts are compared by: penalized where there is a penalty, that of the mask with a budget."""
    names = [s.name for s in attempt.snapshots]
    decisive = [s for s in attempt.snapshots if s.name in ("relaxed", "returned")] if "binary" not in names else []
    snapshot = min(decisive, key=lambda s: s.upper) if decisive else attempt.last
    return snapshot.upper if math.isfinite(snapshot.upper) else snapshot.value
