"""Slow and plain computations that the checks compare with: dense matrices, Newton to machine precision, differences.

Nothing here uses a solver of the library, so that agreement means something.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from bilearn import _batch
from bilearn.energy import Energy, Hessian
from bilearn.parameters import ParameterVector

#: Largest number of entries of one sample for which dense matrices are formed.
DENSE_ENTRIES = 400


def dense_hessian(hessian: Hessian, like: Tensor) -> Tensor:
    """Matrices (B, n, n) of a Hessian, column by column through stacked products.

    Raises:
        ValueError: one sample has more than ``DENSE_ENTRIES`` entries.
    """
    n = _batch.samples(like)
    if n > DENSE_ENTRIES:
        raise ValueError(f"x: found {n} entries per sample, expected at most {DENSE_ENTRIES}; check a smaller problem")
    unit = torch.eye(n, dtype=like.dtype, device=like.device).reshape(n, 1, *like.shape[1:]).expand(n, *like.shape)
    return hessian(unit.contiguous()).reshape(n, like.shape[0], n).permute(1, 2, 0)


def newton_minimizer(energy: Energy, y: Tensor, x0: Tensor | None = None, max_steps: int = 500) -> Tensor:
    """Minimizer of h to machine precision by Newton's method with dense matrices and halved steps.

    1. Solve (H + s I) d = -grad h, with s > 0 only where H is not positive definite.
    2. Halve the step, sample by sample, until h decreases by the Armijo rule; where the predicted decrease is lost in the
       rounding of h, take the full step if it decreases the gradient norm.
    3. Stop when no sample moves any more.

    Args:
        energy: a convex energy (or one that is convex around the minimizer that its start leads to).
        y: (B, ...) float64 data.
        x0: (B, ...) start; ``energy.start(y)`` if None.
        max_steps: step limit.

    Returns:
        (B, ...) minimizers.

    Raises:
        ValueError: one sample has too many entries for dense matrices.
        RuntimeError: the step limit was reached.
    """
    with torch.no_grad(), parametrize.cached():
        x = (energy.start(y) if x0 is None else x0).detach().clone()
        gradient = energy.grad(x, y)
        for _ in range(max_steps):
            direction = _newton_direction(dense_hessian(energy.hessian(x, y), x), gradient)
            trial, moved = _halved(energy, y, x, gradient, direction)
            if not bool(moved.any()):
                return x
            x = _batch.where(moved, trial, x)
            gradient = energy.grad(x, y)
    raise RuntimeError(f"newton_minimizer: no minimizer of {type(energy).__name__} found in {max_steps} steps")


def _newton_direction(matrix: Tensor, gradient: Tensor) -> Tensor:
    lowest = torch.linalg.eigvalsh(matrix)[:, 0]
    scale = matrix.diagonal(dim1=1, dim2=2).abs().amax(1)
    shift = torch.where(lowest > 1e-12 * scale, torch.zeros_like(lowest), -lowest.clamp(max=0.0) + 1e-3 * scale)
    shifted = matrix + torch.diag_embed(shift.unsqueeze(1).expand(matrix.shape[:2]))
    return -torch.linalg.solve(shifted, gradient.reshape(gradient.shape[0], -1)).reshape(gradient.shape)


def _halved(energy: Energy, y: Tensor, x: Tensor, gradient: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Trial points and which of them to take."""
    value, slope, norm = energy(x, y), _batch.dot(gradient, direction), _batch.norm(gradient)
    lost = -slope <= 1e-11 * value.abs()
    trial = x + direction
    taken = torch.where(lost, _batch.norm(energy.grad(trial, y)) < norm, energy(trial, y) <= value + 1e-4 * slope)
    step = torch.ones_like(value)
    for _ in range(40):
        search = ~taken & ~lost
        if not bool(search.any()):
            break
        step = torch.where(search, 0.5 * step, step)
        trial = x + _batch.expand(step, x) * direction
        taken = taken | (search & (energy(trial, y) <= value + 1e-4 * step * slope))
    return trial, taken


def central_difference(function: Callable[[float], Tensor], step: float) -> Tensor:
    """Derivative at 0 of a function of one number, fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / (12 h)."""
    inner = function(step) - function(-step)
    outer = function(2 * step) - function(-2 * step)
    return (8 * inner - outer) / (12 * step)


class AtTheta:
    """Evaluates functions of an energy at shifted parameters and puts the parameters back.

    Args:
        energy: its parameters are changed during a call only.
        parameters: its learnable numbers.
    """

    def __init__(self, energy: Energy, parameters: ParameterVector) -> None:
        self.energy, self.parameters, self.base = energy, parameters, parameters.get()

    def __call__(self, direction: Tensor, function: Callable[[], Tensor]) -> Callable[[float], Tensor]:
        """t -> function() at theta + t * direction."""

        def evaluate(t: float) -> Tensor:
            try:
                self.parameters.set(self.base + t * direction)
                with torch.no_grad():
                    return function().clone()
            finally:
                self.parameters.set(self.base)

        return evaluate


def coordinate_directions(count: int, limit: int, generator: torch.Generator) -> Tensor:
    """All unit vectors (P, P) where P <= limit, else ``limit`` of them chosen at random."""
    unit = torch.eye(count, dtype=torch.float64)
    return unit if count <= limit else unit[torch.randperm(count, generator=generator)[:limit]]
