"""Learning readouts that move: angles of spokes, control points of curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bilearn.callbacks import Callback
from bilearn.mri import FreePattern, KSpaceFidelity
from bilearn.mri.patterns import GriddedPattern, HardwareLimits, TrajectoryPattern, check_hardware
from bilearn.sampling.hardware import HardwarePenalty
from bilearn.sampling.problem import SamplingProblem
from bilearn.sampling.quality import magnitude_quality
from bilearn.sampling.records import SamplingResult
from bilearn.sampling.stage import StageInterrupted, Stages
from bilearn.sampling.trial import Trial, sharp
from bilearn.sampling.tune import tune
from bilearn.upper import ProjectedLBFGS
from bilearn.variational import VariationalEnergy

READOUTS = "readouts"
"""Name of the only start in records: the readouts as they are."""

_MARGIN = 0.97
"""Limits that the penalty aims at, as a part of those asked for: it allows a small excess."""

_OPTIMIZER = ProjectedLBFGS(relative_tolerance=1e-4, decrease_tolerance=1e-6)


def learn_readouts(
    energy: VariationalEnergy,
    kspace: Tensor,
    truth: Tensor,
    limits: HardwareLimits | None = None,
    limits_weight: float = 1.0,
    optimizer: ProjectedLBFGS | None = None,
    max_steps: int = 100,
    seconds: float | None = None,
    batch_size: int | None = None,
    directory: str | Path | None = None,
    checkpoint_every: int = 10,
    callbacks: Sequence[Callback] = (),
) -> SamplingResult:
    """Learn where readouts run, together with the learnable numbers of the regularizer.

    The number of readouts and samples is the budget, which learning leaves as it is. Starts matter: readouts move to the
    nearest stationary point.

    1. Tune the other numbers for the readouts as they are.
    2. Minimize the mean loss |xhat - x|^2 / (2 n), plus the penalty on the excess over 97 % of the hardware limits, from
       there ("relaxed"; degrees of sampling are interpolation weights between 0 and 1).
    3. For uses on the grid, take the points of the grid nearest to the samples ("rounded") and tune the other numbers for
       that mask ("tuned"). A point that several samples share counts once, so the mask has fewer points than there are samples.

    The learned readouts are those of the energy's pattern, which is left at them. ``settings`` holds their numbers, the
    largest gradient and slew rate, and the shortest dwell time that would be feasible.

    Args:
        energy: made by :func:`bilearn.mri.sampling_energy` with a :class:`bilearn.mri.patterns.RadialPattern`,
            ``TrajectoryPattern`` or another gridded pattern.
        kspace: (N, 2, ...) full noisy k-space, or complex.
        truth: (N, 2, ...) true images, or complex.
        limits: of gradients and slew rates, for trajectories; none if None.
        limits_weight: of the penalty, see :class:`bilearn.sampling.HardwarePenalty`.
        optimizer: upper-level method.
        max_steps: upper-level steps of 2.
        seconds: limit on the time of this call.
        batch_size: pairs solved at once.
        directory: where everything is recorded; the same call with the same directory continues an interrupted run.
        checkpoint_every: steps between two checkpoints.
        callbacks: watchers of every stage.

    Raises:
        ValueError: if the pattern has no readouts, limits are given for one without trajectory, or the data do not fit.
        KeyboardInterrupt: if interrupted.
    """
    problem = SamplingProblem(energy, kspace, truth, batch_size=batch_size)
    pattern = problem.pattern
    if not isinstance(pattern, GriddedPattern) or not problem.learns_pattern:
        raise ValueError(
            f"pattern: found {type(pattern).__name__}, expected readouts to learn, such as RadialPattern or TrajectoryPattern"
        )
    curves = pattern if isinstance(pattern, TrajectoryPattern) else None
    if limits is not None and curves is None:
        raise ValueError(f"limits: found some for {type(pattern).__name__}, expected None: it is no TrajectoryPattern")
    path = None if directory is None else Path(directory)
    stages = Stages(path, seconds, checkpoint_every, callbacks)
    trial = Trial(READOUTS, problem, stages, penalized=False)
    try:
        tune(problem, stages, "full")
        objective = problem.objective(None, pattern=True)
        if limits is not None:
            aim = replace(limits, gradient=_MARGIN * limits.gradient, slew=_MARGIN * limits.slew)
            objective.penalty = HardwarePenalty(aim, limits_weight)
        chosen = _OPTIMIZER if optimizer is None else optimizer
        best, status = stages.run(f"{READOUTS}/relaxed", objective, chosen, max_steps)
        trial.status = status.value
        trial.snap("relaxed", sharp(objective, best.theta), objective)
        trial.keep_degrees()
        trial.count(objective)

        mask = pattern.nearest()
        fixed = KSpaceFidelity(FreePattern(mask.to(problem.y)), problem.fidelity.weighting)
        trial.problem = SamplingProblem(
            VariationalEnergy(fixed, energy.regularizer, energy.operator), problem.y, problem.x, batch_size=batch_size
        )
        trial.count(trial.measure("rounded"))
        tune(trial.problem, stages, f"{READOUTS}/tune")
        final = trial.measure("tuned")
        trial.count(final)
    except StageInterrupted:
        problem.release()
        raise KeyboardInterrupt from None
    x = final.reconstructions
    parameters = trial.problem.rest_values()
    problem.release()
    assert x is not None
    assert trial.degrees is not None
    settings: dict[str, Any] = {"samples": len(pattern.locations()), "pairs": problem.pairs}
    message = ""
    if curves is not None and limits is not None:
        report = check_hardware(curves, limits)
        settings |= asdict(report)
        if not report.feasible:
            message = f"the readouts exceed the limits; a dwell time of {report.shortest_dwell:.3g} s keeps them"
    result = SamplingResult(
        degrees=trial.degrees.double().cpu(),
        mask=mask.cpu(),
        parameters=parameters,
        degree_parameters=trial.degree_parameters,
        best=READOUTS,
        attempts=(trial.finish(),),
        quality=magnitude_quality(x, problem.x),
        settings=settings,
        message=message,
        locations=pattern.readouts().detach().cpu(),
    )
    if path is not None:
        result.save(path)
    return result
