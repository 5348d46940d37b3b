"""Readouts along curves: B-splines whose control points are learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn.mri.patterns.gridded import GriddedPattern
from bilearn.parameters import Identity, is_learned, learnable

_DEGREE = 3


class TrajectoryPattern(GriddedPattern):
    """Cubic B-splines through k-space with learnable control points, gridded as :class:`GriddedPattern` says.

    A readout has T samples at equal times, k(t_i) = sum_m B_m(t_i) c_m with clamped uniform cubic B-splines B_m on [0, 1] and
    t_i = i / (T - 1): it starts at the first control point and ends at the last. The curve lies in the convex hull of its
    control points, so bounds on these keep it inside of k-space. Few control points make smooth curves, which gradient
    coils can follow; :mod:`bilearn.mri.patterns.hardware` has their limits.

    Args:
        controls: (S, M, 2) row and column of every control point of S readouts, in cycles per pixel, [-0.5, 0.5]; M >= 4.
        shape: (H, W) of k-space.
        samples: T >= M of every readout. Successive samples should be at most about a grid point apart, or gaps are seen.
        learn: whether the control points are learned.
        dtype: dtype of the parameter.

    Raises:
        ValueError: if the shape or the number of samples does not fit, or a control point is out of bounds.

    Reference:
        Wang, Luo, Nielsen, Noll, Fessler, B-spline parameterized joint optimization of reconstruction and k-space
        trajectories (BJORK), IEEE TMI 41, 2022: trajectories as B-splines, limits as penalties.
    """

    controls: Tensor

    def __init__(
        self,
        controls: Tensor,
        shape: tuple[int, int],
        samples: int,
        learn: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(shape)
        if controls.ndim != 3 or controls.shape[1] <= _DEGREE or controls.shape[2] != 2:
            raise ValueError(
                f"controls: found shape {tuple(controls.shape)}, expected (readouts, control points, 2) with at least "
                f"{_DEGREE + 1} control points"
            )
        if samples < controls.shape[1]:
            raise ValueError(f"samples: found {samples}, expected at least {controls.shape[1]}, one per control point")
        learnable(self, "controls", controls, Identity((-0.5, 0.5)), learn, dtype)
        self.register_buffer("_basis", spline_basis(samples, controls.shape[1]).to(dtype))

    @classmethod
    def spiral(
        cls,
        shape: tuple[int, int],
        readouts: int = 1,
        turns: float = 8.0,
        controls: int = 60,
        samples: int = 1024,
        power: float = 1.0,
        learn: bool = True,
    ) -> TrajectoryPattern:
        """Interleaved spirals from the zero frequency: radius t^power / 2, angle 2 pi (turns t + j / readouts).

        Control points are the least-squares fit; some eight of them per turn follow it closely.
        """
        t = torch.linspace(0, 1, samples, dtype=torch.float64)
        start = torch.arange(readouts, dtype=torch.float64)[:, None] / readouts
        angle = 2 * math.pi * (turns * t + start)
        curve = 0.5 * t.pow(power)[:, None] * torch.stack((torch.sin(angle), torch.cos(angle)), -1)
        return cls(_fitted(curve, controls), shape, samples, learn)

    @classmethod
    def radial(
        cls,
        shape: tuple[int, int],
        readouts: int,
        controls: int = 8,
        samples: int | None = None,
        learn: bool = True,
        offset: float = 0.25,
    ) -> TrajectoryPattern:
        """Diameters at the angles pi (j + offset) / readouts, free to bend; as many samples as the longer axis has points.

        An offset of a quarter keeps all of them off the axes of k-space, where s is flat in their position.
        """
        count = max(shape) if samples is None else samples
        t = torch.linspace(-0.5, 0.5, count, dtype=torch.float64)
        angle = (torch.arange(readouts, dtype=torch.float64)[:, None] + offset) * (math.pi / readouts)
        curve = t[:, None] * torch.stack((torch.sin(angle), torch.cos(angle)), -1)
        return cls(_fitted(curve, controls), shape, count, learn)

    def readouts(self) -> Tensor:
        """(S, T, 2) locations in grid points from the zero frequency, which are cycles per field of view."""
        return (self.get_buffer("_basis") @ self.controls) * self.controls.new_tensor(self.shape)

    def locations(self) -> Tensor:
        """(S T, 2), readout after readout."""
        return self.readouts().flatten(0, 1)

    def location_norms(self) -> Tensor:
        """max(H, W) |B(t)|, exact; 0 if nothing is learned."""
        norms = torch.linalg.vector_norm(self.get_buffer("_basis"), dim=1)
        return (float(is_learned(self, "controls")) * max(self.shape) * norms).repeat(self.controls.shape[0])


def spline_basis(samples: int, controls: int) -> Tensor:
    """(samples, controls) clamped uniform cubic B-splines at equally spaced points of [0, 1], ends included."""
    from scipy.interpolate import BSpline

    inner = torch.linspace(0, 1, controls - _DEGREE + 1, dtype=torch.float64)
    knots = torch.cat((torch.zeros(_DEGREE), inner, torch.ones(_DEGREE)))
    points = torch.linspace(0, 1, samples, dtype=torch.float64)
    return torch.from_numpy(BSpline.design_matrix(points.numpy(), knots.numpy(), _DEGREE).toarray())


def _fitted(curve: Tensor, controls: int) -> Tensor:
    """(S, M, 2) control points of the splines nearest to curves (S, T, 2)."""
    basis = spline_basis(curve.shape[1], controls)
    return (torch.linalg.pinv(basis) @ curve).clamp(-0.5, 0.5)
