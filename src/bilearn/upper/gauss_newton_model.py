"""The model that :class:`bilearn.upper.gauss_newton.GaussNewton` minimizes in each step, and its secant correction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.upper.accuracy import gradient_of
from bilearn.upper.box_quadratic import minimize_in_box, nearest_convex
from bilearn.upper.warp import Warp, descent_warp


@dataclass(frozen=True)
class Proposal:
    """A step that minimizes a model in its trust region; vectors are float64 on the CPU.

    Attributes:
        gradient, gram: of F at the current point.
        secant: the correction S that the model could use.
        point: theta + s in the dtype and on the device of theta.
        move: s.
        warped: p = phi(s).
        stretch: phi'(s).
        predicted: decrease of the model.
    """

    gradient: Tensor
    gram: Tensor
    secant: Tensor
    point: Tensor
    move: Tensor
    warped: Tensor
    stretch: Tensor
    predicted: float

    @property
    def length(self) -> float:
        """Largest component of the step."""
        return float(self.move.abs().max())

    def slopes(self, trial: Evaluation) -> tuple[float, float]:
        """Directional derivatives of F along s at both ends of the step."""
        return float(self.gradient @ self.move), float(double(gradient_of(trial)) @ self.move)

    def secant_helps(self, decrease: float) -> bool:
        """Whether G + S predicted the decrease along s at least as well as G alone."""
        plain = -float(self.gradient @ self.warped + 0.5 * self.warped @ self.gram @ self.warped)
        corrected = plain - 0.5 * float(self.warped @ self.secant @ self.warped)
        return abs(decrease - corrected) <= abs(decrease - plain)

    def next_secant(self, trial: Evaluation, accepted: bool, noise: float) -> Tensor:
        """S after the gradient at the trial point is known, for the point where the next model stands.

        Args:
            trial: evaluation at ``point``.
            accepted: whether the next model stands there; the metric of phi moves along.
            noise: bound on the error of the difference of the two gradients; S is kept where it drowns the difference.
        """
        metric = torch.outer(self.stretch, self.stretch)
        change = double(gradient_of(trial)) / self.stretch - self.gradient
        base = double(gram_of(trial)) / metric if accepted else self.gram
        secant = self.secant
        if noise <= 0.25 * float(change.norm()):
            secant = secant_update(secant, self.warped, change, change - base @ self.warped)
        return secant * metric if accepted else secant


def propose(
    parameters: ParameterVector, current: Evaluation, secant: Tensor, augmented: bool, radius: float
) -> Proposal:
    """Minimize m(s) = g'p + p'Hp/2, p = phi(s), over the box and max_i |s_i| <= radius.

    H is the nearest convex matrix to G + S (``augmented``) or G.
    """
    gradient, gram = double(gradient_of(current)), double(gram_of(current))
    theta = double(current.theta)
    low = (double(parameters.lower) - theta).clamp(min=-radius)
    high = (double(parameters.upper) - theta).clamp(max=radius)
    warp: Warp = descent_warp(parameters, theta, gradient)
    matrix = nearest_convex(gram + secant if augmented else gram)
    move = warp.inverse(minimize_in_box(matrix, gradient, warp(low), warp(high)))
    move = torch.minimum(torch.maximum(move, low), high)
    point = parameters.project((theta + move).to(current.theta))
    move = double(point) - theta
    warped = warp(move)
    predicted = -float(gradient @ warped + 0.5 * warped @ matrix @ warped)
    return Proposal(gradient, gram, secant, point, move, warped, warp.derivative(move), predicted)


def secant_update(secant: Tensor, move: Tensor, change: Tensor, target: Tensor) -> Tensor:
    """S+ with S+ s = target, s = move, closest to the sized S in the metric of a matrix that maps s to ``change``.

    Dennis, Gay, Welsch (1981), equations (3.4) to (3.8). Without positive curvature along s (change's <= 0) that metric
    does not exist and S is kept.
    """
    curvature = float(change @ move)
    if curvature <= 1e-12 * float(change.norm() * move.norm()):
        return secant
    along = float(move @ secant @ move)
    size = min(1.0, abs(float(move @ target)) / abs(along)) if along != 0.0 else 1.0
    sized = size * secant
    missing = target - sized @ move
    outer = torch.outer(missing, change)
    return sized + (outer + outer.mT) / curvature - float(missing @ move) / curvature**2 * torch.outer(change, change)


def gram_of(evaluation: Evaluation) -> Tensor:
    """The Gauss-Newton matrix, which a method that asked for one may rely on.

    Raises:
        ValueError: if the oracle returned none.
    """
    if evaluation.jacobian_gram is None:
        raise ValueError(
            "jacobian_gram: found None, expected the Gauss-Newton matrix; use LBFGSB, or a loss that provides one"
        )
    return evaluation.jacobian_gram


def double(t: Tensor) -> Tensor:
    """The tensor in float64 on the CPU."""
    return t.detach().to("cpu", torch.float64)
