"""A learned regularizer for another operator or noise level: its few numbers are tuned again, its filters stay."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bilearn.fidelities import Fidelity
from bilearn.losses import SquaredError, UpperLoss
from bilearn.lower import AcceleratedDescent, LowerSolver, minimize
from bilearn.model import LearnedModel, prepare_operator
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Tolerance
from bilearn.variational import VariationalEnergy


@dataclass(frozen=True)
class Retuned:
    """What :func:`retune` returns.

    Attributes:
        model: a copy with the new numbers and the operator of the pairs.
        start, value: mean loss over the pairs at the old numbers and at the new ones.
        evaluations: values computed.
        cost: work of all solves.
    """

    model: LearnedModel
    start: float
    value: float
    evaluations: int
    cost: Cost


def retune(
    model: LearnedModel,
    x_true: Tensor,
    y: Tensor,
    physics: Any = None,
    names: Sequence[str] = ("weight", "scale"),
    loss: UpperLoss | None = None,
    fidelity: Fidelity | None = None,
    solver: LowerSolver | None = None,
    accuracy: float = 3e-4,
    finest: float = 0.1,
    max_evaluations: int = 60,
) -> Retuned:
    """Tune numbers of a model's regularizer for another operator, from a handful of pairs.

    A pattern search in the coordinates of the numbers (decimal logarithms for weights), with warm starts. It needs no
    derivative and no constant, so it serves operators for which nothing is certified, and energies that are not convex.

    1. Step s = 1/2 (a factor of 3.2). Try +s and -s along each coordinate; move where the mean loss falls, and go on in that
       direction while it does.
    2. Halve s after a round without a move; end when s is below ``finest``.

    Args:
        model: for example ``bilearn.load("crr")``; not changed.
        x_true: (N, C, H, W) true images.
        y: (N, ...) data.
        physics: deepinv physics, or any object with A and A_adjoint; the model's own operator if None.
        names: scalar numbers of the regularizer.
        loss: upper-level loss; squared error if None.
        fidelity: the model's own if None.
        solver: lower-level method; :class:`AcceleratedDescent` if None.
        accuracy: gradient norm of the solves per square root of pixels.
        finest: last step length.
        max_evaluations: limit.

    Raises:
        ValueError: if a name is not a scalar number of the regularizer, or shapes do not fit.
    """
    if x_true.shape[0] != y.shape[0] or x_true.shape[0] == 0:
        raise ValueError(
            f"x_true, y: found {x_true.shape[0]} images and {y.shape[0]} data, expected as many, and at least one"
        )
    shape = tuple(x_true.shape[1:])
    operator = model.energy.operator if physics is None else prepare_operator(physics, shape, model.dtype)
    energy = VariationalEnergy(
        copy.deepcopy(model.energy.fidelity) if fidelity is None else fidelity,
        copy.deepcopy(model.energy.regularizer),
        operator,
    )
    learned = {name for name, parameter in energy.named_parameters() if parameter.requires_grad}
    search = _Search(
        energy,
        _numbers(energy, names),
        x_true.to(model.dtype),
        y.to(model.dtype),
        SquaredError() if loss is None else loss,
        AcceleratedDescent() if solver is None else solver,
        accuracy,
    )
    start, value = search.run(finest, max_evaluations)
    for name, parameter in energy.named_parameters():
        parameter.requires_grad_(name in learned)
    description = {**model.description, "image_shape": list(shape)}
    return Retuned(replace(model, energy=energy, description=description), start, value, search.count, search.cost)


def _numbers(energy: VariationalEnergy, names: Sequence[str]) -> ParameterVector:
    """The named numbers as the only learnable parameters of the energy."""
    wanted = [f"regularizer.parametrizations.{name}.original" for name in names]
    parameters = dict(energy.named_parameters())
    for name, full in zip(names, wanted, strict=True):
        if full not in parameters or parameters[full].numel() != 1:
            there = [
                key.split(".")[2]
                for key, p in parameters.items()
                if key.startswith("regularizer.parametrizations.") and p.numel() == 1
            ]
            raise ValueError(f"names: found '{name}', expected scalar numbers of the regularizer out of {there}")
    for full, parameter in parameters.items():
        parameter.requires_grad_(full in wanted)
    return ParameterVector(energy)


class _Search:
    """Mean loss as a function of the coordinates, with warm starts, and the pattern search."""

    def __init__(
        self,
        energy: VariationalEnergy,
        vector: ParameterVector,
        truth: Tensor,
        y: Tensor,
        loss: UpperLoss,
        solver: LowerSolver,
        accuracy: float,
    ) -> None:
        self.energy, self.vector, self.truth, self.y, self.loss, self.solver = energy, vector, truth, y, loss, solver
        self.tolerance = Tolerance(gradient=accuracy * truth[0].numel() ** 0.5)
        self.x: Tensor | None = None
        self.count, self.cost = 0, Cost()

    def value(self, theta: Tensor) -> float:
        """Mean loss at theta; infinite where a reconstruction is not finite."""
        self.vector.set(theta)
        solution = minimize(self.energy, self.y, self.solver, self.x, self.tolerance, max_steps=2000, throw=False)
        self.count += 1
        self.cost.add(solution.cost)
        with torch.no_grad():
            mean = float(self.loss(solution.x, self.truth).mean())
        if not math.isfinite(mean):
            return math.inf
        self.x = solution.x
        return mean

    def run(self, finest: float, max_evaluations: int) -> tuple[float, float]:
        """First and last value; the best coordinates are set in the energy."""
        best = self.vector.project(self.vector.get())
        first = lowest = self.value(best)
        step = 0.5
        while step >= finest and self.count < max_evaluations:
            moved = False
            for direction in torch.cat((torch.eye(len(best)), -torch.eye(len(best)))).to(best):
                while self.count < max_evaluations:
                    trial = self.vector.project(best + step * direction)
                    value = lowest if torch.equal(trial, best) else self.value(trial)
                    if value >= lowest:
                        break
                    best, lowest, moved = trial, value, True
            step = step if moved else step / 2
        self.vector.set(best)
        return first, lowest
