"""The masks that learned ones are compared with, by short name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bilearn.mri import Linear
from bilearn.mri.masks import BASELINES, GreedyBaseline, Lattice, MaskBaseline, Unit, low_pass
from bilearn.mri.patterns import ProbabilisticPattern
from bilearn.sampling import ProbabilityLearning, ReconstructionScore, learn_probabilities
from bilearn.sampling_study.reconstruction import TunedMask, tuned_mask
from bilearn.sampling_study.setup import Pairs, StudySetup

GREEDY = "greedy"
PROBABILISTIC = "probabilistic"
STRAIGHT_THROUGH = "straight-through"
_SEARCHES: dict[str, str] = {
    GREEDY: "greedy, stochastic",
    PROBABILISTIC: "probabilistic, sigmoid",
    STRAIGHT_THROUGH: "probabilistic, straight-through",
}
"""Baselines with the reconstructor in the loop."""
_ACCURACY = 1e-3
"""Root-mean-square error of reconstructions that rank cells; scores move by a hundredth of their spread over cells."""


def short_name(name: str) -> str:
    """Lower case, words joined by dashes: "variable density, Gaussian" is ``variable-density-gaussian``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


TITLES: dict[str, str] = {**{short_name(row.name): row.name for row in BASELINES}, **_SEARCHES}
"""Names of all baselines by short name."""


def baseline_names(unit: Unit) -> tuple[str, ...]:
    """Short names of the baselines that can sample points, rows or columns."""
    return (*(short_name(row.name) for row in BASELINES if unit in row.units), *_SEARCHES)


def chosen_names(names: Sequence[str], unit: Unit) -> tuple[str, ...]:
    """The short names that were asked for; ``all`` stands for every baseline.

    Raises:
        ValueError: for a name that is not known, or cannot sample these units.
    """
    known = baseline_names(unit)
    wanted = known if "all" in names else tuple(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"baselines: found {', '.join(unknown)}, expected all, or some of {', '.join(known)} for {unit}"
        )
    return wanted


@dataclass(frozen=True)
class GreedyOptions:
    """How much the greedy search with the reconstructor in the loop may cost.

    Attributes:
        batch: random candidates scored in a step, at least four for each cell that is added; 0 scores all of them.
        images: random training images in a step; 0 uses all.
        steps: most steps; several cells are added in each where there are more cells to choose, a departure from the papers.
    """

    batch: int = 48
    images: int = 2
    steps: int = 48


@dataclass(frozen=True)
class SearchOptions:
    """How much baselines with the reconstructor in the loop may cost.

    Attributes:
        greedy: the greedy search.
        probabilities: learning the probabilities of a random mask; its seed is that of the setup.
    """

    greedy: GreedyOptions = field(default_factory=GreedyOptions)
    probabilities: ProbabilityLearning = field(default_factory=ProbabilityLearning)


def drawn(name: str, setup: StudySetup, training: Pairs, count: int, seed: int, search: SearchOptions) -> Tensor:
    """One mask (H, W) of a baseline with exactly ``count`` samples.

    Raises:
        ValueError: for an unknown name, or an impossible count.
    """
    chosen_names([name], setup.unit)
    if name in (PROBABILISTIC, STRAIGHT_THROUGH):
        how = replace(search.probabilities, seed=seed)
        return _probabilistic(setup, training, count, how, hard=name == STRAIGHT_THROUGH)
    row: MaskBaseline
    if name == GREEDY:
        row = _greedy(setup, training, count, search.greedy)
    else:
        row = next(r for r in BASELINES if short_name(r.name) == name)
    return row.draw(setup.shape, count, seed, training.truth, setup.unit)


def best_of(
    name: str,
    setup: StudySetup,
    training: Pairs,
    count: int,
    draws: int,
    search: SearchOptions | None = None,
    progress: Callable[[], None] | None = None,
) -> TunedMask:
    """The mask with the smallest tuned training loss of several random draws; a rule without chance is drawn once.

    Args:
        name: short name of the baseline.
        setup: the study.
        training: pairs that alpha is tuned on, and that the draw is chosen by.
        count: samples of the mask.
        draws: number of seeds, from the setup's on; searches with the reconstructor in the loop are run once.
        search: cost of these searches.
        progress: called after every draw.

    Raises:
        ValueError: for an unknown name, or an impossible count.
    """
    found: list[TunedMask] = []
    for k in range(1 if name in _SEARCHES else draws):
        mask = drawn(name, setup, training, count, setup.seed + k, search or SearchOptions())
        if any(torch.equal(mask, other.mask) for other in found):
            break
        found.append(tuned_mask(mask, setup, training))
        if progress is not None:
            progress()
    return min(found, key=lambda tuned: tuned.loss.value)


def _greedy(setup: StudySetup, training: Pairs, count: int, options: GreedyOptions) -> MaskBaseline:
    """Greedy search by the training loss, alpha tuned for the low-pass mask of that count."""
    weight = tuned_mask(low_pass(setup.shape, count, unit=setup.unit), setup, training).weight
    score = ReconstructionScore(
        setup.regularization(weight), training.kspace, training.truth, maps=setup.coil_maps(), accuracy=_ACCURACY
    )
    start = int(GreedyBaseline.start_share * count)
    cells = max(1, (count - start) // (setup.size if setup.unit != "points" else 1))
    step = -(-cells // options.steps)
    return GreedyBaseline(
        TITLES[GREEDY],
        lambda images: score,
        batch=max(options.batch, 4 * step) if options.batch else None,
        image_batch=min(options.images, len(training)) or None,
        per_step=step,
    )


def _probabilistic(setup: StudySetup, training: Pairs, count: int, learning: ProbabilityLearning, hard: bool) -> Tensor:
    """The most probable units, alpha first that of the low-pass mask of that count."""
    weight = tuned_mask(low_pass(setup.shape, count, unit=setup.unit), setup, training).weight
    if count == math.prod(setup.shape):
        return torch.ones(setup.shape, dtype=torch.bool)
    lattice = Lattice(setup.shape, setup.unit)
    groups = torch.arange(lattice.size).reshape(lattice.sides).expand(setup.shape).contiguous()
    pattern = ProbabilisticPattern(groups, count, hard=hard)
    learn_probabilities(setup.energy(pattern, weight, Linear()), training.kspace, training.truth, learning)
    return pattern.exact_mask()
