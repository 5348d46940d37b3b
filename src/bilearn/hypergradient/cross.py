"""The cross derivative d(grad h)/d(theta) at a point: its columns where there are few, and its norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.energy import Energy

MAX_COLUMNS = 16
"""Number of scalar parameters up to which the columns of the cross derivative are computed."""

_POWER_STEPS = 10


@dataclass(frozen=True)
class CrossDerivative:
    """B = d(grad h)/d(theta) at one point.

    Attributes:
        columns: (P, B, ...) its columns, or None where there are more than ``MAX_COLUMNS`` parameters.
        norm: (B,) bound on the spectral norm per sample.
        proved: whether ``norm`` is a bound; False for an estimate by power iteration.
    """

    columns: Tensor | None
    norm: Tensor
    proved: bool


def cross_derivative(energy: Energy, x: Tensor, y: Tensor, parameters: list[nn.Parameter]) -> CrossDerivative:
    """B at x. Norms are exact for few parameters, else declared by the energy, else estimated by power iteration."""
    if sum(p.numel() for p in parameters) <= MAX_COLUMNS:
        columns = energy.cross_columns(x, y, parameters)
        flat = columns.flatten(2) if columns.ndim > 2 else columns.unsqueeze(-1)
        rows = flat.transpose(0, 1)
        gram = (rows.conj() @ rows.transpose(1, 2)).real if rows.is_complex() else rows @ rows.transpose(1, 2)
        if not bool(torch.isfinite(gram).all()):
            return CrossDerivative(columns, torch.full_like(gram[:, 0, 0], torch.inf), False)
        largest = torch.linalg.eigvalsh(gram)[:, -1].clamp(min=0.0)
        unit = 16 * torch.finfo(gram.dtype).eps
        trace = gram.diagonal(dim1=1, dim2=2).sum(1)
        return CrossDerivative(columns, torch.sqrt(largest + unit * trace), True)
    declared = energy.cross_norm(x, y)
    if declared is not None:
        return CrossDerivative(None, declared, True)
    return CrossDerivative(None, _power_norm(energy, x, y, parameters), False)


def _power_norm(energy: Energy, x: Tensor, y: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Estimate of the spectral norm of the stacked B of the batch, the same number for every sample."""
    with torch.enable_grad():
        dummy = torch.zeros_like(x).requires_grad_(True)
        rows = torch.autograd.grad(
            energy.directional(x.detach(), y, dummy), parameters, create_graph=True, materialize_grads=True
        )
    direction = tuple(torch.ones_like(p) for p in parameters)
    estimate = torch.zeros((), dtype=rows[0].dtype, device=x.device)
    if all(r.requires_grad for r in rows):
        for _ in range(_POWER_STEPS):
            length = torch.sqrt(torch.stack([d.square().sum() for d in direction]).sum())
            # normalized, because the powers overflow in float32
            direction = tuple(d / torch.where(length > 0, length, 1.0) for d in direction)
            (image,) = torch.autograd.grad(rows, dummy, direction, retain_graph=True, materialize_grads=True)
            estimate = torch.where(length > 0, torch.linalg.vector_norm(image), estimate)
            direction = energy.cross_vjp(x, y, image, parameters)
    return estimate.to(x.device, _batch.norm(x).dtype).expand(_batch.size(x))
