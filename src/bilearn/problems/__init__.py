"""Problems with known answers, used by tests, documentation and benchmarks."""

from bilearn.problems.mri_sampling import indicator_kspace, mri_sampling_1d
from bilearn.problems.photographs import kodak, kodak_images, published_tv
from bilearn.problems.signals import KnownProblem, indicator_signals, one_parameter, three_parameters

__all__ = [
    "KnownProblem",
    "indicator_kspace",
    "indicator_signals",
    "kodak",
    "kodak_images",
    "mri_sampling_1d",
    "one_parameter",
    "published_tv",
    "three_parameters",
]
