"""Sampling masks: exact counts at every rate, seeds, centers, densities and distances."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bilearn.mri.masks import (
    BASELINES,
    Lattice,
    MaskBaseline,
    Unit,
    equispaced,
    gaussian_density,
    largest_coefficients,
    low_pass,
    mean_energy,
    poisson_disc,
    polynomial_density,
    radial,
    sample_count,
    spectral_density,
    spiral,
    uniform_random,
)
from bilearn.mri.masks.draw import draw, inclusion_probabilities

SHAPES = ((16, 16), (13, 18), (9, 7), (1, 12), (5, 1))
RATES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.77, 0.99, 1.0)
UNITS: tuple[Unit, ...] = ("points", "rows", "columns")
CASES = [(b, u) for b in BASELINES for u in b.units]


def images(shape: tuple[int, int], count: int = 3) -> Tensor:
    return torch.rand((count, 2, *shape), generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize(("baseline", "unit"), CASES, ids=[f"{b.name}-{u}" for b, u in CASES])
def test_every_baseline_has_exactly_the_count(baseline: MaskBaseline, unit: Unit) -> None:
    for shape in SHAPES:
        lattice = Lattice(shape, unit)
        for rate in RATES:
            count = sample_count(shape, rate, unit)
            mask = baseline.draw(shape, count, 3, images(shape), unit)
            assert mask.dtype == torch.bool
            assert tuple(mask.shape) == shape
            assert int(mask.sum()) == count
            assert abs(count - rate * shape[0] * shape[1]) <= lattice.samples_per_cell / 2
            assert torch.equal(lattice.mask(lattice.cells_of(mask)), mask)


@pytest.mark.parametrize(("baseline", "unit"), CASES, ids=[f"{b.name}-{u}" for b, u in CASES])
def test_seeds(baseline: MaskBaseline, unit: Unit) -> None:
    shape = (24, 21)
    count = sample_count(shape, 0.3, unit)
    first, again = (baseline.draw(shape, count, 1, images(shape), unit) for _ in range(2))
    others = [baseline.draw(shape, count, seed, images(shape), unit) for seed in range(2, 6)]
    assert torch.equal(first, again)
    deterministic = baseline.name in ("low-pass", "largest coefficients")
    assert all(torch.equal(first, other) for other in others) == deterministic


def test_baselines_refuse_a_unit_they_do_not_have() -> None:
    radial_row = next(b for b in BASELINES if b.name == "radial")
    with pytest.raises(ValueError, match="'radial'"):
        radial_row.draw((8, 8), 16, 0, images((8, 8)), "rows")


def with_center(shape: tuple[int, int], count: int, unit: Unit, center: int) -> list[Tensor]:
    masks = [
        uniform_random(shape, count, seed=0, unit=unit, center=center),
        polynomial_density(shape, count, seed=0, unit=unit, center=center),
        gaussian_density(shape, count, seed=0, unit=unit, center=center),
        poisson_disc(shape, count, seed=0, unit=unit, center=center),
        largest_coefficients(shape, count, images(shape), unit=unit, center=center),
        spectral_density(shape, count, images(shape), seed=0, unit=unit, center=center),
    ]
    return masks if unit == "points" else [*masks, equispaced(shape, count, seed=0, unit=unit, center=center)]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("center", [1, 4, 5])
def test_the_center_is_kept_and_counted(unit: Unit, center: int) -> None:
    shape = (15, 14)
    count = sample_count(shape, 0.4, unit)
    rows = slice(7 - center // 2, 7 - center // 2 + center) if unit != "columns" else slice(None)
    columns = slice(7 - center // 2, 7 - center // 2 + center) if unit != "rows" else slice(None)
    for mask in with_center(shape, count, unit, center):
        assert int(mask.sum()) == count
        assert bool(torch.fft.fftshift(mask)[rows, columns].all())
        assert bool(mask[0, 0])


def test_center_larger_than_the_count() -> None:
    with pytest.raises(ValueError, match=r"found 25 points.*at most the 20"):
        uniform_random((16, 16), 20, seed=0, center=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_count((8, 8), 1.5), "rate: found 1.5"),
        (lambda: sample_count((0, 8), 0.5), "shape: found"),
        (lambda: Lattice((8, 8), "spokes"), "unit: found 'spokes'"),  # type: ignore[arg-type]
        (lambda: low_pass((8, 8), 65), "count: found 65, expected 0 to 64"),
        (lambda: low_pass((8, 6), 13, unit="columns"), "multiple of 8"),
        (lambda: Lattice((8, 8)).center(-1), "center: found -1"),
        (lambda: equispaced((8, 8), 16, seed=0, unit="points"), "expected 'rows' or 'columns'"),
        (lambda: polynomial_density((8, 8), 16, seed=0, power=-1.0), "power: found -1.0"),
        (lambda: gaussian_density((8, 8), 16, seed=0, width=0.0), "width: found 0.0"),
        (lambda: poisson_disc((8, 8), 16, seed=0, slope=-0.5), "slope: found -0.5"),
        (lambda: spiral((8, 8), 16, seed=0, power=0.5), "power"),
        (lambda: spectral_density((8, 8), 16, images((8, 8)), seed=0, power=-1.0), "power: found -1.0"),
        (lambda: largest_coefficients((8, 8), 16, images((8, 9))), "expected \\(8, 8\\) like the mask"),
        (lambda: mean_energy(torch.zeros(2, 3, 8, 8)), "training_images: found shape"),
        (lambda: inclusion_probabilities(torch.tensor([1.0, -1.0]), 1), "density: found negative"),
        (lambda: Lattice((4, 4), "rows").cells_of(torch.eye(4, dtype=torch.bool)), "sampled in part"),
        (lambda: Lattice((4, 4)).cells_of(torch.eye(4)), "expected torch.bool"),
    ],
)
def test_errors_name_the_field(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_inclusion_probabilities_are_clipped_and_sum_to_the_count() -> None:
    density = torch.tensor([8.0, 1.0, 2.0, 0.0, 4.0, 1.0], dtype=torch.float64)
    p = inclusion_probabilities(density, 3)
    assert float(p.sum()) == pytest.approx(3, abs=1e-12)
    expected = torch.tensor([1.0, 0.25, 0.5, 0.0, 1.0, 0.25], dtype=torch.float64)
    assert torch.allclose(p, expected, rtol=1e-9, atol=1e-9)


def test_draws_have_the_inclusion_probabilities() -> None:
    density = torch.linspace(0.1, 3.0, 30, dtype=torch.float64)
    p = inclusion_probabilities(density, 12)
    generator = torch.Generator().manual_seed(0)
    found = torch.stack([draw(p, 12, generator) for _ in range(4000)]).double().mean(0)
    assert float((found - p).abs().max()) < 4 * (0.25 / 4000) ** 0.5


def test_low_pass_is_a_disc_and_nested() -> None:
    mask = torch.fft.fftshift(low_pass((33, 33), 317))
    distance = torch.cartesian_prod(torch.arange(-16, 17), torch.arange(-16, 17)).square().sum(1).reshape(33, 33)
    assert int(mask.sum()) == 317
    assert int(distance[mask].max()) <= int(distance[~mask].min())
    masks = [low_pass((12, 15), count) for count in range(0, 181, 20)]
    assert all(bool((b | ~a).all()) for a, b in pairwise(masks))
    assert torch.equal(low_pass((6, 7), 18, unit="columns")[0].nonzero()[:, 0], torch.tensor([0, 1, 6]))


def test_equispaced_distances_differ_by_one() -> None:
    for lines in range(2, 37):
        mask = equispaced((4, 37), 4 * lines, seed=lines)
        gaps = torch.fft.fftshift(mask[0]).nonzero()[:, 0].diff()
        assert int(gaps.max() - gaps.min()) <= 1


def radial_profile(mask: Tensor) -> tuple[float, float, float]:
    """Share of sampled points in three rings of growing frequency."""
    radius = Lattice((mask.shape[0], mask.shape[1])).radius().reshape(mask.shape)
    low, middle, high = (
        mask[(radius >= a) & (radius < b)].double().mean() for a, b in ((0, 0.3), (0.3, 0.7), (0.7, 2))
    )
    return float(low), float(middle), float(high)


def test_densities_fall_with_frequency() -> None:
    shape, count = (64, 64), 1024
    for mask in (
        polynomial_density(shape, count, seed=0),
        gaussian_density(shape, count, seed=0),
        poisson_disc(shape, count, seed=0),
        radial(shape, count, seed=0),
        spiral(shape, count, seed=0),
    ):
        low, middle, high = radial_profile(mask)
        assert low > 1.2 * middle > 1.44 * high
    low, _, high = radial_profile(uniform_random(shape, count, seed=0))
    assert abs(low - high) < 0.1
    steep, flat = (radial_profile(polynomial_density(shape, count, seed=0, power=p)) for p in (8.0, 1.0))
    assert steep[0] > flat[0]


def test_poisson_disc_keeps_its_distances() -> None:
    """Darts thrown one by one jam at a coverage of 0.547 in the plane and 0.748 on a line (Rényi)."""
    for unit, rate in (("points", 0.2), ("points", 0.05), ("columns", 0.25)):
        lattice = Lattice((40, 44), unit)
        count = lattice.sample_count(rate)
        for slope in (0.0, 2.0):
            cells = lattice.cells_of(poisson_disc(lattice.shape, count, seed=5, unit=unit, slope=slope))
            growth = 1 + slope * lattice.radius()
            power, coverage = (2, 0.547 * 4 / torch.pi) if unit == "points" else (1, 0.748)
            jammed = (coverage * float((growth**-power).sum()) / lattice.cell_count(count)) ** (1 / power)
            indices = lattice.indices()[cells].double()
            ratio = torch.cdist(indices, indices) / torch.minimum(growth[cells][:, None], growth[cells])
            assert float(ratio.fill_diagonal_(torch.inf).min()) >= 0.75 * jammed


@pytest.mark.parametrize("curve", [radial, spiral])
def test_curves_are_nested_and_complete_but_the_last(curve: Callable[..., Tensor]) -> None:
    masks = [curve((20, 17), count, seed=4) for count in range(0, 341, 34)]
    assert all(bool((b | ~a).all()) for a, b in pairwise(masks))
    assert bool(masks[1][0, 0])


def test_one_spoke_is_a_line_through_the_center() -> None:
    mask = torch.fft.fftshift(radial((33, 33), 33, seed=2))
    rows, columns = (t.double() for t in mask.nonzero(as_tuple=True))
    cloud = torch.stack((rows - 16, columns - 16))
    smallest = torch.linalg.svdvals(cloud)[-1]
    assert float(smallest) / 33**0.5 < 0.75


def test_largest_coefficients_have_the_most_energy() -> None:
    shape, count = (12, 11), 30
    x = images(shape)
    energy = torch.fft.fft2(torch.complex(x[:, 0], x[:, 1]), norm="ortho").abs().square().mean(0)
    mask = largest_coefficients(shape, count, x)
    assert float(energy[mask].min()) >= float(energy[~mask].max())
    rows = largest_coefficients(shape, 3 * shape[1], x, unit="rows")
    assert set(rows[:, 0].nonzero()[:, 0].tolist()) == set(energy.sum(1).topk(3).indices.tolist())
    assert torch.allclose(mean_energy(x[:, :1]), mean_energy(torch.cat((x[:, :1], 0 * x[:, :1]), 1)))


def test_spectral_density_follows_the_spectrum() -> None:
    shape = (10, 10)
    x = torch.zeros(1, 1, *shape, dtype=torch.float64)
    x[0, 0, 5, 5] = 1e-6
    x += torch.cos(2 * torch.pi * 3 * torch.arange(10, dtype=torch.float64) / 10)
    drawn = torch.stack([spectral_density(shape, 2, x, seed=seed) for seed in range(20)])
    assert bool(drawn[:, 0, 3].all())
    assert bool(drawn[:, 0, 7].all())
