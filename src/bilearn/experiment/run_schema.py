"""The typed configuration of solvers, hypergradients and the run itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bilearn.experiment.data_schema import Section


class SolverConfig(Section):
    """Lower-level method; 'auto' picks one from what the energy declares and says what it picked."""

    kind: Literal[
        "auto", "newton-cg", "nesterov", "accelerated-descent", "lbfgs", "gradient-descent", "closed-form"
    ] = "auto"
    max_steps: PositiveInt | None = Field(default=None, description="step limit; the method's own if absent")
    precision: Literal["double", "mixed"] = Field(
        default="double",
        description="'mixed': solve in float32 as far as that leads, certify and finish in float64 (run.dtype = 'float64')",
    )


class HypergradientConfig(Section):
    """How the gradient of the objective is computed."""

    kind: Literal["implicit", "unrolled", "one-step", "neumann", "value-function-penalty", "zeroth-order"] = "implicit"
    error: Literal["rigorous", "estimate", "observed"] = Field(
        default="rigorous",
        description="implicit: a proved bound on the gradient's error; an estimate, which costs less and is never certified; "
        "or the change seen when both solves are refined, for thousands of parameters",
    )
    steps: PositiveInt = Field(default=200, description="unrolled: lower-level steps")
    truncate: PositiveInt | None = Field(default=None, description="unrolled: steps differentiated; all if absent")
    terms: PositiveInt = Field(default=20, description="neumann: terms of the series, each a Hessian product")
    penalty: PositiveFloat = Field(
        default=1e3, description="value-function-penalty: weight lambda of the lower level; the bias falls as 1/lambda"
    )
    two_sided: bool = Field(
        default=False, description="value-function-penalty: one more solve, and a bias that falls as 1/lambda^2"
    )
    directions: PositiveInt = Field(
        default=8,
        description="zeroth-order: random directions, two solves each; as many as parameters make it exact up to smoothing",
    )


class RunConfig(Section):
    """Seeds, budget, records."""

    seed: int = Field(default=0, ge=0, description="seed of everything random")
    dtype: Literal["float32", "float64"] = "float64"
    device: str = Field(default="cpu", description="'cpu', 'cuda', 'cuda:1', ...")
    threads: PositiveInt | None = Field(default=None, description="CPU threads; torch's own choice if absent")
    max_steps: PositiveInt = Field(default=50, description="limit on upper-level steps")
    seconds: PositiveFloat | None = Field(default=None, description="limit on learning time")
    max_gradients: PositiveInt | None = Field(
        default=None, description="limit on lower-level gradients, counted per image; also cuts off the solve under way"
    )
    batch_size: PositiveInt | None = Field(
        default=None,
        description="microbatches: images solved and differentiated at once; their losses and gradients are added up. "
        "About 1.5 MB per vector and thread on the CPU and 64 MB on a GPU if absent",
    )
    shards: PositiveInt | None = Field(
        default=None,
        description="parts of the images, computed by the processes of torchrun; as many as processes if absent. "
        "The same number gives the same result on any number of processes",
    )
    timeout: PositiveFloat = Field(
        default=1800.0, description="several processes: seconds to wait for one another, more than an evaluation takes"
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
