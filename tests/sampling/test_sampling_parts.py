"""Parts of pattern learning: penalties, units, starts, predictions of exchanges, records."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from registry import rand
from sampling_problems import free_energy, square_image
from torch import Tensor, nn

from bilearn.mri import FreePattern, Linear, Odds, Pattern, Square, Weighting, sampling_energy
from bilearn.parameters import Identity, learnable
from bilearn.penalties import PenaltyTerms
from bilearn.regularizers import SquaredH1, Sum, Tikhonov
from bilearn.sampling import SamplingPenalty, SamplingProblem, SamplingResult, Start, Units, predicted_changes

N = 8


class Rows(Pattern):
    """A degree for each row, and rows that are always sampled."""

    rows: Tensor

    def __init__(self, rows: int, columns: int, fixed: int = 0) -> None:
        super().__init__()
        self.columns, self.fixed = columns, fixed
        learnable(self, "rows", torch.full((rows - fixed,), 0.5, dtype=torch.float64), Identity((0.0, 1.0)))

    def forward(self) -> Tensor:
        rows = torch.cat((torch.ones(self.fixed, dtype=torch.float64), self.rows))
        return rows[:, None].expand(-1, self.columns).clone()

    def row_norms(self) -> Tensor:
        norms = torch.ones(len(self.rows) + self.fixed, self.columns, dtype=torch.float64)
        norms[: self.fixed] = 0.0
        return norms


class Pairs(Pattern):
    """Points of a signal that are sampled together with their mirror image."""

    side: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        learnable(self, "side", torch.full((n // 2 + 1,), 0.5, dtype=torch.float64), Identity((0.0, 1.0)))

    def forward(self) -> Tensor:
        return torch.cat((self.side, self.side[1 : (self.n + 1) // 2].flip(0)))


class Products(Pattern):
    """Not a sum over what is learned."""

    sides: Tensor

    def __init__(self) -> None:
        super().__init__()
        learnable(self, "sides", torch.full((2, 4), 0.5, dtype=torch.float64), Identity((0.0, 1.0)))

    def forward(self) -> Tensor:
        return self.sides[0][:, None] * self.sides[1]


class Angles(Pattern):
    """Learned numbers that are no degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.angles = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self) -> Tensor:
        return torch.sigmoid(self.angles)[:, None].expand(3, 3).clone()


def test_penalty_is_the_published_one() -> None:
    energy = free_energy(N)
    s = rand((N, N), 1)
    pattern = energy.get_submodule("fidelity.pattern")
    pattern.degrees = s  # type: ignore[assignment]
    x, y = square_image(N)
    problem = SamplingProblem(energy, y, x)
    objective = problem.objective(SamplingPenalty(0.2, 0.3), pattern=True)
    terms = PenaltyTerms.of(objective.penalty, energy, problem.y, objective.parameters, order=1)
    assert terms.value == pytest.approx(float((0.2 * s + 0.3 * s * (1 - s)).mean()), rel=1e-14)
    assert torch.allclose(terms.gradient[: N * N], ((0.2 + 0.3 * (1 - 2 * s)) / (N * N)).reshape(-1), rtol=1e-12)
    assert float(terms.gradient[-1]) == 0.0


def test_penalty_weights_are_checked() -> None:
    with pytest.raises(ValueError, match="concavity"):
        SamplingPenalty(0.1, -1.0)


def test_loss_is_the_mean_squared_error_over_real_numbers() -> None:
    x, y = square_image(N, 2)
    problem = SamplingProblem(free_energy(N), y, x)
    assert problem.zero_loss() == pytest.approx(float(x.square().mean()), rel=1e-14)


def test_complex_data_are_the_same_data() -> None:
    x, y = square_image(N, 2)
    two = SamplingProblem(free_energy(N), y, x)
    one = SamplingProblem(free_energy(N), torch.complex(y[:, 0], y[:, 1]), torch.complex(x[:, 0], x[:, 1]))
    assert torch.equal(one.y, two.y)
    assert torch.equal(one.x, two.x)


