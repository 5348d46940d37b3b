"""Every parametrization of a pattern with every regularizer of MRI: hypergradients against central differences.

The gradient in the numbers of the pattern, in alpha and in the ridge eps is compared, each as a whole, with differences of
the loss at minimizers to machine precision (Richardson, fourth order).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import NewtonCG, minimize
from bilearn.mri import FreePattern, Linear, Odds, Pattern, Square, Weighting, birdcage_maps, sampling_energy
from bilearn.mri.patterns import (
    CenteredPattern,
    LinePattern,
    ProbabilisticPattern,
    ProductPattern,
    RadialPattern,
    SpokePattern,
    SymmetricPattern,
    TrajectoryPattern,
    center_block,
)
from bilearn.parameters import ParameterVector
from bilearn.regularizers import DirectionalTV, Regularizer, SmoothedTV, SquaredH1, Sum, Tikhonov, WaveletSparsity
from bilearn.solution import Tolerance

GRID = (6, 6)
ANGLES = torch.tensor([0.3, 1.1, 2.5], dtype=torch.float64)


def degrees(*shape: int) -> Tensor:
    return 0.2 + 0.6 * rand(shape, 1)


def rows() -> LinePattern:
    return LinePattern(degrees(6), GRID, 0)


def columns() -> LinePattern:
    return LinePattern(degrees(6), GRID, 1)


PATTERNS: dict[str, Callable[[], Pattern]] = {
    "points": lambda: FreePattern(degrees(*GRID)),
    "rows": rows,
    "columns": columns,
    "spokes": lambda: SpokePattern(degrees(4), GRID),
    "center": lambda: CenteredPattern(columns(), center_block(GRID, (2, 2))),
    "symmetric": lambda: SymmetricPattern(FreePattern(degrees(*GRID))),
    "product": lambda: ProductPattern(rows(), columns()),
    "angles": lambda: RadialPattern(ANGLES, GRID, 0.6),
    "angles and degrees": lambda: RadialPattern(ANGLES, GRID, 0.6, learn=("angles", "degrees")),
    "trajectory": lambda: TrajectoryPattern(0.9 * rand((2, 5, 2), 2) - 0.45, GRID, 9),
    "probabilistic": lambda: ProbabilisticPattern(torch.arange(36).reshape(GRID), 12, rand((36,), 3), hard=False),
}

REGULARIZERS: dict[str, Callable[[], Regularizer]] = {
    "none": lambda: Tikhonov(0.3),
    "squared H1": lambda: Sum(SquaredH1(0.2), Tikhonov(0.3)),
    "TV": lambda: SmoothedTV(0.1, 0.3, 0.2, learn=("alpha", "xi"), coupled=True),
    "wavelets": lambda: WaveletSparsity(0.1, 0.3, 0.2, wavelet="db2", levels=1, learn=("alpha", "xi"), coupled=True),
    "directional TV": lambda: DirectionalTV(
        rand(GRID, 4), alpha=0.1, xi=0.3, nu=0.2, eta=0.3, learn=("alpha", "xi"), coupled=True
    ),
}


def check(pattern: Pattern, regularizer: Regularizer, weighting: Weighting, maps: Tensor | None = None) -> set[str]:
    """Compare group by group (pattern, alpha, ridge); returns the groups."""
    energy = sampling_energy(pattern, regularizer, weighting, maps)
    target = rand((1, 2, *GRID), 5)
    clean = energy.operator.A(target)
    y = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    exact = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-9)
    assert exact.certified
    vector = ParameterVector(energy)
    theta = vector.get()

    def central(direction: Tensor, step: float) -> float:
        values = []
        for sign in (1, -1):
            vector.set(theta + sign * step * direction)
            x = minimize(energy, y, NewtonCG(), exact.lower.x, Tolerance(gradient=1e-13), throw=False).x
            values.append(float((x - target).square().sum()))
        vector.set(theta)
        return (values[0] - values[1]) / (2 * step)

    groups: dict[str, Tensor] = {}
    for slot in vector.slots:
        name = "pattern" if "pattern" in slot.name else slot.name
        inside = torch.zeros_like(theta)
        inside[slot.start : slot.stop] = 1
        groups[name] = groups.get(name, 0) + inside
    for name, inside in groups.items():
        size = float((exact.gradient * inside).norm())
        assert size > 1e-4, f"{name}: nothing to compare"
        direction = exact.gradient * inside / size
        difference = (4 * central(direction, 2e-4) - central(direction, 4e-4)) / 3
        assert difference == pytest.approx(size, rel=1e-6), name
    return set(groups)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_hypergradients(pattern: str, regularizer: str) -> None:
    weighting = Linear() if pattern == "probabilistic" else Square()
    names = check(PATTERNS[pattern](), REGULARIZERS[regularizer](), weighting)
    assert len(names) == (2 if regularizer == "none" else 3), "pattern, alpha and the ridge"


@pytest.mark.parametrize("pattern", ["points", "columns", "angles", "trajectory"])
def test_hypergradients_with_coils_and_other_weightings(pattern: str) -> None:
    """Two coils; odds where degrees are learned, else linear weights. The coarse scale of the wavelets is free."""
    maps = birdcage_maps(2, GRID) * (0.5 + rand((1, *GRID), 7))
    free = WaveletSparsity(
        0.1, 0.3, 0.2, wavelet="db2", levels=1, penalize_coarse=False, learn=("alpha", "xi"), coupled=True
    )
    check(PATTERNS[pattern](), free, Odds() if pattern in ("points", "columns") else Linear(), maps)
