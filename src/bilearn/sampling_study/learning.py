"""One learned pattern as a record: what was asked, what every start reached, pictures of training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bilearn.callbacks import Callback
from bilearn.experiments.records import packed
from bilearn.mri import Pattern
from bilearn.mri.patterns import GriddedPattern, HardwareLimits
from bilearn.run_directory import RunDirectory
from bilearn.run_records import Spread
from bilearn.sampling import Continuation, SamplingResult, Start, learn_readouts, learn_sampling, magnitude_quality
from bilearn.sampling.penalty import PATTERN
from bilearn.sampling_study.reconstruction import reconstruct, zero_filled
from bilearn.sampling_study.setup import MOVING, Pairs, StudySetup

STAGES = "stages"
"""Where the run directories of the stages are."""


@dataclass(frozen=True)
class LearningGoal:
    """What a learned pattern should be, and what it may cost.

    Args:
        rate: part of k-space to sample, exactly; None with a penalty.
        penalty: beta1 and beta2; None with a rate.
        starts: degrees to start from, as "0.5"; with "+spectrum" mixed half and half with the largest training
            coefficients.
        steps: upper-level steps of a stage at most.
        exchanges: rounds of exchanges (with a rate) or returns (with a penalty) at most.
        dwell, field_of_view, gradient, slew: s, m, T/m and T/m/s, see :class:`bilearn.mri.patterns.HardwareLimits`; for
            trajectories and spirals.

    Raises:
        ValueError: if not exactly one of rate and penalty is given, or a number is out of range.
    """

    rate: float | None = 0.25
    penalty: tuple[float, float] | None = None
    starts: tuple[str, ...] = ("0.5+spectrum",)
    steps: int = 100
    exchanges: int = 30
    dwell: float = 1e-5
    field_of_view: float = 0.22
    gradient: float = 0.04
    slew: float = 150.0

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.penalty is None):
            raise ValueError(
                f"rate, penalty: found {self.rate} and {self.penalty}, expected exactly one of them; "
                "--rate 0.25 or --penalty 0.1 0.1"
            )
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ValueError(f"rate: found {self.rate}, expected a part of k-space above 0 and at most 1, such as 0.25")
        if self.steps < 1 or self.exchanges < 0:
            raise ValueError(f"steps, exchanges: found {self.steps} and {self.exchanges}, expected 1 and 0 or more")
        for text in self.starts:
            start_of(text)
        self.limits()

    def limits(self) -> HardwareLimits:
        """Hardware limits of trajectories.

        Raises:
            ValueError: if a number is not positive.
        """
        return HardwareLimits(self.dwell, (self.field_of_view, self.field_of_view), self.gradient, self.slew)

    def options(self) -> dict[str, Any]:
        """All options by name."""
        return asdict(self)


def start_of(text: str) -> Start:
    """The start that a text such as "0.5" or "0.5+spectrum" describes.

    Raises:
        ValueError: if it is neither.
    """
    degree, plus, rest = text.partition("+")
    try:
        value = float(degree)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1 or (plus and rest != "spectrum"):
        raise ValueError(f"starts: found {text!r}, expected a degree in [0, 1], as 0.5, or 0.5+spectrum")
    return Start(value, spectrum=0.5 if plus else 0.0)


def learned(
    setup: StudySetup,
    goal: LearningGoal,
    training: Pairs,
    directory: Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> SamplingResult:
    """Learn a pattern.

    Args:
        setup: the study.
        goal: what is asked for.
        training: pairs.
        directory: of the stages; the same call continues an interrupted run. Nothing is written if None.
        callbacks: watchers of every stage.

    Raises:
        ValueError: if the goal cannot be met.
        KeyboardInterrupt: if interrupted before the first start was complete.
    """
    pattern = pattern_for(setup, goal)
    if isinstance(pattern, GriddedPattern):
        return learn_readouts(
            setup.energy(pattern),
            training.kspace,
            training.truth,
            limits_of(setup, goal),
            max_steps=goal.steps,
            directory=directory,
            callbacks=callbacks,
        )
    return learn_sampling(
        setup.energy(pattern),
        training.kspace,
        training.truth,
        penalty=goal.penalty,
        rate=goal.rate,
        starts=tuple(start_of(text) for text in goal.starts),
        continuation=Continuation(max_steps=min(goal.steps, 30)),
        max_steps=goal.steps,
        max_returns=goal.exchanges,
        max_exchanges=goal.exchanges,
        directory=directory,
        callbacks=callbacks,
    )


def pattern_for(setup: StudySetup, goal: LearningGoal) -> Pattern:
    """The pattern to learn for a goal.

    Raises:
        ValueError: if a penalty is given for readouts that move.
    """
    if goal.penalty is not None and setup.pattern in MOVING:
        raise ValueError(f"penalty: found one for {setup.pattern}, whose number of readouts is the budget; use --rate")
    return setup.learnable_pattern(goal.rate)


def limits_of(setup: StudySetup, goal: LearningGoal) -> HardwareLimits | None:
    """Hardware limits where readouts are curves."""
    return goal.limits() if setup.pattern in ("trajectory", "spiral") else None


def learning_record(result: SamplingResult, stages: Path | None = None) -> dict[str, Any]:
    """A result as a record; with the directory of its stages also the course of the best start."""
    return {
        "samples": result.samples,
        "points": result.mask.numel(),
        "rate": result.rate,
        "mask": packed(result.mask.double()),
        "degrees": packed(result.degrees),
        "best": result.best,
        "message": result.message,
        "quality": result.quality,
        "data_range": result.data_range,
        "parameters": result.parameters,
        "attempts": [asdict(attempt) for attempt in result.attempts],
        "course": [] if stages is None else course(stages / result.best, result.locations is None),
    }


def course(start: Path, degrees: bool = True) -> list[dict[str, Any]]:
    """Evaluations of all stages of a start in the order in which they ended: objective, weights and alpha.

    Args:
        start: directory of its stages.
        degrees: whether the numbers of the pattern are degrees, so that their mean says something.
    """
    folders = [p.parent for p in start.glob("*/history.jsonl")]
    folders.sort(key=lambda folder: (folder / "history.jsonl").stat().st_mtime_ns)
    rows: list[dict[str, Any]] = []
    for folder in folders:
        for row in RunDirectory(folder).read().history:
            if not row.accepted:
                continue
            weights = [v for k, v in row.parameters.items() if k.startswith(PATTERN)]
            others = [v for k, v in row.parameters.items() if not k.startswith(PATTERN)]
            rows.append(
                {
                    "stage": folder.name,
                    "value": row.objective.value,
                    "degree": _mean(weights) if degrees else None,
                    "alpha": _mean(others),
                    "gradient": row.gradient_norm,
                }
            )
    return rows


def _mean(values: Sequence[float | Spread]) -> float | None:
    found = [v.mean if isinstance(v, Spread) else v for v in values]
    return float(np.mean(found)) if found else None


def picture_record(setup: StudySetup, mask: Tensor, weight: float, pairs: Pairs, number: int) -> dict[str, Any]:
    """Magnitudes of one image: truth, zero-filled and reconstructed, with their quality."""
    one = Pairs(pairs.truth[number : number + 1], pairs.kspace[number : number + 1])
    energy = setup.energy(mask, weight)
    shown = {
        "zero_filled": zero_filled(energy, mask, one.kspace),
        "reconstruction": reconstruct(energy, one.kspace),
    }
    return {
        "number": number,
        "truth": magnitude(one.truth[0]),
        **{name: {"image": magnitude(x[0]), "quality": _single(x, one.truth)} for name, x in shown.items()},
    }


def magnitude(x: Tensor) -> dict[str, Any]:
    """Magnitudes of one image (2, H, W) in two channels, for a record."""
    return packed(x.square().sum(0).sqrt())


def _single(x: Tensor, truth: Tensor) -> dict[str, float]:
    return {name: values[0] for name, values in magnitude_quality(x, truth).items()}