def test_units_of_points_rows_and_pairs() -> None:
    points = Units.of(FreePattern(torch.full((4, 5), 0.5, dtype=torch.float64)))
    assert (points.fixed, points.grid, points.total) == (0, 20, 20)
    rows = Units.of(Rows(6, 5, fixed=2))
    assert (rows.fixed, rows.total, rows.sizes.tolist()) == (10, 30, [5.0] * 4)
    assert rows.points(rate=0.5, count=None) == 15
    pairs = Units.of(Pairs(8))
    assert pairs.sizes.tolist() == [1.0, 2.0, 2.0, 2.0, 1.0]


def test_units_leave_the_pattern_alone() -> None:
    pattern = Rows(6, 5)
    before = pattern().detach().clone()
    Units.of(pattern)
    assert torch.equal(pattern(), before)


@pytest.mark.parametrize("points", range(1, 9))
def test_chosen_units_sample_the_exact_number(points: int) -> None:
    units = Units.of(Pairs(8))
    degrees = torch.tensor([0.1, 0.9, 0.8, 0.7, 0.2], dtype=torch.float64)
    taken = units.choose(degrees, points)
    assert int((taken * units.sizes).sum()) == points
    assert set(taken.tolist()) <= {0.0, 1.0}


def test_ties_go_to_the_first() -> None:
    units = Units.of(FreePattern(torch.full((4, 5), 0.5, dtype=torch.float64)))
    assert units.choose(torch.ones(20, dtype=torch.float64), 3).tolist() == [1.0] * 3 + [0.0] * 17


@pytest.mark.parametrize("pattern", [Products(), Angles(), FreePattern(torch.full((4,), 0.5), (0.0, 0.9))])
def test_patterns_without_units(pattern: Pattern) -> None:
    with pytest.raises(ValueError, match="pattern: found"):
        Units.of(pattern)


