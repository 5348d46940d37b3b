"""What the experiments on sampling patterns share: options, pairs, and learning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bilearn.experiments.experiment import Experiment
from bilearn.mri.masks import Unit
from bilearn.sampling_study.learning import LearningGoal
from bilearn.sampling_study.setup import Pairs, RegularizerName, StudySetup, load_pairs

_TEST_SEED = 1000
QUICK: dict[str, Any] = {"size": 16, "count": 2, "test_count": 2, "steps": 3, "exchanges": 1}
"""Options with which a pattern is learned within a second or two."""


@dataclass(frozen=True)
class SamplingExperiment(Experiment):
    """Options of the experiments on sampling patterns; see :class:`bilearn.sampling_study.setup.StudySetup`.

    Args:
        images: training images.
        size: side in pixels.
        count: training images taken; 0 takes all.
        noise: standard deviation of real and imaginary noise.
        regularizer: tv, h1, wavelet or none.
        pattern: points, rows or columns.
        test: held-out images.
        test_count: held-out images taken; 0 takes all.
        starts: starts of the learning, see :class:`bilearn.sampling_study.learning.LearningGoal`.
        steps: upper-level steps of a stage at most.
        exchanges: rounds of exchanges at most.

    Raises:
        ValueError: if an option is out of range.
    """

    images: tuple[str, ...] = ("brain-train",)
    size: int = 64
    count: int = 20
    noise: float = 0.03
    regularizer: RegularizerName = "tv"
    pattern: Unit = "points"
    test: tuple[str, ...] = ("brain-test",)
    test_count: int = 10
    starts: tuple[str, ...] = ("0.5+spectrum",)
    steps: int = 60
    exchanges: int = 30

    def __post_init__(self) -> None:
        self.setup()
        self.goal(0.25)
        if self.test_count < 0:
            raise ValueError(f"test_count: found {self.test_count}, expected a number of images, 0 for all")

    def setup(self, **changes: Any) -> StudySetup:
        """Setup of the study, with changes."""
        names = ("images", "size", "count", "noise", "regularizer", "pattern", "seed")
        return replace(StudySetup(**{name: getattr(self, name) for name in names}), **changes)

    def goal(self, rate: float | None = None, penalty: tuple[float, float] | None = None) -> LearningGoal:
        """What to learn."""
        return LearningGoal(rate, penalty, self.starts, self.steps, self.exchanges)

    def held_out(self) -> Pairs:
        """Test pairs, with noise and phase of their own."""
        return load_pairs(self.test, self.setup(), self.test_count, self.seed + _TEST_SEED)

    def check(self) -> None:
        """Read all images once, so that missing packages and files are named before a directory is made."""
        self.setup().pairs()
        self.held_out()


def checked_rates(rates: tuple[float, ...]) -> None:
    """Raise unless the rates are distinct and in (0, 1].

    Raises:
        ValueError: if they are not.
    """
    if not rates or len(set(rates)) < len(rates) or not all(0 < rate <= 1 for rate in rates):
        raise ValueError(f"rates: found {rates}, expected parts of k-space above 0 and at most 1, each once")
