"""Typed experiments: TOML <-> configuration -> data, energy, objective."""

from bilearn.experiment.classification_schema import ClassificationConfig
from bilearn.experiment.load import (
    TaskConfig,
    load_config,
    load_task,
    parse_config,
    parse_task,
    recipe_names,
    recipe_text,
    to_toml,
    validate,
)
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.schema import ExperimentConfig

__all__ = [
    "ClassificationConfig",
    "ConfigError",
    "ExperimentConfig",
    "TaskConfig",
    "load_config",
    "load_task",
    "parse_config",
    "parse_task",
    "recipe_names",
    "recipe_text",
    "to_toml",
    "validate",
]
