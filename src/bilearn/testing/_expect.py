"""Assertions that say what failed and by how much."""

from __future__ import annotations

import torch
from torch import Tensor


def close(what: str, found: Tensor, expected: Tensor, rtol: float, atol: float = 0.0) -> None:
    """Raise unless |found - expected| <= atol + rtol * |expected| in the 2-norm over all entries."""
    if found.shape != expected.shape:
        raise AssertionError(f"{what}: found shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    if not bool(torch.isfinite(found).all()):
        raise AssertionError(f"{what}: found NaN or infinity, expected finite numbers")
    error = float(torch.linalg.vector_norm((found - expected).detach()))
    size = float(torch.linalg.vector_norm(expected.detach()))
    if not error <= atol + rtol * size:
        raise AssertionError(
            f"{what}: differs by {error:.3g} from an expected norm of {size:.3g} "
            f"(relative {error / size if size else float('inf'):.2g}), allowed {atol + rtol * size:.3g}"
        )


def at_most(what: str, found: Tensor, bound: Tensor, slack: float = 1e-9, atol: float = 0.0) -> None:
    """Raise unless found <= bound * (1 + slack) + atol everywhere; ``bound`` may be infinite, never NaN."""
    if bool(bound.isnan().any()):
        raise AssertionError(f"{what}: the bound is NaN, expected a number or infinity")
    found, bound = torch.broadcast_tensors(found.detach(), bound.detach())
    violated = ~(found <= bound + slack * bound.abs() + atol)
    if bool(violated.any()):
        excess = torch.where(violated, found - bound, torch.zeros_like(bound))
        worst = int(excess.nan_to_num(nan=torch.inf).argmax())
        raise AssertionError(
            f"{what}: found {float(found.flatten()[worst]):.6g}, larger than its bound {float(bound.flatten()[worst]):.6g}"
        )


def unchanged(what: str, now: Tensor, before: Tensor) -> None:
    """Raise unless two tensors are equal bit for bit."""
    if not torch.equal(now.detach(), before):
        raise AssertionError(f"{what}: was changed by the call, expected it untouched")


def holds(what: str, condition: bool) -> None:
    """Raise with ``what`` as the message unless the condition holds."""
    if not condition:
        raise AssertionError(what)
