"""Nonlinear least squares in a box with known answers, behind an oracle that errs as much as it is allowed to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from bilearn.evaluation import Evaluation
from bilearn.parameters import Coordinate, Identity, Log10, ParameterVector, learnable
from bilearn.penalties import PenaltyTerms
from bilearn.solution import Cost

Residual = Callable[[Tensor], Tensor]


class Numbers(nn.Module):
    """A module with one learnable scalar for each coordinate."""

    def __init__(self, start: list[float], coordinates: list[Coordinate], dtype: torch.dtype) -> None:
        super().__init__()
        for i, (value, coordinate) in enumerate(zip(start, coordinates, strict=True)):
            natural = coordinate(torch.tensor(value, dtype=dtype))
            learnable(self, f"p{i}", natural, coordinate, dtype=dtype)


@dataclass(frozen=True)
class Problem:
    """min |r(theta)|^2 over a box of coordinates; ``optimum`` and ``minimizer`` are known."""

    name: str
    residual: Residual
    coordinates: list[Coordinate]
    start: list[float]
    optimum: float
    minimizer: list[float]

    def oracle(self, error: str = "exact", dtype: torch.dtype = torch.float64, **options: float) -> SyntheticOracle:
        return SyntheticOracle(self, error, dtype, **options)


@dataclass
class SyntheticOracle:
    """Answers with errors just inside what was asked, or about ten times the value where anything goes.

    ``error``: "exact"; "unknown" (exact numbers, infinite bounds); "above" / "below" (values too large / small, gradients
    too short / long); "mixed" (a sign and a direction that depend on theta alone, so that nearby values contradict).

    ``sloppy``: relative error where no accuracy is asked for. ``floor``: error that no request gets below.
    """

    problem: Problem
    error: str
    dtype: torch.dtype
    sloppy: float = 0.3
    floor: float = 0.0
    asked: list[tuple[str, Tensor, float | None]] = field(default_factory=list)
    fails_at: Callable[[Tensor], bool] = lambda theta: False

    def __post_init__(self) -> None:
        p = self.problem
        self.parameters = ParameterVector(Numbers(p.start, p.coordinates, self.dtype))
        self.cost = Cost()

    @property
    def samples(self) -> int:
        return len(self.problem.residual(torch.tensor(self.problem.start, dtype=torch.float64)))

    def subset(self, index: Tensor, unbiased: bool = False) -> SyntheticOracle:
        weight = math.sqrt(self.samples / len(index)) if unbiased else 1.0
        residual = self.problem.residual
        part = replace(self.problem, residual=lambda theta: weight * residual(theta)[index])
        view = SyntheticOracle(part, self.error, self.dtype, self.sloppy, self.floor, self.asked, self.fails_at)
        view.cost = self.cost
        return view

    def value(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        return self._answer("value", theta, accuracy)

    def hypergradient(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        return self._answer("hypergradient", theta, accuracy)

    def gauss_newton(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        return self._answer("gauss_newton", theta, accuracy)

    def penalty_terms(self, theta: Tensor) -> PenaltyTerms:
        zero = torch.zeros_like(theta)
        return PenaltyTerms(0.0, zero, torch.diag_embed(zero))

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, snapshot: dict[str, Any]) -> None:
        assert snapshot == {}

    def residual_vectors(self, snapshot: dict[str, Any]) -> Tensor | None:
        return None

    def exact(self, theta: Tensor) -> float:
        return float(self.problem.residual(theta.double()).square().sum())

    def visited(self) -> list[list[float]]:
        return [theta.tolist() for _, theta, _ in self.asked]

    def _answer(self, kind: str, theta: Tensor, accuracy: float | None) -> Evaluation:
        assert theta.dtype == self.dtype
        assert accuracy is None or accuracy > 0
        self.asked.append((kind, theta.clone(), accuracy))
        self.cost.gradients += 1
        point = theta.double().clone().requires_grad_(True)
        tracked = self.problem.residual(point)
        jacobian = torch.stack([torch.autograd.grad(r, point, retain_graph=True)[0] for r in tracked])
        point, residual = point.detach(), tracked.detach()
        value, gradient = float(residual.square().sum()), 2 * jacobian.T @ residual
        if self.fails_at(theta):
            value, gradient = math.nan, torch.full_like(gradient, math.nan)
        norm = float(gradient.norm())
        bound = gradient_bound = 0.0
        if self.error not in ("exact", "unknown"):
            relative = self.sloppy if accuracy is None else math.inf
            loosest = 10 * (1 + abs(value))
            bound = max(min(relative * abs(value), loosest if accuracy is None else min(accuracy, loosest)), self.floor)
            gradient_bound = max(min(relative * norm, math.inf if accuracy is None else accuracy), self.floor)
            sign, direction = self._adversary(point, gradient)
            value += 0.999 * sign * bound
            gradient = gradient + 0.999 * gradient_bound * direction
        unknown = self.error == "unknown"
        slack = 1e-15 * abs(value)
        wants = kind != "value"
        return Evaluation(
            theta=theta.clone(),
            value=value,
            lower=-math.inf if unknown else value - bound - slack,
            upper=math.inf if unknown else value + bound + slack,
            losses=residual.square(),
            gradient=gradient.to(self.dtype) if wants else None,
            gradient_bound=math.inf if unknown or not wants else gradient_bound,
            jacobian_gram=(2 * jacobian.T @ jacobian).to(self.dtype) if kind == "gauss_newton" else None,
            certified=not unknown,
            accuracy=accuracy,
            cost=Cost(gradients=1),
        )

    def _adversary(self, theta: Tensor, gradient: Tensor) -> tuple[float, Tensor]:
        along = gradient / gradient.norm().clamp(min=1e-300)
        if self.error == "above":
            return 1.0, -along
        if self.error == "below":
            return -1.0, along
        generator = torch.Generator().manual_seed(abs(hash(tuple(theta.tolist()))) % 2**63)
        direction = torch.randn(theta.shape, dtype=torch.float64, generator=generator)
        sign = 1.0 if float(torch.rand(1, generator=generator)) < 0.5 else -1.0
        return sign, direction / direction.norm()


def _linear() -> Problem:
    """Linear least squares whose first and last coordinates end on a bound; solved here by enumeration of faces."""
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(9, 4, dtype=torch.float64, generator=generator)
    target = matrix @ torch.tensor([1.7, 0.2, -0.4, -2.5], dtype=torch.float64) + 0.3 * torch.randn(
        9, dtype=torch.float64, generator=generator
    )
    low, high = -1.0, 1.0
    best, where = math.inf, torch.zeros(4, dtype=torch.float64)
    for code in range(3**4):
        digits = [(code // 3**i) % 3 for i in range(4)]
        point = torch.tensor([0.0 if d == 0 else low if d == 1 else high for d in digits], dtype=torch.float64)
        free = [i for i, d in enumerate(digits) if d == 0]
        if free:
            part = torch.linalg.lstsq(matrix[:, free], target - matrix @ point).solution
            if bool((part.abs() > 1).any()):
                continue
            point[free] = part
        value = float((matrix @ point - target).square().sum())
        if value < best:
            best, where = value, point
    box: list[Coordinate] = [Identity((low, high)) for _ in range(4)]
    return Problem("linear", lambda t: matrix @ t - target, box, [0.0, 0.0, 0.0, 0.0], best, where.tolist())


LINEAR = _linear()

ROSENBROCK = Problem(
    "rosenbrock cut by its box",
    lambda t: torch.stack([10 * (t[1] - t[0] ** 2), 1 - t[0]]),
    [Identity((-1.5, 0.5)), Identity((-2.0, 2.0))],
    [-1.2, 1.0],
    0.25,
    [0.5, 0.25],
)

FREUDENSTEIN_ROTH = Problem(
    "freudenstein and roth, the local minimum with a large residual",
    lambda t: torch.stack([-13 + t[0] + ((5 - t[1]) * t[1] - 2) * t[1], -29 + t[0] + ((t[1] + 1) * t[1] - 14) * t[1]]),
    [Identity((0.0, 20.0)), Identity((-5.0, 2.0))],
    [0.5, -2.0],
    48.98425367924,
    [11.41277899, -0.89680526],
)

FLAT_TAIL = Problem(
    "a logarithm that tends to its lower bound",
    lambda t: torch.stack([10 ** t[0] - 0.3, 1 + 10 ** t[1], 0.5 * (t[2] - 2.0)]),
    [Log10((1e-4, 1e3)), Log10((1e-7, 1.0)), Identity((-1.0, 1.0))],
    [1.0, -1.0, 0.0],
    (1 + 1e-7) ** 2 + 0.25,
    [math.log10(0.3), -7.0, 1.0],
)

UNBOUNDED = Problem(
    "unbounded coordinates",
    lambda t: torch.stack([t[0] - 3, 2 * (t[1] + 1), t[0] * 0 + 1, t[0] * t[1] + 3]),
    [Identity(), Identity()],
    [0.0, 0.0],
    1.0,
    [3.0, -1.0],
)

PROBLEMS = [LINEAR, ROSENBROCK, FREUDENSTEIN_ROTH, FLAT_TAIL, UNBOUNDED]
ERRORS = ["exact", "unknown", "above", "below", "mixed"]
