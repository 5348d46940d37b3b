"""Problems with known answers, used by tests, documentation and benchmarks."""

from bilearn.problems.photographs import kodak, kodak_images
from bilearn.problems.signals import KnownProblem, indicator_signals, one_parameter, three_parameters

__all__ = ["KnownProblem", "indicator_signals", "kodak", "kodak_images", "one_parameter", "three_parameters"]