@pytest.mark.parametrize(
    ("rate", "count", "message"),
    [(None, None, "exactly one"), (0.5, 3, "exactly one"), (None, 31, "expected 15 to 30"), (None, 12, "expected 15")],
)
def test_impossible_numbers_of_samples(rate: float | None, count: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Units.of(Rows(6, 5, fixed=2)).points(rate, count)


def test_count_between_two_numbers_of_lines() -> None:
    with pytest.raises(ValueError, match="multiple of 5"):
        Units.of(Rows(6, 5, fixed=2)).points(None, 17)


def test_starts() -> None:
    x, y = square_image(N)
    problem = SamplingProblem(free_energy(N, 0.3), y, x)
    theta = problem.objective(None, pattern=True).parameters.get()
    units = Units.of(problem.pattern)
    kept = Start(None).theta(problem, theta, units, None)
    assert torch.equal(kept, theta)
    mixed = Start(0.4, spectrum=0.5).theta(problem, theta, units, 6)[: N * N]
    clean = torch.fft.fft2(torch.complex(x[0, 0], x[0, 1]), norm="ortho").abs().reshape(-1)
    assert sorted(mixed.unique().tolist()) == pytest.approx([0.2, 0.7])
    assert bool((clean[mixed > 0.5].min() >= clean[mixed < 0.5].max() - 1e-12).all())
    noisy = Start(0.5, jitter=0.2, seed=3).theta(problem, theta, units, None)[: N * N]
    assert float((noisy - 0.5).abs().max()) <= 0.2
    assert torch.equal(noisy, Start(0.5, jitter=0.2, seed=3).theta(problem, theta, units, None)[: N * N])
    assert not torch.equal(noisy, Start(0.5, jitter=0.2, seed=4).theta(problem, theta, units, None)[: N * N])
    with pytest.raises(ValueError, match="exact number of samples"):
        Start(0.4, spectrum=0.5).theta(problem, theta, None, None)


@pytest.mark.parametrize("weighting", [Square(), Linear(), Odds()])
def test_predictions_are_exact_for_the_ridge(weighting: Weighting) -> None:
    """With R = eps/2 |x|^2 every coefficient is a problem of its own, so the rank-one formula is exact."""
    s = (0.1 + 0.8 * rand((4, 4), 2)).round(decimals=2)
    s[0, 0] = 0.0
    pattern = FreePattern(s, (0.0, 0.95))
    energy = sampling_energy(pattern, Tikhonov(0.05, learn=False), weighting)
    x, y = square_image(4, 3)
    problem = SamplingProblem(energy, y, x)
    penalty = SamplingPenalty(0.01, 0.02)
    objective = problem.objective(penalty, pattern=True)
    theta = objective.parameters.get()
    here = objective.value(theta, 1e-14).value
    changes = predicted_changes(problem, objective, theta, penalty)
    for k in range(16):
        for end, predicted in ((0.95, changes.add[k]), (0.0, changes.drop[k])):
            moved = theta.clone()
            moved[k] = end
            if end == theta[k]:
                assert float(predicted) == math.inf
            else:
                assert float(predicted) == pytest.approx(
                    objective.value(moved, 1e-14).value - here, rel=1e-7, abs=1e-12
                )
    assert problem.fidelity.weighting is weighting


def test_predictions_for_rows_add_up() -> None:
    energy = sampling_energy(Rows(N, N), Tikhonov(0.05, learn=False), Square())
    x, y = square_image(N, 2)
    problem = SamplingProblem(energy, y, x)
    objective = problem.objective(None, pattern=True)
    theta = objective.parameters.get()
    theta[3] = 0.0
    here = objective.value(theta, 1e-14).value
    changes = predicted_changes(problem, objective, theta, None)
    moved = theta.clone()
    moved[3] = 1.0
    assert float(changes.add[3]) == pytest.approx(objective.value(moved, 1e-14).value - here, rel=1e-7)


def test_predictions_rank_the_dropped_samples_of_an_h1_energy() -> None:
    """The regularizer couples coefficients a little (its boundary is not periodic); the best sample is found."""
    s = torch.ones((N, N), dtype=torch.float64)
    dropped = [(0, 0), (1, 0), (4, 4), (0, 2)]
    for k in dropped:
        s[k] = 0.0
    energy = sampling_energy(FreePattern(s), Sum(SquaredH1(0.05, learn=False), Tikhonov(1e-2, learn=False)))
    x, y = square_image(N)
    problem = SamplingProblem(energy, y, x)
    objective = problem.objective(None, pattern=True)
    theta = objective.parameters.get()
    here = objective.value(theta, 1e-12).value
    changes = predicted_changes(problem, objective, theta, None)
    true = []
    for i, j in dropped:
        moved = theta.clone()
        moved[i * N + j] = 1.0
        true.append(objective.value(moved, 1e-12).value - here)
    guessed = [float(changes.add[i * N + j]) for i, j in dropped]
    assert guessed.index(min(guessed)) == true.index(min(true)) == 0
    assert guessed[0] == pytest.approx(true[0], rel=0.2)


def test_energy_without_pattern() -> None:
    from bilearn.fidelities import LeastSquares
    from bilearn.variational import VariationalEnergy

    x, y = square_image(N)
    with pytest.raises(ValueError, match="sampling_energy"):
        SamplingProblem(VariationalEnergy(LeastSquares(), Tikhonov(0.1)), y, x)


def test_data_that_do_not_fit() -> None:
    x, y = square_image(N)
    with pytest.raises(ValueError, match="same last axes"):
        SamplingProblem(free_energy(N + 1), y, x)
    with pytest.raises(ValueError, match="two channels"):
        SamplingProblem(free_energy(N), y[:, 0], x)
    with pytest.raises(ValueError, match="NaN"):
        SamplingProblem(free_energy(N), torch.full_like(y, math.nan), x)


def test_missing_and_damaged_results(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sampling\.json"):
        SamplingResult.load(tmp_path)
    (tmp_path / "sampling.json").write_text("{}")
    (tmp_path / "sampling.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        SamplingResult.load(tmp_path)
