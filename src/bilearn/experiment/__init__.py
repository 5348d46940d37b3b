"""Typed experiments: TOML <-> configuration -> data, energy, objective."""

from bilearn.experiment.load import load_config, parse_config, recipe_names, recipe_text, to_toml, validate
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.schema import ExperimentConfig

__all__ = [
    "ConfigError",
    "ExperimentConfig",
    "load_config",
    "parse_config",
    "recipe_names",
    "recipe_text",
    "to_toml",
    "validate",
]
