"""The typed configuration of upper-level methods and of their schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from bilearn.experiment.data_schema import Section


class FixedAccuracyConfig(Section):
    """Every solve to the same distance or with the same number of steps, whatever the method asks for: a baseline.

    Exactly one of ``distance`` and ``steps`` is given. The final interval is still computed to ``run.final_accuracy``.
    """

    distance: PositiveFloat | None = Field(
        default=None, description="bound on the distance of every reconstruction from the exact one"
    )
    steps: PositiveInt | None = Field(default=None, description="lower-level steps of every solve")
    residual: float = Field(
        default=1e-3, gt=0, lt=1, description="relative residual of the linear systems of gradients"
    )
    trusted: bool = Field(
        default=False, description="let the method take the numbers as exact; the records keep their bounds"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> FixedAccuracyConfig:
        if (self.distance is None) == (self.steps is None):
            found = "both" if self.steps else "none"
            raise ValueError(f"found {found} of distance and steps, expected exactly one; write {{ steps = 200 }}")
        return self


class ScheduleConfig(Section):
    """A positive number for each iteration k = 0, 1, ..."""


class FixedSchedule(ScheduleConfig):
    """The same number always."""

    kind: Literal["fixed"]
    value: PositiveFloat = Field(description="the number")


class PolynomialSchedule(ScheduleConfig):
    """initial / (k + 1)^power: summable for a power above 1, square summable above 1/2."""

    kind: Literal["polynomial"]
    initial: PositiveFloat = Field(description="first number")
    power: NonNegativeFloat = Field(description="rate of decay")


class GeometricSchedule(ScheduleConfig):
    """initial * factor^k, but no less than floor."""

    kind: Literal["geometric"]
    initial: PositiveFloat = Field(description="first number")
    factor: float = Field(default=0.9, gt=0, lt=1, description="ratio of two successive numbers")
    floor: PositiveFloat = Field(default=1e-12, description="smallest number")


class AdaptiveSchedule(ScheduleConfig):
    """For accuracies: a part of the norm of the latest projected gradient."""

    kind: Literal["adaptive"]
    relative: float = Field(default=0.1, gt=0, lt=1, description="the part")
    initial: PositiveFloat | None = Field(
        default=None, description="before the first gradient; a thousandth of the gradient if absent"
    )


StepSchedule = Annotated[FixedSchedule | PolynomialSchedule | GeometricSchedule, Field(discriminator="kind")]
AccuracySchedule = Annotated[
    FixedSchedule | PolynomialSchedule | GeometricSchedule | AdaptiveSchedule, Field(discriminator="kind")
]


class MethodConfig(Section):
    """What all methods share."""

    fixed_accuracy: FixedAccuracyConfig | None = Field(
        default=None, description="solve to this accuracy always; the method decides if absent"
    )


class AutoConfig(MethodConfig):
    """Gauss-Newton for few parameters and squared error, L-BFGS-B otherwise."""

    kind: Literal["auto"] = "auto"
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class GaussNewtonConfig(MethodConfig):
    """Trust-region Gauss-Newton, for few parameters."""

    kind: Literal["gauss-newton"]
    initial_radius: PositiveFloat = Field(
        default=1.0, description="first trust radius; 1 is a factor of 10 in a parameter"
    )
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class LBFGSBConfig(MethodConfig):
    """L-BFGS-B, for many parameters."""

    kind: Literal["lbfgsb"]
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class ProjectedGradientConfig(MethodConfig):
    """Projected gradient steps of Barzilai-Borwein length: a plain comparison."""

    kind: Literal["projected-gradient"]
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class MAIDConfig(MethodConfig):
    """Adaptive inexact descent with a certified line search that chooses its accuracy (Salehi et al. 2025)."""

    kind: Literal["maid"]
    initial_length: PositiveFloat | None = Field(
        default=None, description="first step length; the first trial moves by one coordinate unit if absent"
    )
    initial_accuracy: PositiveFloat | None = Field(
        default=None, description="error allowed in the first gradient; a thousandth of the gradient if absent"
    )
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class HOAGConfig(MethodConfig):
    """Projected gradients whose errors follow a schedule (Pedregosa 2016)."""

    kind: Literal["hoag"]
    accuracy: AccuracySchedule = Field(
        default=GeometricSchedule(kind="geometric", initial=0.1), description="error of the gradient in each iteration"
    )
    initial_length: PositiveFloat | None = Field(
        default=None, description="first step length; the first trial moves by one coordinate unit if absent"
    )
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class ScheduledGradientConfig(MethodConfig):
    """Gradient steps with planned lengths and precisions, no line search; solver.kind = "nesterov" is the published form."""

    kind: Literal["scheduled-gradient"]
    step_length: StepSchedule = Field(description="step length, in coordinates per unit of gradient")
    accuracy: AccuracySchedule = Field(
        default=AdaptiveSchedule(kind="adaptive"), description="error of the gradient in each iteration"
    )
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class InexactSGDConfig(MethodConfig):
    """Inexact stochastic gradients on minibatches (Salehi et al. 2024); ends at a limit of the run."""

    kind: Literal["inexact-sgd"]
    initial_length: PositiveFloat = Field(description="first step length, in coordinates per unit of gradient")
    initial_accuracy: PositiveFloat = Field(description="error allowed in the first gradient")
    length_power: NonNegativeFloat = Field(default=0.5, description="step k has length initial_length / (k + 1)^this")
    accuracy_power: NonNegativeFloat = Field(default=0.25, description="and error initial_accuracy / (k + 1)^this")
    minibatch: PositiveInt = Field(default=8, description="most images in a minibatch")
    epochs_between_values: PositiveInt = Field(
        default=1, description="epochs between two evaluations of the objective itself"
    )


class DynamicDFOConfig(MethodConfig):
    """Derivative-free trust region with values as accurate as each decision needs (Ehrhardt and Roberts 2021)."""

    kind: Literal["dynamic-dfo"]
    initial_radius: float = Field(
        default=0.5, gt=0, le=2, description="first trust radius; 1 is a factor of 10 in a parameter"
    )
    final_radius: PositiveFloat = Field(default=1e-4, description="smallest trust radius")
    points: PositiveInt | None = Field(
        default=None, description="most points of one model; twice the number of parameters plus 1 if absent"
    )
    tolerance: PositiveFloat = Field(
        default=1e-7, description="a predicted decrease below this part of the objective is none"
    )
    max_evaluations: PositiveInt | None = Field(default=None, description="limit on evaluations")

    @model_validator(mode="after")
    def _shrinks(self) -> DynamicDFOConfig:
        if not self.final_radius < self.initial_radius:
            raise ValueError(f"final_radius: found {self.final_radius:g}, expected less than initial_radius")
        return self


class TorchConfig(MethodConfig):
    """An optimizer of torch.optim, or AdaBelief."""

    kind: Literal["torch"]
    method: Literal["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "AdaBelief"] = "Adam"
    lr: PositiveFloat = Field(default=0.05, description="learning rate, in coordinates")
    tolerance: PositiveFloat = Field(
        default=1e-4, description="stop when the gradient is below this part of the objective"
    )


class GridConfig(MethodConfig):
    """Grid search: an honest baseline."""

    kind: Literal["grid"]
    points: PositiveInt = Field(default=5, description="points per parameter")


class RandomConfig(MethodConfig):
    """Random search: an honest baseline."""

    kind: Literal["random"]
    points: PositiveInt = Field(default=50, description="points drawn")


class BayesianConfig(MethodConfig):
    """Bayesian search with Optuna (pip install 'bilearn[search]')."""

    kind: Literal["bayesian"]
    points: PositiveInt = Field(default=50, description="points evaluated")


OptimizerConfig = Annotated[
    AutoConfig
    | GaussNewtonConfig
    | LBFGSBConfig
    | ProjectedGradientConfig
    | MAIDConfig
    | HOAGConfig
    | ScheduledGradientConfig
    | InexactSGDConfig
    | DynamicDFOConfig
    | TorchConfig
    | GridConfig
    | RandomConfig
    | BayesianConfig,
    Field(discriminator="kind"),
]
