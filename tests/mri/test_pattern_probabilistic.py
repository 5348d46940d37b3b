"""Random masks with learned probabilities: budgets, draws, straight-through derivatives."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from pattern_checks import check_pattern, jacobian
from registry import rand
from torch import Tensor

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import minimize
from bilearn.mri import Linear, sampling_energy
from bilearn.mri.patterns import ProbabilisticPattern
from bilearn.parameters import ParameterVector
from bilearn.regularizers import SmoothedTV
from bilearn.sampling import ProbabilityLearning, learn_probabilities
from bilearn.solution import Tolerance

GRID = (6, 5)
POINTS = torch.arange(30).reshape(GRID)
COLUMNS = torch.arange(5).expand(GRID)


def pattern(count: float = 9, hard: bool = True, groups: Tensor = POINTS) -> ProbabilisticPattern:
    logits = 2 * rand((int(groups.max()) + 1,), 1) - 0.5
    return ProbabilisticPattern(groups, count, logits, hard=hard, seed=2)


@pytest.mark.parametrize("count", [3.0, 25.0])
@pytest.mark.parametrize("groups", [POINTS, COLUMNS])
def test_the_expected_number_is_the_one_asked_for(count: float, groups: Tensor) -> None:
    found = pattern(count, groups=groups)
    p = found.probabilities().detach()
    assert float(p[groups].sum()) == pytest.approx(count, rel=1e-14)
    assert bool(((p >= 0) & (p <= 1)).all())
    assert float(p.std()) > 0.01, "units differ"


@pytest.mark.parametrize("count", [3.0, 25.0])
def test_derivatives_and_norms(count: float) -> None:
    """Of the sigmoid against differences; of the mask, which has zeros and ones only, the same ones."""
    soft, hard = pattern(count, hard=False), pattern(count)
    check_pattern(soft)
    mask = hard().detach()
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(mask > 0, soft().detach() > 0.5)
    assert torch.equal(jacobian(hard), jacobian(soft))
    exact = jacobian(hard).norm(dim=1).reshape(GRID)
    assert torch.allclose(hard.row_norms(), exact, rtol=1e-12)


def test_the_mean_of_draws_is_the_probability() -> None:
    found, generator = pattern(), torch.Generator().manual_seed(0)
    total = torch.zeros(GRID, dtype=torch.float64)
    for _ in range(2000):
        found.redraw(generator)
        total += found().detach()
    expected = found.probabilities().detach().reshape(GRID)
    assert float((total / 2000 - expected).abs().max()) < 4 * 0.5 / 2000**0.5
    first = found().detach()
    assert torch.equal(found().detach(), first), "random numbers stay until they are drawn again"


def test_exact_masks() -> None:
    found = pattern(9)
    mask = found.exact_mask()
    assert int(mask.sum()) == 9
    p = found.probabilities().detach().reshape(GRID)
    assert float(p[mask].min()) >= float(p[~mask].max())
    drawn = found.exact_mask(torch.Generator().manual_seed(1))
    assert int(drawn.sum()) == 9
    assert not torch.equal(drawn, mask)
    lines = pattern(12, groups=COLUMNS).exact_mask()
    assert int(lines.sum()) == 12
    assert torch.equal(lines, lines[:1].expand(GRID))
    with pytest.raises(ValueError, match="cannot make up 10 samples exactly"):
        pattern(10, groups=COLUMNS).exact_mask()


def test_hypergradient_in_the_logits_against_central_differences() -> None:
    energy = sampling_energy(pattern(hard=False), SmoothedTV(0.05, 0.1, 0.1, learn=("alpha",), coupled=True), Linear())
    target = rand((2, 2, *GRID), 8)
    y = energy.operator.A(target) + 0.1 * rand((2, 2, *GRID), 9)
    exact = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-9)
    assert exact.certified
    vector = ParameterVector(energy)
    theta, direction = vector.get(), exact.gradient / exact.gradient.norm()

    def central(step: float) -> float:
        values = []
        for sign in (1, -1):
            vector.set(theta + sign * step * direction)
            x = minimize(energy, y, tolerance=Tolerance(gradient=1e-13)).x
            values.append(float((x - target).square().sum()))
        return (values[0] - values[1]) / (2 * step)

    difference = (4 * central(1e-3) - central(2e-3)) / 3
    assert difference == pytest.approx(float(exact.gradient.norm()), rel=1e-6)


@pytest.mark.parametrize("hard", [True, False])
def test_learning_finds_the_frequencies_that_matter(hard: bool) -> None:
    """Images of two frequencies: their points and no others become likely, and alpha moves."""
    n, wanted = 8, torch.tensor([0, 9, 63, 3])
    k = torch.zeros(2, 64, dtype=torch.complex128)
    k[:, wanted] = torch.tensor([[3, 2, 2j, 2], [3, -2, 2, 2j]], dtype=torch.complex128)
    truth = torch.fft.ifft2(k.reshape(2, n, n), norm="ortho")
    groups = torch.arange(n * n).reshape(n, n)
    prior = SmoothedTV(1e-3, 1e-2, 2e-2, learn=("alpha",), coupled=True)
    random = ProbabilisticPattern(groups, 4, hard=hard)
    energy = sampling_energy(random, prior, Linear())
    noise = 0.02 * torch.randn(2, n, n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kspace = k.reshape(2, n, n) + torch.view_as_complex(noise)
    steps = learn_probabilities(energy, kspace, truth, ProbabilityLearning(steps=60, images=1))
    assert len(steps) == 60
    assert all(after.gradient_bound <= 0.1 * before.gradient_norm for before, after in pairwise(steps))
    found = random.exact_mask().flatten().nonzero().squeeze(1)
    assert found.tolist() == sorted(wanted.tolist())
    assert float(prior.alpha.detach()) != 1e-3


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"groups: found torch\.float32"):
        ProbabilisticPattern(torch.zeros(4), 2)
    with pytest.raises(ValueError, match="count: found 30"):
        ProbabilisticPattern(POINTS, 30)
    with pytest.raises(ValueError, match="slope: found 0"):
        ProbabilisticPattern(POINTS, 3, slope=0.0)
    with pytest.raises(ValueError, match=r"logits: found shape \(4,\), expected \(30,\)"):
        ProbabilisticPattern(POINTS, 3, torch.zeros(4))
    with pytest.raises(ValueError, match="steps, images: found 0"):
        ProbabilityLearning(steps=0)
    with pytest.raises(ValueError, match="expected positive step sizes"):
        ProbabilityLearning(accuracy=2.0)
    from bilearn.mri import FreePattern

    energy = sampling_energy(FreePattern(torch.ones(4, 4)), SmoothedTV(coupled=True))
    with pytest.raises(ValueError, match="expected a ProbabilisticPattern"):
        learn_probabilities(energy, torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
