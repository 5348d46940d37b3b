"""Learning from tensors in one call: the user's own images and the user's own deepinv operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bilearn.callbacks import Callback
from bilearn.evaluation import Evaluation
from bilearn.fidelities import Fidelity, LeastSquares
from bilearn.learner import Learned, Learner
from bilearn.losses import SquaredError, UpperLoss, as_loss
from bilearn.lower.solver import LowerSolver
from bilearn.model import LearnedModel, load_model, prepare_operator, save_model
from bilearn.operators import Unstructured
from bilearn.penalties import Penalty
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import Regularizer, SmoothedTV
from bilearn.solution import Solution
from bilearn.upper import UpperOptimizer, default_optimizer
from bilearn.variational import VariationalEnergy


@dataclass(frozen=True)
class Fit:
    """What :func:`learn` returns.

    Attributes:
        model: the learned model.
        learned: how learning went.
        start, final: objective at the start and at the answer, each with the interval that contains the exact value.
        objective: the training objective.
    """

    model: LearnedModel
    learned: Learned
    start: Evaluation
    final: Evaluation
    objective: ReducedObjective

    @property
    def energy(self) -> VariationalEnergy:
        """The energy at its learned parameters."""
        return self.model.energy

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Natural values of the learned parameters by name."""
        return self.objective.parameters.natural(self.learned.theta)

    def reconstruct(self, y: Tensor, physics: Any = None) -> Tensor:
        """Images (B, C, H, W) from data ``y``; see :meth:`bilearn.model.LearnedModel.solve` for their certificates."""
        return self.model.reconstruct(y, physics)

    def solve(self, y: Tensor, physics: Any = None) -> Solution:
        """As :meth:`reconstruct`, with gradient norms, error bounds and statuses."""
        return self.model.solve(y, physics)

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into ``folder``; :func:`bilearn.load` reads them."""
        return save_model(folder, self.energy, self.model.description)

    def summary(self) -> str:
        """What was learned, the objective with its interval, and the work, in a few lines."""
        parameters, cost = self.objective.parameters, self.objective.cost
        word = "certified" if self.final.certified else "not certified"
        lines = [
            f"{self.learned.status.value} ({self.learned.steps} steps, {self.learned.seconds:.1f} s)",
            f"parameters: {parameters.describe(self.learned.theta)}",
            f"objective: {self.start.value:.6g} -> {self.final.value:.6g}, "
            f"exact value in [{self.final.lower:.6g}, {self.final.upper:.6g}] ({word})",
            f"work: {cost.gradients} gradients, {cost.hessian_products} Hessian products, {cost.direct_solves} direct solves",
        ]
        active = parameters.active_bounds(self.learned.theta)
        if active:
            lines.append(f"note: {', '.join(active)}")
        return "\n".join(lines)


def learn(
    x_true: Tensor,
    y: Tensor,
    physics: Any = None,
    regularizer: Regularizer | None = None,
    fidelity: Fidelity | None = None,
    loss: UpperLoss | Callable[[Tensor, Tensor], Tensor] | None = None,
    penalty: Penalty | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    optimizer: UpperOptimizer[Any] | None = None,
    solver: LowerSolver | None = None,
    max_steps: int = 50,
    seconds: float | None = None,
    patience: int | None = None,
    tolerance: float = 1e-4,
    batch_size: int | None = None,
    dtype: torch.dtype | None = None,
    callbacks: Sequence[Callback] = (),
) -> Fit:
    """Learn the parameters of  min_x D(A x, y; theta) + R(x; theta)  from pairs of true images and data.

    >>> fit = bilearn.learn(x_true, y, physics=deepinv.physics.Inpainting((1, 64, 64), mask=mask))  # doctest: +SKIP
    >>> x = fit.reconstruct(y_new)                                                                  # doctest: +SKIP

    Args:
        x_true: (N, C, H, W) true images in [0, 1], or (N, C, L) signals.
        y: (N, ...) data, y = A x_true + noise.
        physics: A: any ``deepinv.physics.LinearPhysics`` or object with ``A`` and ``A_adjoint``; identity if None.
        regularizer: R with the parameters to learn; smoothed TV with its three parameters if None. It is changed:
            its parameters are the learned ones afterwards.
        fidelity: D; least squares if None.
        loss: upper-level loss or any function (x, target) -> (B,); squared error if None.
        penalty: penalty on the parameters.
        validation: (x_true, y) of validation pairs.
        optimizer: upper-level method; Gauss-Newton for few parameters and L-BFGS-B for many if None.
        solver: lower-level method; chosen from the energy if None.
        max_steps, seconds: limits.
        patience: stop after this many steps without a smaller validation loss.
        tolerance: stop when the gradient is below this part of the objective (only where ``optimizer`` is None), and
            relative accuracy of the final interval.
        batch_size: pairs solved at once where memory is short.
        dtype: of the arithmetic. If None float64, in which small regularization can still be certified, whatever the
            dtype of the data; the dtype of ``y`` where the operator can only be used as it is.
        callbacks: watchers of the run.

    Returns:
        The learned model with ``reconstruct``, ``parameters``, ``summary()``, ``save(folder)``.

    Raises:
        ValueError: if shapes do not fit, numbers are not finite, or nothing is learnable.
        KeyboardInterrupt: if interrupted before the first evaluation was complete.
    """
    _check("x_true, y", x_true, y)
    shape = tuple(x_true.shape[1:])
    operator = prepare_operator(physics, shape, torch.float64 if dtype is None else dtype)
    if dtype is None:
        dtype = y.dtype if isinstance(operator, Unstructured) else torch.float64
    x_true, y = x_true.to(dtype), y.to(dtype)
    energy = VariationalEnergy(
        LeastSquares() if fidelity is None else fidelity,
        SmoothedTV(axes=len(shape) - 1) if regularizer is None else regularizer,
        operator,
    )
    upper_loss = SquaredError() if loss is None else as_loss(loss)

    def objective(truth: Tensor, data: Tensor, added: Penalty | None) -> ReducedObjective:
        return ReducedObjective(energy, data, truth, upper_loss, added, solver=solver, batch_size=batch_size)

    training = objective(x_true, y, penalty)
    checked = None
    if validation is not None:
        _check("validation", *validation)
        checked = objective(validation[0].to(dtype), validation[1].to(dtype), None)
    if optimizer is None:
        chosen = default_optimizer(training.parameters, isinstance(upper_loss, SquaredError))
        optimizer = type(chosen)(gradient_tolerance=tolerance)
    learner = Learner(training, optimizer, checked, callbacks, None, max_steps, seconds, patience)
    first = training.parameters.project(training.parameters.get())
    learned = learner.run()
    if learned.state is None:
        raise KeyboardInterrupt
    start, final = training.value(first), _accurate(training, learned.theta, tolerance)
    description = {"image_shape": list(shape), "dtype": "float32" if dtype == torch.float32 else "float64"}
    return Fit(LearnedModel(energy, description), learned, start, final, training)


def load(path: str | Path, physics: Any = None) -> LearnedModel:
    """The learned model of a run directory (or of a folder written by :meth:`Fit.save`).

    Args:
        path: the directory, or "crr" or "wcrr" for the models that come with the package.
        physics: forward operator, where the model was learned with one that cannot be stored or another is wanted.
    """
    return load_model(path, physics)


def _accurate(objective: ReducedObjective, theta: Tensor, relative: float) -> Evaluation:
    known = objective.value(theta)
    if not math.isfinite(known.value) or known.value == 0:
        return known
    return objective.value(theta, relative * abs(known.value))


def _check(name: str, x_true: Tensor, y: Tensor) -> None:
    if x_true.ndim < 2 or y.ndim < 2 or x_true.shape[0] != y.shape[0]:
        raise ValueError(
            f"{name}: found true images {tuple(x_true.shape)} and data {tuple(y.shape)}, "
            "expected (N, C, H, W) images and as many data"
        )
    if not (x_true.is_floating_point() and y.is_floating_point()):
        raise ValueError(f"{name}: found {x_true.dtype} and {y.dtype}, expected floating-point numbers")
    for part, tensor in (("x_true", x_true), ("y", y)):
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name}: found NaN or infinity in {part}, expected finite numbers; clean the data first")
