"""The typed configuration of a whole experiment; TOML sections are its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, model_validator

from bilearn.experiment.data_schema import (
    DataConfig,
    GaussianNoise,
    IdentityConfig,
    NoiseConfig,
    PhysicsConfig,
    Section,
)
from bilearn.experiment.model_schema import (
    FidelityConfig,
    LeastSquaresConfig,
    LossConfig,
    PenaltyConfig,
    RegularizerConfig,
    SmoothedTVConfig,
    SquaredErrorConfig,
)
from bilearn.experiment.optimizer_schema import AutoConfig, OptimizerConfig
from bilearn.experiment.run_schema import HypergradientConfig, RunConfig, SolverConfig


def with_default_kinds(model: type[BaseModel], tree: Any) -> Any:
    """A section without 'kind' is of the default kind."""
    if not isinstance(tree, Mapping):
        return tree
    filled = dict(tree)
    for name, section in filled.items():
        default = model.model_fields[name].default if name in model.model_fields else None
        if isinstance(section, Mapping) and isinstance(default, BaseModel):
            kinds = default.model_dump(include={"kind"})
            filled[name] = {**kinds, **section}
    return filled


class ExperimentConfig(Section):
    """Data, forward operator, noise, model, learning: everything that decides the result of a run."""

    name: str = Field(default="experiment", min_length=1, description="name of the run")
    description: str = Field(default="", description="one line for the report")
    data: DataConfig
    physics: PhysicsConfig = IdentityConfig()
    noise: NoiseConfig = GaussianNoise()
    fidelity: FidelityConfig = LeastSquaresConfig()
    regularizer: RegularizerConfig = SmoothedTVConfig()
    loss: LossConfig = SquaredErrorConfig()
    penalty: PenaltyConfig | None = None
    solver: SolverConfig = SolverConfig()
    hypergradient: HypergradientConfig = HypergradientConfig()
    optimizer: OptimizerConfig = AutoConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="before")
    @classmethod
    def _default_kinds(cls, tree: Any) -> Any:
        return with_default_kinds(cls, tree)

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentConfig:
        if self.data.source == "signals" and self.physics.kind in ("mask", "tomography"):
            raise ValueError(f"physics.kind = '{self.physics.kind}' needs images; signals allow 'identity' and 'blur'")
        if self.solver.precision == "mixed" and self.run.dtype != "float64":
            raise ValueError("solver.precision = 'mixed' needs run.dtype = 'float64', in which solves are certified")
        if self.run.patience is not None and self.data.validation == 0:
            raise ValueError("run.patience needs validation images; set data.validation")
        if self.hypergradient.kind != "implicit" and self.optimizer.kind not in (
            "lbfgsb",
            "projected-gradient",
            "maid",
            "hoag",
            "scheduled-gradient",
            "inexact-sgd",
            "torch",
        ):
            raise ValueError(
                f"hypergradient.kind = '{self.hypergradient.kind}' is not used by optimizer.kind = '{self.optimizer.kind}'; "
                "choose optimizer.kind = 'lbfgsb' or 'torch'"
            )
        return self
