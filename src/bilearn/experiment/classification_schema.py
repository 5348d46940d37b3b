"""The typed configuration of hyperparameters learned for a classifier."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from bilearn.experiment.data_schema import Number, Section, learned
from bilearn.experiment.optimizer_schema import AutoConfig, OptimizerConfig
from bilearn.experiment.run_schema import HypergradientConfig, RunConfig, SolverConfig
from bilearn.experiment.schema import with_default_kinds


class ClassificationDataConfig(Section):
    """Samples that ship with scikit-learn (pip install 'bilearn[classification]'), split at random."""

    source: Literal["breast-cancer", "digits"] = Field(
        default="breast-cancer",
        description="569 samples with 30 features, 2 classes; or 1797 images of 8 x 8, 10 classes",
    )
    validation: float = Field(default=0.3, gt=0, lt=1, description="part of the samples that decides the ridge weights")
    test: float = Field(default=0.2, gt=0, lt=1, description="part that is only used to report")
    seed: int | None = Field(default=None, ge=0, description="seed of the split; run.seed if absent")

    @model_validator(mode="after")
    def _room(self) -> ClassificationDataConfig:
        if self.validation + self.test >= 0.95:
            raise ValueError(
                f"validation + test: found {self.validation + self.test:g}, expected less than 0.95, so that samples remain "
                "for training"
            )
        return self


class RidgeConfig(Section):
    """1/2 sum_f weight_f |z_f|^2: one learned weight for every feature of logistic regression."""

    weight: Number = learned(0.1, 1e-5, 1e3)


class ClassificationConfig(Section):
    """task = "classification": the lower level fits a classifier, the upper level its ridge weights to validation samples."""

    task: Literal["classification"]
    name: str = Field(default="experiment", min_length=1, description="name of the run")
    description: str = Field(default="", description="one line for the report")
    data: ClassificationDataConfig = ClassificationDataConfig()
    ridge: RidgeConfig = RidgeConfig()
    solver: SolverConfig = SolverConfig()
    hypergradient: HypergradientConfig = HypergradientConfig()
    optimizer: OptimizerConfig = AutoConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="before")
    @classmethod
    def _default_kinds(cls, tree: Any) -> Any:
        return with_default_kinds(cls, tree)

    @model_validator(mode="after")
    def _consistent(self) -> ClassificationConfig:
        if not self.ridge.weight.learn or self.ridge.weight.pixelwise:
            raise ValueError("ridge.weight: is what is learned; write { start = 0.1, bounds = [1e-5, 1e3] }")
        if self.run.patience is not None:
            raise ValueError("run.patience is for images; the validation samples are what is learned from here")
        return self
