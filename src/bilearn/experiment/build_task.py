"""The task of a configuration."""

from __future__ import annotations

from bilearn.distributed import Processes
from bilearn.experiment.classification import build_classification
from bilearn.experiment.classification_schema import ClassificationConfig
from bilearn.experiment.load import TaskConfig
from bilearn.experiment.session import build
from bilearn.experiment.task import LearningTask


def build_task(config: TaskConfig, processes: Processes | None = None) -> LearningTask:
    """Everything a configuration of any task needs to run.

    Args:
        config: the configuration.
        processes: who shares the work.

    Raises:
        DataError, ConfigError: one sentence on what does not fit.
        ModuleNotFoundError: if the task needs a package that is not installed.
    """
    if isinstance(config, ClassificationConfig):
        return build_classification(config, processes)
    return build(config, processes)
