"""The typed configuration of solvers, hypergradients, upper-level methods and the run itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bilearn.experiment.data_schema import Section


class SolverConfig(Section):
    """Lower-level method; 'auto' picks one from what the energy declares and says what it picked."""

    kind: Literal["auto", "newton-cg", "nesterov", "lbfgs", "gradient-descent", "closed-form"] = "auto"
    max_steps: PositiveInt | None = Field(default=None, description="step limit; the method's own if absent")


class HypergradientConfig(Section):
    """How the gradient of the objective is computed."""

    kind: Literal["implicit", "unrolled", "one-step"] = "implicit"
    steps: PositiveInt = Field(default=200, description="unrolled: lower-level steps")
    truncate: PositiveInt | None = Field(default=None, description="unrolled: steps differentiated; all if absent")


class AutoConfig(Section):
    """Gauss-Newton for few parameters and squared error, L-BFGS-B otherwise."""

    kind: Literal["auto"] = "auto"
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class GaussNewtonConfig(Section):
    """Trust-region Gauss-Newton, for few parameters."""

    kind: Literal["gauss-newton"]
    initial_radius: PositiveFloat = Field(
        default=1.0, description="first trust radius; 1 is a factor of 10 in a parameter"
    )
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class LBFGSBConfig(Section):
    """L-BFGS-B, for many parameters."""

    kind: Literal["lbfgsb"]
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class ProjectedGradientConfig(Section):
    """Projected gradient steps of Barzilai-Borwein length: a plain comparison."""

    kind: Literal["projected-gradient"]
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class TorchConfig(Section):
    """An optimizer of torch.optim."""

    kind: Literal["torch"]
    method: Literal["Adam", "AdamW", "SGD", "RMSprop", "Adagrad"] = "Adam"
    lr: PositiveFloat = Field(default=0.05, description="learning rate, in coordinates")
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class GridConfig(Section):
    """Grid search: an honest baseline."""

    kind: Literal["grid"]
    points: PositiveInt = Field(default=5, description="points per parameter")


class RandomConfig(Section):
    """Random search: an honest baseline."""

    kind: Literal["random"]
    points: PositiveInt = Field(default=50, description="points drawn")


class BayesianConfig(Section):
    """Bayesian search with Optuna (pip install 'bilearn[search]')."""

    kind: Literal["bayesian"]
    points: PositiveInt = Field(default=50, description="points evaluated")


OptimizerConfig = Annotated[
    AutoConfig
    | GaussNewtonConfig
    | LBFGSBConfig
    | ProjectedGradientConfig
    | TorchConfig
    | GridConfig
    | RandomConfig
    | BayesianConfig,
    Field(discriminator="kind"),
]


class RunConfig(Section):
    """Seeds, budget, records."""

    seed: int = Field(default=0, ge=0, description="seed of everything random")
    dtype: Literal["float32", "float64"] = "float64"
    device: str = Field(default="cpu", description="'cpu', 'cuda', 'cuda:1', ...")
    threads: PositiveInt | None = Field(default=None, description="CPU threads; torch's own choice if absent")
    max_steps: PositiveInt = Field(default=50, description="limit on upper-level steps")
    seconds: PositiveFloat | None = Field(default=None, description="limit on learning time")
    batch_size: PositiveInt | None = Field(
        default=None, description="images per batch where memory is short; all if absent"
    )
    patience: PositiveInt | None = Field(
        default=None, description="stop after this many steps without a better validation loss"
    )
    checkpoint_every: PositiveInt = Field(default=1, description="steps between two checkpoints")
    final_accuracy: PositiveFloat = Field(default=1e-4, description="relative accuracy of the final certified interval")
    pictures: int = Field(default=6, ge=0, description="test images stored as pictures in the report")
    tensorboard: bool = Field(
        default=False, description="also write TensorBoard files (pip install 'bilearn[tensorboard]')"
    )
    output: str | None = Field(default=None, description="run directory; a new numbered one under ./runs if absent")
