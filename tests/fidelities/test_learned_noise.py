"""Parameters of the noise model as learned numbers: slopes, certificates of maps, and what is learned from data."""

from __future__ import annotations

import math

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.fidelities import Fidelity, Huber, KullbackLeibler, LeastSquares, PoissonGaussian, PseudoHuber, StudentT
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV, Tikhonov
from bilearn.upper import GaussNewton, run
from bilearn.variational import VariationalEnergy

F64 = torch.float64
Z, Y = rand((2, 1, 4, 3), 100) - 0.2, rand((2, 1, 4, 3), 101)
SCALES = 0.2 + 0.2 * rand((1, 1, 4, 3), 103)
BOTH = ("weight", "scale")

FIDELITIES = [
    LeastSquares(0.5 + SCALES, learn=True),
    KullbackLeibler(SCALES, 0.5 + SCALES, ("background", "weight")),
    PoissonGaussian(SCALES, 0.5, ("variance", "gain")),
    Huber(1.5, SCALES, BOTH),
    PseudoHuber(0.5 + SCALES, SCALES, BOTH),
    StudentT(0.5 + SCALES, SCALES, BOTH),
]


@pytest.mark.parametrize("fidelity", FIDELITIES, ids=lambda f: type(f).__name__)
def test_entry_slopes_are_differences_of_the_gradient(fidelity: Fidelity) -> None:
    vector = ParameterVector(fidelity)
    theta = vector.get()
    slopes = fidelity.entry_slopes(Z, Y)
    assert slopes is not None
    assert set(slopes) == {s.name for s in vector.slots}
    for slot in vector.slots:
        sides = []
        for step in (1e-6, -1e-6):
            moved = theta.clone()
            moved[slot.start : slot.stop] += step
            vector.set(moved)
            sides.append(fidelity.grad(Z, Y).detach())
        vector.set(theta)
        expected = (sides[0] - sides[1]) / 2e-6
        assert float((slopes[slot.name].detach() - expected).norm() / expected.norm()) < 1e-8


def test_a_weight_per_pixel_has_certified_hypergradients() -> None:
    weights = 0.5 + rand((1, 1, 6, 7), 104)
    energy = VariationalEnergy(LeastSquares(weights, learn=True), SmoothedTV(0.05, 0.3, 0.2, learn=()))
    y, target = rand((2, 1, 6, 7), 105), rand((2, 1, 6, 7), 106)
    objective = ReducedObjective(energy, y, target, SquaredError(), estimator=ImplicitHypergradient())
    theta = objective.parameters.get()
    exact = objective.hypergradient(theta, 1e-9)
    rough = objective.hypergradient(theta, 1e-3)
    assert exact.certified
    assert exact.gradient is not None
    assert rough.gradient is not None
    assert float((exact.gradient - rough.gradient).norm()) <= rough.gradient_bound + exact.gradient_bound < math.inf
    step = torch.zeros_like(theta)
    step[17] = 1e-4
    difference = (objective.value(theta + step, 1e-12).value - objective.value(theta - step, 1e-12).value) / 2e-4
    assert float(exact.gradient[17]) == pytest.approx(difference, rel=1e-6)


def blocks(generator: torch.Generator) -> Tensor:
    return (0.5 * torch.randn(6, 1, 4, generator=generator, dtype=F64)).repeat_interleave(8, -1)


def robust_objective(noise: Tensor, truth: Tensor) -> ReducedObjective:
    fidelity = StudentT(1.0, 0.3, learn=["scale"], bounds={"scale": (1e-3, 1e2)})
    energy = VariationalEnergy(fidelity, SmoothedTV(alpha=0.05, xi=0.13, nu=0.02, learn=(), axes=1))
    return ReducedObjective(energy, truth + noise, truth, SquaredError())


def test_the_scale_of_student_t_is_learned_from_heavy_tailed_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = blocks(generator)
    gauss = 0.05 * torch.randn(truth.shape, generator=generator, dtype=F64)
    chi = torch.randn((2, *truth.shape), generator=generator, dtype=F64).square().mean(0)
    learned = {}
    for name, noise in (("heavy", gauss / chi.sqrt()), ("normal", gauss)):
        objective = robust_objective(noise, truth)
        state = run(GaussNewton(), objective, objective.parameters.get())
        assert state.best.certified
        scan = torch.linspace(-3, 2, 51, dtype=F64)
        values = [objective.value(s[None], 1e-8).value for s in scan]
        best = min(range(len(scan)), key=values.__getitem__)
        assert state.best.value <= values[best] * (1 + 1e-3)
        assert state.best.value < 0.6 * values[0]
        learned[name] = float(state.best.theta), float(scan[best]), values
    theta, scanned, values = learned["heavy"]
    assert abs(theta - scanned) < 5 / 50
    assert min(values) < 0.5 * values[-1]
    assert learned["normal"][0] > theta + 0.3
    assert min(learned["normal"][2]) > 0.9 * learned["normal"][2][-1]


def test_poisson_gaussian_finds_the_variance() -> None:
    """With the ridge 1/2 |x|^2 of normal signals of variance 1, the reconstruction is y/(1 + variance), Wiener's filter."""
    generator = torch.Generator().manual_seed(0)
    size = (1, 1, 200, 200)
    signal = torch.randn(size, generator=generator, dtype=F64)
    y = signal + 0.5 * torch.randn(size, generator=generator, dtype=F64)
    energy = VariationalEnergy(PoissonGaussian(1.0, 1e-7, ["variance"]), Tikhonov(1.0, learn=False))
    objective = ReducedObjective(energy, y, signal, SquaredError())
    state = run(GaussNewton(), objective, objective.parameters.get())
    assert 10 ** float(state.best.theta) == pytest.approx(0.25, rel=0.02)


def test_poisson_gaussian_values_and_constants() -> None:
    fidelity = PoissonGaussian(0.3, 0.5)
    variance = 0.3 + 0.5 * Y
    assert torch.allclose(fidelity(Z, Y), 0.5 * ((Z - Y) ** 2 / variance).sum((1, 2, 3)))
    curvature = fidelity.curvature(Y)
    assert curvature.smoothness.per_sample(Y).tolist() == pytest.approx((1 / variance).flatten(1).amax(1).tolist())
    assert float(fidelity.second(Z, -Y).max()) == pytest.approx(1 / 0.3)


def test_unknown_names_are_refused() -> None:
    for kind in (KullbackLeibler, PoissonGaussian):
        with pytest.raises(ValueError, match=r"learn, bounds: found \['width'\]"):
            kind(learn=("width",))
    with pytest.raises(ValueError, match=r"PoissonGaussian\.gain: found -1"):
        PoissonGaussian(gain=-1.0)
