"""Random choice of exactly n cells with given inclusion probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.masks.lattice import Lattice

#: A cell of density zero counts as this share of the largest density, so that it comes last but can come.
_FLOOR = 1e-12


def inclusion_probabilities(density: Tensor, count: int) -> Tensor:
    """min(1, c density) with the c for which these sum to ``count``.

    Args:
        density: (n,) nonnegative, float64. Zero counts as 1e-12 of the largest entry; zero everywhere as uniform.
        count: 0 to n.

    Raises:
        ValueError: a density that is negative or not finite.
    """
    if not bool((torch.isfinite(density) & (density >= 0)).all()):
        raise ValueError("density: found negative, infinite or undefined entries, expected nonnegative numbers")
    if count in (0, density.numel()):
        return torch.full_like(density, float(count > 0))
    largest = float(density.max())
    p = (density / largest).clamp(min=_FLOOR) if largest > 0 else torch.ones_like(density)
    order = torch.argsort(p, descending=True, stable=True)
    sizes = p[order]
    tail = sizes.flip(0).cumsum(0).flip(0)
    left = count - torch.arange(p.numel(), dtype=p.dtype)
    certain = int(torch.nonzero(left * sizes <= tail)[0])
    probabilities = torch.ones_like(p)
    probabilities[order[certain:]] = left[certain] * sizes[certain:] / tail[certain]
    return probabilities.clamp(max=1.0)


def draw(probabilities: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Flags of exactly ``count`` entries, chosen with (nearly) the given probabilities: Pareto sampling.

    Keys (u/(1-u)) (1-p)/p with independent uniform u; the ``count`` smallest win (Rosén, J. Statist. Plann. Inference 62,
    1997). Entries of probability 1 are always chosen.

    Args:
        probabilities: (n,) in (0, 1] with the sum ``count``, float64.
        count: number of entries to choose.
        generator: a CPU generator.
    """
    uniform = torch.rand(probabilities.shape, generator=generator, dtype=torch.float64)
    keys = torch.logit(uniform) - torch.logit(probabilities)
    flags = torch.zeros(probabilities.shape, dtype=torch.bool)
    flags[torch.argsort(keys, stable=True)[:count]] = True
    return flags


def draw_mask(lattice: Lattice, density: Tensor, count: int, center: int, seed: int) -> Tensor:
    """Mask (H, W) of the fully sampled center and random cells with probabilities proportional to ``density``.

    Probabilities are clipped at 1 and scaled so that the mask has exactly ``count`` samples.

    Args:
        lattice: the cells.
        density: (cells,) nonnegative, float64.
        count: samples of the mask, the center included.
        center: cells along each side of the fully sampled center, 0 for none.
        seed: of the choice.

    Raises:
        ValueError: what :meth:`Lattice.center_and_rest` and :func:`inclusion_probabilities` raise.
    """
    inside, rest = lattice.center_and_rest(count, center)
    outside = torch.nonzero(~inside)[:, 0]
    probabilities = inclusion_probabilities(density[outside], rest)
    chosen = draw(probabilities, rest, torch.Generator().manual_seed(seed))
    return lattice.mask(inside.index_fill(0, outside[chosen], True))
