"""Studies of sampling patterns: what ``bilearn sample`` and the experiments on sampling compute, record and draw.

* :class:`~bilearn.sampling_study.setup.StudySetup`: images, noise, regularizer and pattern, as plain options.
* :mod:`~bilearn.sampling_study.reconstruction`: a mask, its weight tuned on training pairs, judged on others.
* :mod:`~bilearn.sampling_study.methods`: the masks that learned ones are compared with, by short name.
* :mod:`~bilearn.sampling_study.learning`: one learned pattern as a record.
* :mod:`~bilearn.sampling_study.comparison`: masks against each other at equal numbers of samples, as records.
* :mod:`~bilearn.sampling_study.figures`, :mod:`~bilearn.sampling_study.tables`: what pages show, from records only.
* :mod:`~bilearn.sampling_study.directory`: run directories of ``bilearn sample``.
"""
