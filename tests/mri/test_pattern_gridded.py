"""Patterns of samples off the grid, of spokes and of products."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pattern_checks import check_pattern, jacobian
from registry import rand
from torch import Tensor

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import minimize
from bilearn.mri import FreePattern, Pattern, mirrored, sampling_energy
from bilearn.mri.patterns import (
    CenteredPattern,
    GriddedPattern,
    LinePattern,
    ProductPattern,
    RadialPattern,
    SpokePattern,
    SymmetricPattern,
    center_block,
)
from bilearn.parameters import ParameterVector
from bilearn.regularizers import SmoothedTV
from bilearn.sampling import Continuation, Start, Units, learn_sampling
from bilearn.solution import Tolerance

GRID = (7, 8)
ANGLES = torch.tensor([0.3, 1.1, 2.5], dtype=torch.float64)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


PATTERNS: dict[str, Callable[[], Pattern]] = {
    "angles": lambda: RadialPattern(ANGLES, GRID, 0.6),
    "degrees": lambda: RadialPattern(ANGLES, GRID, 0.1 + 0.5 * rand((3,), 1), learn=("degrees",)),
    "angles and degrees": lambda: RadialPattern(ANGLES, GRID, 0.7, learn=("angles", "degrees")),
    "centered angles": lambda: CenteredPattern(RadialPattern(ANGLES, GRID, 0.6), center_block(GRID, (3, 3))),
    "symmetric angles": lambda: SymmetricPattern(RadialPattern(ANGLES, GRID, 0.6)),
    "spokes": lambda: SpokePattern(0.2 + 0.6 * rand((4,), 2), GRID),
    "rows times columns": lambda: ProductPattern(
        LinePattern(0.2 + 0.6 * rand((7,), 3), GRID, 0), LinePattern(0.2 + 0.6 * rand((8,), 4), GRID, 1)
    ),
    "symmetric rows times points": lambda: SymmetricPattern(
        ProductPattern(LinePattern(0.2 + 0.6 * rand((7,), 3), GRID, 0), FreePattern(0.2 + 0.6 * rand(GRID, 4)))
    ),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_derivatives_and_norms(name: str) -> None:
    check_pattern(PATTERNS[name]())


def test_row_norms_of_products_and_spokes_are_exact() -> None:
    for name in ("rows times columns", "spokes"):
        pattern = PATTERNS[name]()
        exact = jacobian(pattern).norm(dim=1).reshape(GRID)
        assert torch.allclose(pattern.row_norms(), exact, atol=1e-14)


class Samples(GriddedPattern):
    """Given locations."""

    def __init__(self, shape: tuple[int, int], at: Tensor) -> None:
        super().__init__(shape)
        self.at = torch.nn.Parameter(at)

    def locations(self) -> Tensor:
        return self.at

    def location_norms(self) -> Tensor:
        return torch.ones(len(self.at), dtype=self.at.dtype)


def test_samples_on_the_grid_are_points_of_it() -> None:
    pattern = Samples((4, 5), torch.tensor([[0.0, 0.0], [1.0, 2.0], [-1.0, -1.0], [1.0, 2.0]], dtype=torch.float64))
    expected = torch.zeros(4, 5, dtype=torch.float64)
    expected[0, 0] = expected[1, 2] = expected[3, 4] = 1.0
    assert torch.allclose(pattern(), expected, atol=1e-30)


def test_weights_of_a_sample_add_up_and_it_counts_where_it_is() -> None:
    pattern = Samples((6, 6), torch.tensor([[1.3, 2.8]], dtype=torch.float64))
    counts = pattern.counts().detach()
    assert float(counts.sum()) == pytest.approx(1.0, rel=1e-14)
    assert sorted(counts.nonzero().tolist()) == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert float(counts[1, 3]) == pytest.approx((math.cos(0.15 * math.pi) * math.cos(0.1 * math.pi)) ** 2, rel=1e-14)


def test_derivatives_have_no_jump_at_the_lines_of_the_grid() -> None:
    slopes = []
    for side in (1 - 1e-9, 1 + 1e-9):
        pattern = Samples((5, 5), torch.tensor([[side, 0.4]], dtype=torch.float64))
        slopes.append(jacobian(pattern))
    assert float((slopes[0] - slopes[1]).abs().max()) < 1e-7
    assert float(slopes[0].abs().max()) > 0.1


def test_horizontal_and_vertical_spokes_are_lines() -> None:
    pattern = RadialPattern(torch.tensor([0.0, math.pi / 2], dtype=torch.float64), (6, 6))
    expected = torch.zeros(6, 6, dtype=torch.float64)
    expected[0] = expected[:, 0] = 1.0
    assert torch.allclose(pattern(), expected, atol=1e-14)


def test_spread_angles() -> None:
    assert torch.allclose(RadialPattern.equispaced(2, GRID).angles, torch.tensor([0.125, 0.625]).double() * math.pi)
    golden = RadialPattern.golden(13, GRID).angles.detach().sort().values
    gaps = torch.cat((golden.diff(), golden[:1] + math.pi - golden[-1:]))
    assert float(gaps.max() / gaps.min()) < 2.7


def test_spokes_are_whole_and_share_the_middle() -> None:
    pattern = SpokePattern(torch.eye(8)[0], (9, 9))
    s = pattern().detach()
    assert torch.equal(s, mirrored(s))
    assert float(s[0].sum()) == 9.0
    assert float(s.sum()) > 9.0
    assert float(s[0, 0]) == 1.0
    assert bool((pattern.groups == -2).any())
    symmetric = SymmetricPattern(SpokePattern(torch.full((4,), 0.5), (8, 8)))
    assert torch.equal(symmetric(), mirrored(symmetric()))


def test_a_number_of_samples_of_spokes() -> None:
    n, rate = 16, 0.2
    x = torch.zeros(1, 2, n, n, dtype=torch.float64)
    x[:, 0, 4:12, 5:11] = 1
    k = torch.fft.fft2(x[:, 0], norm="ortho")
    y = torch.stack((k.real, k.imag), 1) + 0.03 * noise(1, 2, n, n)
    pattern = SpokePattern(torch.full((8,), 0.5), (n, n))
    energy = sampling_energy(pattern, SmoothedTV(0.02, 1e-2, 2e-2, learn=["alpha"], coupled=True))
    units = Units.of(pattern)
    asked = units.points(rate, None)
    assert abs(asked - rate * n * n) <= float(units.sizes.max())
    result = learn_sampling(
        energy,
        y,
        x,
        rate=rate,
        starts=[Start(0.5)],
        max_steps=2,
        max_exchanges=0,
        continuation=Continuation(1.0, 5.0, 1, 2),
    )
    assert int(result.mask.sum()) == asked
    assert set(pattern.degrees.detach().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("seed", range(5))
def test_exact_sums_of_uneven_units(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(3, 9, (12,), generator=generator).double()
    degrees = torch.rand(12, generator=generator, dtype=torch.float64)
    units = Units(sizes, 5, 200)
    subsets = ((torch.arange(1, 4096)[:, None] >> torch.arange(12)) & 1).double()
    reachable = {int(v) + 5 for v in subsets @ sizes}
    for rate in (0.1, 0.21, 0.3):
        points = units.points(rate, None)
        assert points in reachable
        assert abs(points - 200 * rate) == min(abs(r - 200 * rate) for r in reachable)
        taken = units.choose(degrees, points)
        assert int(taken @ sizes) + 5 == points
    exact = subsets[(subsets @ sizes) == points - 5]
    order = torch.argsort(degrees, descending=True, stable=True)
    best = max(exact[:, order].tolist())
    assert taken[order].tolist() == best


@pytest.mark.parametrize("name", ["angles and degrees", "rows times columns"])
def test_hypergradients_and_certificates(name: str) -> None:
    energy = sampling_energy(PATTERNS[name](), SmoothedTV(0.05, 0.1, 0.1, learn=("alpha", "xi"), coupled=True))
    target, y = rand((1, 2, *GRID), 8), noise(1, 2, *GRID)
    exact = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-9)
    loose = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-3)
    assert exact.certified
    assert float((loose.gradient - exact.gradient).norm()) <= loose.gradient_bound + exact.gradient_bound
    vector = ParameterVector(energy)
    theta = vector.get()

    def central(direction: Tensor, step: float) -> float:
        values = []
        for sign in (1, -1):
            vector.set(theta + sign * step * direction)
            x = minimize(energy, y, tolerance=Tolerance(gradient=1e-13)).x
            values.append(float((x - target).square().sum()))
        vector.set(theta)
        return (values[0] - values[1]) / (2 * step)

    for slot in vector.slots:
        direction = torch.zeros_like(theta)
        part = slice(slot.start, slot.stop)
        direction[part] = exact.gradient[part] / exact.gradient[part].norm()
        difference = (4 * central(direction, 2e-4) - central(direction, 4e-4)) / 3
        assert difference == pytest.approx(float(exact.gradient @ direction), rel=1e-6), slot.name


def test_refusals() -> None:
    with pytest.raises(ValueError, match="learn: found"):
        RadialPattern(ANGLES, GRID, learn=("weights",))
    with pytest.raises(ValueError, match="angles, degrees: found shapes"):
        RadialPattern(ANGLES, GRID, torch.ones(2))
    with pytest.raises(ValueError, match="expected the same grid"):
        ProductPattern(FreePattern(torch.ones(3, 3)), FreePattern(torch.ones(3, 4)))
    shared = FreePattern(torch.ones(3, 3))
    with pytest.raises(ValueError, match="a parameter in both"):
        ProductPattern(shared, shared)
    with pytest.raises(ValueError, match="groups: found"):
        SpokePattern(torch.ones(64), (8, 8))
    with pytest.raises(NotImplementedError, match="locations"):
        GriddedPattern((3, 3)).locations()
