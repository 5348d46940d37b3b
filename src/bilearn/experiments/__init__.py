"""Experiments: published comparisons that ``bilearn experiment NAME`` computes, records, and draws.

How to add one (``denoise_1d.py`` is the longest example):

1. *One file, one experiment*: a frozen dataclass derived from :class:`~bilearn.experiments.experiment.Experiment`. Its
   fields are its options, checked in ``__post_init__``; ``name`` and ``purpose`` are class variables; ``quick()`` gives the
   options with which it ends within a few seconds (tests and continuous integration run that).
2. *Compute*: ``parts()`` lists :class:`~bilearn.experiments.experiment.Part` objects, the units in which results are
   recorded. A part's ``compute(done)`` gets the results of the parts before it and returns a mapping of numbers, strings,
   lists, NumPy arrays (large ones through :func:`~bilearn.experiments.records.packed`) and mappings. After every part
   ``results.json`` is replaced atomically; Ctrl-C loses the part under way only, and ``bilearn experiment resume DIR``
   computes those that are missing. A part must not depend on state that another part leaves behind.
3. *Draw*: ``sections(results)`` returns :class:`~bilearn.experiments.contents.Section` objects made of ``Figure``,
   ``Pictures`` and ``Table``. It reads ``results`` (:class:`~bilearn.experiments.records.Results`) only, computes nothing a
   part should have recorded, and draws what is there when parts are missing.
4. *Register*: an entry in ``EXPERIMENTS`` below, and a command in ``bilearn/cli/experiment.py`` with its options.

:func:`~bilearn.experiments.session.run_experiment` does the rest: directory, records, page, PNG files, resume. For runs of
upper-level methods :func:`~bilearn.experiments.trace.trace` records every evaluation with what was asked and got, and
:class:`~bilearn.experiments.trace.Exact` re-solves to an accuracy that plays no role.

Directory of an experiment
    ``results.json``  options, environment (machine, threads, versions, seed, command), status, seconds, parts by key
    ``NAME.png``      every figure
    ``report.html``   one self-contained page
"""

from __future__ import annotations

import importlib

from bilearn.experiments.experiment import Experiment

EXPERIMENTS: dict[str, tuple[str, str]] = {
    "denoise-1d": ("bilearn.experiments.denoise_1d", "Denoise1D"),
    "denoise-kodak": ("bilearn.experiments.denoise_kodak", "DenoiseKodak"),
    "mri-1d-sampling": ("bilearn.experiments.mri_1d_sampling", "MRI1DSampling"),
    "compare-methods": ("bilearn.experiments.compare_methods", "CompareMethods"),
    "sampling-warm-up": ("bilearn.experiments.sampling_warm_up", "SamplingWarmUp"),
    "sampling-sparsity": ("bilearn.experiments.sampling_sparsity", "SamplingSparsity"),
    "sampling-regularizers": ("bilearn.experiments.sampling_regularizers", "SamplingRegularizers"),
    "sampling-patterns": ("bilearn.experiments.sampling_patterns", "SamplingPatterns"),
    "sampling-training": ("bilearn.experiments.sampling_training", "SamplingTraining"),
    "sampling-large": ("bilearn.experiments.sampling_large", "SamplingLarge"),
    "sampling-baselines": ("bilearn.experiments.sampling_baselines", "SamplingBaselines"),
}
"""Module and class of every experiment by name; imported on demand, since ``bilearn experiment --help`` needs none."""


def experiment_class(name: str) -> type[Experiment]:
    """The experiment of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment: found {name!r}, expected one of {', '.join(EXPERIMENTS)}")
    module, kind = EXPERIMENTS[name]
    found: type[Experiment] = getattr(importlib.import_module(module), kind)
    return found


__all__ = ["EXPERIMENTS", "Experiment", "experiment_class"]
