"""Patterns of lines, centers and symmetric pairs: exact norms, derivatives, and exact numbers of samples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pattern_checks import check_pattern, jacobian
from registry import rand

from bilearn.mri import FreePattern, GroupedPattern, Pattern, mirrored, sampling_energy
from bilearn.mri.patterns import CenteredPattern, LinePattern, SymmetricPattern, center_block, center_lines
from bilearn.regularizers import SmoothedTV
from bilearn.sampling import Continuation, Start, Units, learn_sampling

GRID = (6, 5)


def lines(axis: int = 1, shape: tuple[int, int] = GRID) -> LinePattern:
    return LinePattern(0.1 + 0.8 * rand((shape[axis],), 1), shape, axis)


def points(shape: tuple[int, ...] = GRID) -> FreePattern:
    return FreePattern(0.1 + 0.8 * rand(shape, 2))


PATTERNS: dict[str, Callable[[], Pattern]] = {
    "rows": lambda: lines(0),
    "columns": lines,
    "centered points": lambda: CenteredPattern(points(), center_block(GRID, (3, 2))),
    "centered columns": lambda: CenteredPattern(lines(), center_lines(GRID, 2)),
    "symmetric points": lambda: SymmetricPattern(points()),
    "symmetric signal": lambda: SymmetricPattern(points((8,))),
    "symmetric rows": lambda: SymmetricPattern(lines(0)),
    "centered symmetric": lambda: CenteredPattern(SymmetricPattern(points()), center_block(GRID, (3, 1))),
    "symmetric centered": lambda: SymmetricPattern(CenteredPattern(points(), center_block(GRID, (2, 2)))),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_norms_are_exact(name: str) -> None:
    pattern = PATTERNS[name]()
    check_pattern(pattern)
    rows = jacobian(pattern)
    shape = pattern().shape
    assert torch.allclose(pattern.row_norms().flatten(), rows.norm(dim=1), atol=1e-14)
    size = rand((3, *shape), 4)
    spectral = torch.stack([torch.linalg.matrix_norm(v.flatten()[:, None] * rows, 2) for v in size])
    assert torch.allclose(pattern.scaled_norm(size), spectral, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_degree_governs_its_line(axis: int) -> None:
    pattern = lines(axis)
    s = pattern().movedim(axis, 0)
    assert torch.equal(s, pattern.degrees[:, None].expand_as(s))


@pytest.mark.parametrize("name", [n for n in PATTERNS if "symmetric" in n])
def test_symmetric(name: str) -> None:
    s = PATTERNS[name]()().detach()
    assert torch.equal(s, mirrored(s))
    k = torch.fft.fftn(torch.fft.ifftn(s).real)
    assert torch.allclose(k.real, s, atol=1e-14)


def test_pairs_start_at_their_mean() -> None:
    s = points()
    assert torch.allclose(SymmetricPattern(s)(), (s() + mirrored(s())) / 2)


@pytest.mark.parametrize("name", [n for n in PATTERNS if "centered" in n])
def test_the_center_stays(name: str) -> None:
    pattern = PATTERNS[name]()
    fixed = torch.isclose(pattern(), torch.ones(()).double(), atol=0, rtol=0)
    assert bool(fixed[0, 0])
    norms = pattern.row_norms()
    assert bool((norms[fixed] == 0).all())
    assert bool((norms[~fixed] == 1).all())
    assert sum(p.numel() for p in pattern.parameters()) == len(jacobian(pattern).any(0).nonzero())


def test_centers() -> None:
    block = torch.fft.fftshift(center_block((6, 5), (4, 3)))
    assert block.nonzero().amin(0).tolist() == [1, 1]
    assert block.nonzero().amax(0).tolist() == [4, 3]
    assert int(block.sum()) == 12
    assert torch.equal(center_lines((4, 6), 2, 0), center_block((4, 6), (2, 6)))
    with pytest.raises(ValueError, match="size: found"):
        center_block((4, 4), (5, 1))


def test_numbers_of_units() -> None:
    units = Units.of(CenteredPattern(SymmetricPattern(points((8, 8))), center_block((8, 8), (3, 3))))
    assert (units.fixed, units.total, units.grid) == (9, 64, 64)
    assert sorted(set(units.sizes.tolist())) == [1.0, 2.0]
    units = Units.of(CenteredPattern(lines(1, (8, 6)), center_lines((8, 6), 2)))
    assert (units.fixed, units.sizes.tolist()) == (16, [8.0] * 4)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (lambda n: CenteredPattern(LinePattern(torch.ones(n), (n, n)), center_lines((n, n), 2)), 80),
        (lambda n: CenteredPattern(SymmetricPattern(FreePattern(torch.ones(n, n))), center_block((n, n), (3, 3))), 50),
    ],
)
def test_exact_numbers_of_samples(pattern: Callable[[int], Pattern], count: int) -> None:
    n = 16
    made = pattern(n)
    fixed = made.row_norms() == 0
    x = torch.zeros(1, 2, n, n, dtype=torch.float64)
    x[:, 0, 4:12, 5:11] = 1
    y = torch.stack((torch.fft.fft2(x[:, 0], norm="ortho").real, torch.fft.fft2(x[:, 0], norm="ortho").imag), 1)
    y = y + 0.03 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    energy = sampling_energy(made, SmoothedTV(0.02, 1e-2, 2e-2, learn=["alpha"], coupled=True))
    result = learn_sampling(
        energy,
        y,
        x,
        count=count,
        starts=[Start(0.5)],
        max_steps=2,
        max_exchanges=0,
        continuation=Continuation(1.0, 5.0, 1, 2),
    )
    mask = result.mask
    assert int(mask.sum()) == count
    assert bool(mask[fixed].all())
    assert result.attempt.at("tuned").certified


def test_refusals() -> None:
    with pytest.raises(ValueError, match="axis: found 2"):
        LinePattern(torch.ones(4), (4, 4), 2)
    with pytest.raises(ValueError, match=r"expected \(5,\)"):
        LinePattern(torch.ones(6), GRID)
    with pytest.raises(ValueError, match="groups: found 2 different groups"):
        GroupedPattern(torch.ones(3), torch.tensor([0, 2, 2]))
    with pytest.raises(ValueError, match="degrees, groups"):
        GroupedPattern(torch.ones(3), torch.tensor([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="center: found"):
        CenteredPattern(points(), torch.ones(GRID))
    with pytest.raises(ValueError, match="no point left"):
        CenteredPattern(points(), torch.ones(GRID, dtype=torch.bool))
