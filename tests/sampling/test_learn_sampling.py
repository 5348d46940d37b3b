"""Learning patterns as a whole: exact hypergradients, a way back from zero, exact numbers of samples, resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from registry import rand
from sampling_problems import free_energy, square_image, total_variation
from test_sampling_parts import Pairs, Rows
from torch import Tensor

from bilearn.callbacks import Callback, Progress
from bilearn.losses import SimilarityError
from bilearn.mri import FreePattern, Linear, Odds, Pattern, Square, Weighting, sampling_energy
from bilearn.regularizers import (
    CubicAbsolute,
    DirectionalTV,
    Regularizer,
    SmoothedTV,
    SquaredH1,
    Sum,
    Tikhonov,
    WaveletSparsity,
)
from bilearn.sampling import Continuation, SamplingPenalty, SamplingProblem, SamplingResult, Start, learn_sampling

N = 8
LEARN = ("alpha", "xi")
QUICK = Continuation(first=1.0, stages=5, max_steps=5)

REGULARIZERS: dict[str, Callable[[], Regularizer]] = {
    "ridge": lambda: Tikhonov(0.05),
    "h1": lambda: Sum(SquaredH1(0.05), Tikhonov(0.05)),
    "tv": lambda: SmoothedTV(0.02, 0.05, 0.05, learn=LEARN, coupled=True),
    "tv2020": lambda: SmoothedTV(0.02, 0.05, 0.1, learn=LEARN, coupled=True, potential=CubicAbsolute()),
    "wavelet": lambda: WaveletSparsity(0.02, 0.05, 0.05, "db2", 1, learn=LEARN, coupled=True),
    "dtv": lambda: DirectionalTV(rand((N, N), 9), 0.02, 0.05, 0.05, learn=LEARN, coupled=True),
}
PATTERNS: dict[str, Callable[[], Pattern]] = {
    "points": lambda: FreePattern(0.1 + 0.8 * rand((N, N), 4)),
    "rows": lambda: Rows(N, N),
}


@pytest.mark.parametrize(
    ("pattern", "regularizer", "weighting"),
    [(p, r, Square()) for p in PATTERNS for r in REGULARIZERS] + [(p, "tv", Odds()) for p in PATTERNS],
)
def test_hypergradients_against_central_differences(pattern: str, regularizer: str, weighting: Weighting) -> None:
    """In s, alpha and the ridge, to 1e-6 of the gradient of each; along random directions, by Richardson extrapolation."""
    energy = sampling_energy(PATTERNS[pattern](), REGULARIZERS[regularizer](), weighting)
    x, y = square_image(N, 2)
    problem = SamplingProblem(energy, y, x)
    objective = problem.objective(SamplingPenalty(0.01, 0.02), pattern=True)
    theta = objective.parameters.get()
    gradient = objective.hypergradient(theta, 1e-11).gradient
    assert gradient is not None

    def central(direction: Tensor, step: float) -> float:
        high, low = (objective.value(theta + sign * step * direction, 1e-16).value for sign in (1, -1))
        return (high - low) / (2 * step)

    for slot in objective.parameters.slots:
        direction = torch.zeros_like(theta)
        part = slice(slot.start, slot.stop)
        direction[part] = gradient[part] / torch.linalg.vector_norm(gradient[part]) + 0.3 * (
            rand(gradient[part].shape, 6) - 0.5
        )
        exact = float(gradient @ direction)
        steps = 2e-3, 1e-3
        coarse, fine = (central(direction, step) for step in steps)
        assert (4 * fine - coarse) / 3 == pytest.approx(exact, rel=1e-6), slot.name


def test_dropped_samples_come_back() -> None:
    """The start has lost a low frequency, and s = 0 is absorbing; with exchanges it returns and F falls."""
    x, y = square_image(N)
    results = {}
    for returns in (0, 5):
        energy = free_energy(N)
        degrees = torch.full((N, N), 0.5, dtype=torch.float64)
        degrees[0, 1] = 0.0
        energy.get_submodule("fidelity.pattern").degrees = degrees  # type: ignore[assignment]
        results[returns] = learn_sampling(
            energy, y, x, penalty=(0.02, 0.02), starts=[Start(None)], max_returns=returns, max_steps=60
        )
    stuck, free = results[0].attempt, results[5].attempt
    assert not bool(results[0].mask[0, 1])
    assert stuck.returned == 0
    assert bool(results[5].mask[0, 1])
    assert free.returned >= 1
    assert free.at("returned").upper < stuck.at("relaxed").lower


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_budget_is_met_exactly(rate: float) -> None:
    energy = free_energy(N)
    x, y = square_image(N, 2)
    result = learn_sampling(
        energy, y, x, rate=rate, starts=[Start(0.5)], max_steps=12, continuation=QUICK, max_exchanges=2
    )
    wanted = round(rate * N * N)
    assert result.samples == wanted
    assert result.mask.dtype == torch.bool
    attempt = result.attempt
    assert [s.name for s in attempt.snapshots][:4] == ["relaxed", "binary", "rounded", "tuned"]
    assert attempt.at("relaxed").degrees == pytest.approx(wanted, abs=1e-9)
    assert all(s.certified and s.lower <= s.value <= s.upper for s in attempt.snapshots)
    assert attempt.at("tuned").lower <= attempt.at("rounded").upper
    assert attempt.last.lower <= attempt.at("tuned").upper
    assert torch.equal(energy.get_submodule("fidelity.pattern")() > 0, result.mask)
    assert set(energy.get_submodule("fidelity.pattern")().unique().tolist()) == {0.0, 1.0}
    again = SamplingProblem(energy, y, x)
    value = again.objective(None, pattern=True).value(again.objective(None, pattern=True).parameters.get(), 1e-12)
    assert attempt.last.lower <= value.value <= attempt.last.upper


def test_degrees_that_count_as_their_part_gain_nothing_over_the_mask() -> None:
    energy = free_energy(N)
    x, y = square_image(N, 2)
    steps = replace(QUICK, steepness=(0.1, 1.0))
    result = learn_sampling(energy, y, x, rate=0.3, starts=[Start(0.5)], max_steps=12, continuation=steps)
    attempt = result.attempt
    assert [s.name for s in attempt.snapshots][:3] == ["relaxed", "shared", "binary"]
    assert attempt.at("relaxed").upper < attempt.last.lower < attempt.at("shared").lower
    assert all(s.certified for s in attempt.snapshots)
    assert result.samples == round(0.3 * N * N)
    assert SamplingProblem(energy, y, x).fidelity.weighting == Square()


def test_a_loss_of_ones_own() -> None:
    x, y = square_image(12)
    results = {
        weight: learn_sampling(
            free_energy(12), y, x, rate=0.3, starts=[Start(0.5)], max_steps=4, continuation=QUICK, max_exchanges=1,
            loss=SimilarityError(1 / 288, weight),
        )
        for weight in (0.0, 0.1)
    }  # fmt: skip
    plain, similar = (result.attempt.last for result in results.values())
    assert similar.certified
    assert similar.lower <= similar.value <= similar.upper < math.inf
    assert similar.value > plain.value
    assert results[0.1].quality["ssim"][0] > results[0.0].quality["ssim"][0]


def test_every_number_of_samples_of_a_symmetric_signal() -> None:
    x = torch.zeros(1, 2, 8, dtype=torch.float64)
    x[0, 0, 2:6] = 1.0
    clean = torch.fft.fft(x[:, 0], norm="ortho")
    y = torch.stack((clean.real, clean.imag), 1)
    for points in (1, 4, 7, 8):
        energy = sampling_energy(Pairs(8), Tikhonov(0.01, learn=False), Linear())
        result = learn_sampling(energy, y, x, count=points, starts=[Start(0.5)], max_steps=20)
        assert result.samples == points


def test_lines_are_taken_whole() -> None:
    energy = sampling_energy(Rows(N, N, fixed=1), total_variation())
    x, y = square_image(N)
    result = learn_sampling(energy, y, x, rate=0.4, starts=[Start(0.5)], max_steps=12, continuation=QUICK)
    assert result.samples == 3 * N
    assert bool(result.mask[0].all())
    assert set(result.mask.sum(1).tolist()) == {0, N}


def test_the_best_budget_for_a_ridge_is_the_best_of_all() -> None:
    """Without coupling the loss is a sum over samples, so the optimal mask is known: the largest predicted gains."""
    eps, wanted = 0.1, 5
    x, y = square_image(4, 2, noise=0.2)
    energy = sampling_energy(
        FreePattern(torch.full((4, 4), 0.5, dtype=torch.float64)), Tikhonov(eps, learn=False), Square()
    )
    k = torch.fft.fft2(torch.complex(x[:, 0], x[:, 1]), norm="ortho")
    seen = torch.complex(y[:, 0], y[:, 1])
    gain = (k.abs().square() - (seen / (1 + eps) - k).abs().square()).sum(0).reshape(-1)
    best = torch.zeros(16, dtype=torch.bool)
    best[gain.topk(wanted).indices] = True
    result = learn_sampling(energy, y, x, count=wanted)
    assert torch.equal(result.mask.reshape(-1), best)


def test_collapse_is_said() -> None:
    x, y = square_image(N)
    with pytest.warns(UserWarning, match="collapsed"):
        result = learn_sampling(free_energy(N), y, x, penalty=(50.0, 50.0), starts=[Start(0.5)], max_steps=30)
    assert result.attempt.collapsed
    assert "collapsed" in result.message


def test_the_best_start_is_named() -> None:
    x, y = square_image(N)
    starts = [Start(0.9), Start(0.4)]
    result = learn_sampling(free_energy(N), y, x, penalty=(0.02, 0.02), starts=starts, max_steps=8, max_returns=0)
    values = {a.name: a.at("relaxed").upper for a in result.attempts if not a.collapsed}
    assert {a.name for a in result.attempts} == {"0.9", "0.4"}
    assert result.best == min(values, key=lambda name: values[name])
    assert result.best in result.summary()
    assert len(result.quality["psnr"]) == 1


class Interrupt(Callback):
    """Ctrl-C at a step, counted over all stages."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, progress: Progress) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_interrupted_run_goes_on(tmp_path: Path) -> None:
    x, y = square_image(N)
    options = {
        "rate": 0.2,
        "starts": [Start(0.5)],
        "max_steps": 6,
        "max_exchanges": 1,
        "checkpoint_every": 1,
        "continuation": QUICK,
    }
    whole = learn_sampling(free_energy(N), y, x, **options)  # type: ignore[arg-type]
    for at in (3, 8):
        with pytest.raises(KeyboardInterrupt):
            learn_sampling(free_energy(N), y, x, directory=tmp_path, callbacks=[Interrupt(at)], **options)  # type: ignore[arg-type]
    resumed = learn_sampling(free_energy(N), y, x, directory=tmp_path, **options)  # type: ignore[arg-type]
    assert torch.equal(resumed.mask, whole.mask)
    assert torch.equal(resumed.degrees, whole.degrees)
    assert resumed.parameters == whole.parameters
    assert (tmp_path / "0.5" / "relaxed" / "history.jsonl").is_file()
    loaded = SamplingResult.load(tmp_path)
    assert torch.equal(loaded.mask, resumed.mask)
    assert loaded.attempts == resumed.attempts
    assert loaded.parameters == resumed.parameters
    assert loaded.quality == resumed.quality


@pytest.mark.parametrize("options", [{}, {"rate": 0.2, "count": 3}, {"rate": 0.2, "penalty": (0.1, 0.1)}])
def test_one_way_to_say_how_many(options: dict[str, object]) -> None:
    x, y = square_image(N)
    with pytest.raises(ValueError, match="exactly one"):
        learn_sampling(free_energy(N), y, x, **options)  # type: ignore[arg-type]


def test_starts_are_told_apart() -> None:
    x, y = square_image(N)
    with pytest.raises(ValueError, match="no two alike"):
        learn_sampling(free_energy(N), y, x, rate=0.2, starts=[Start(0.5), Start(0.5)])


def test_fixed_pattern_cannot_be_learned() -> None:
    x, y = square_image(N)
    energy = sampling_energy(FreePattern(torch.ones(N, N), learn=False), total_variation())
    with pytest.raises(ValueError, match="learn=True"):
        learn_sampling(energy, y, x, rate=0.2)
