"""What every pattern has to fulfil."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri import Pattern
from bilearn.parameters import ParameterVector


def jacobian(pattern: Pattern) -> Tensor:
    """(points, P) ds/dtheta by autograd."""
    vector = ParameterVector(pattern)
    s = pattern().flatten()
    rows = [torch.autograd.grad(v, vector.parameters, retain_graph=True, materialize_grads=True) for v in s]
    return torch.stack([vector.flatten(r) for r in rows])


def check_pattern(pattern: Pattern, step: float = 1e-6) -> None:
    """s in [0, 1]; the Jacobian against central differences, and inside the norms that are declared for it."""
    vector = ParameterVector(pattern)
    s, theta, exact = pattern().detach(), vector.get(), jacobian(pattern)
    assert bool((s >= 0).all())
    assert bool((s <= 1).all())
    columns = []
    for e in torch.eye(len(theta), dtype=theta.dtype):
        ends = []
        for sign in (1, -1):
            vector.set(theta + sign * step * e)
            ends.append(pattern().detach().flatten())
        columns.append((ends[0] - ends[1]) / (2 * step))
    vector.set(theta)
    assert torch.allclose(torch.stack(columns, 1), exact, atol=1e-7 * float(exact.abs().max()))
    assert bool((exact.norm(dim=1) <= pattern.row_norms().flatten() * (1 + 1e-12) + 1e-13).all())
    size = torch.rand(2, *s.shape, generator=torch.Generator().manual_seed(0), dtype=s.dtype)
    spectral = torch.stack([torch.linalg.matrix_norm(v.flatten()[:, None] * exact, 2) for v in size])
    assert bool((spectral <= pattern.scaled_norm(size) * (1 + 1e-12)).all())
