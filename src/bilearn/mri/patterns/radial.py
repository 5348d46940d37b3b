"""Radial spokes whose angles, and degrees, are learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn.mri.patterns.gridded import GriddedPattern
from bilearn.parameters import Identity, is_learned, learnable


class RadialPattern(GriddedPattern):
    """Diameters of k-space at learnable angles, each with a learnable degree, gridded as :class:`GriddedPattern` says.

    Spoke j has samples at the locations p(r) = r (H / n sin a_j, W / n cos a_j) for r = -n/2, ..., n/2 - 1 (n/2 left out
    where n is odd), n = max(H, W), each with the weight degrees_j: along the longer axis the samples are a grid point apart
    at most, and all spokes end at the edge of the ellipse of sampled frequencies.

    Angles of 0 run along the columns (increasing column index), pi/2 along the rows. They are not bounded, since they are
    periodic.

    Args:
        angles: (J,) radians.
        shape: (H, W) of k-space.
        degrees: (J,) in [0, 1], or one number for all.
        learn: which of "angles" and "degrees" are learned.
        dtype: dtype of the parameters.

    Raises:
        ValueError: if the shapes do not fit, ``learn`` names something else, or a degree is outside [0, 1].
    """

    angles: Tensor
    degrees: Tensor

    def __init__(
        self,
        angles: Tensor,
        shape: tuple[int, int],
        degrees: float | Tensor = 1.0,
        learn: tuple[str, ...] = ("angles",),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(shape)
        weights = torch.as_tensor(degrees, dtype=dtype)
        if angles.ndim != 1 or len(angles) == 0 or weights.shape not in ((), angles.shape):
            raise ValueError(
                f"angles, degrees: found shapes {tuple(angles.shape)} and {tuple(weights.shape)}, expected (J,) and (J,)"
            )
        if not set(learn) <= {"angles", "degrees"}:
            raise ValueError(f"learn: found {learn}, expected some of 'angles' and 'degrees'")
        learnable(self, "angles", angles, Identity(), "angles" in learn, dtype)
        learnable(self, "degrees", weights.expand(len(angles)), Identity((0.0, 1.0)), "degrees" in learn, dtype)
        n = max(shape)
        self.register_buffer("_radii", torch.arange(n, dtype=dtype) - n // 2)

    @classmethod
    def equispaced(
        cls, spokes: int, shape: tuple[int, int], learn: tuple[str, ...] = ("angles",), offset: float = 0.25
    ) -> RadialPattern:
        """Angles pi (j + offset) / J; a quarter keeps all spokes off the axes, where s is flat in the angle."""
        return cls((torch.arange(spokes, dtype=torch.float64) + offset) * (math.pi / spokes), shape, learn=learn)

    @classmethod
    def golden(cls, spokes: int, shape: tuple[int, int], learn: tuple[str, ...] = ("angles",)) -> RadialPattern:
        """Angles j pi (sqrt(5) - 1) / 2 modulo pi: any number of successive spokes is nearly evenly spread."""
        return cls(
            (torch.arange(spokes, dtype=torch.float64) * (math.pi * (math.sqrt(5) - 1) / 2)) % math.pi,
            shape,
            learn=learn,
        )

    def locations(self) -> Tensor:
        """(J n, 2), spoke after spoke."""
        radii, scale = self.get_buffer("_radii"), self._scale()
        directions = torch.stack((scale[0] * torch.sin(self.angles), scale[1] * torch.cos(self.angles)), 1)
        return (directions[:, None] * radii[:, None]).flatten(0, 1)

    def readouts(self) -> Tensor:
        """(J, n, 2)."""
        return self.locations().unflatten(0, (len(self.angles), -1))

    def location_norms(self) -> Tensor:
        """|r| |(H / n cos a, W / n sin a)|, 0 if angles are not learned."""
        scale, angles = self._scale(), self.angles.detach()
        speed = torch.hypot(scale[0] * torch.cos(angles), scale[1] * torch.sin(angles))
        learned = float(is_learned(self, "angles"))
        return (learned * speed[:, None] * self.get_buffer("_radii").abs()).flatten()

    def sample_weights(self) -> Tensor:
        """The degree of every sample's spoke."""
        return self.degrees[:, None].expand(-1, len(self.get_buffer("_radii"))).flatten()

    def weight_norms(self) -> Tensor:
        """1 if degrees are learned, else 0."""
        return torch.full_like(self.location_norms(), float(is_learned(self, "degrees")))

    def _scale(self) -> tuple[float, float]:
        n = max(self.shape)
        return self.shape[0] / n, self.shape[1] / n
