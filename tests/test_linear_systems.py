"""Linear systems with dense matrices of known spectrum, against dense solves."""

import math

import pytest
import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Apply, Hessian
from bilearn.linear_systems import ConjugateGradient, Direct, Minres, default_method, solve_linear
from bilearn.status import SolveError, Status


class Dense(Hessian):
    """Matrices (B, n, n); ``products`` counts products per sample over all copies."""

    def __init__(self, matrices: Tensor, offers: str = "", products: list[int] | None = None) -> None:
        self.matrices, self.offers = matrices, offers
        self.products = [0] if products is None else products

    def __call__(self, v: Tensor) -> Tensor:
        self.products[0] += v.numel() // v.shape[-1]
        return (self.matrices @ v.unsqueeze(-1)).squeeze(-1)

    def select(self, index: Tensor) -> Hessian:
        return Dense(self.matrices[index], self.offers, self.products)

    def direct(self) -> Apply | None:
        return (
            (lambda v: torch.linalg.solve(self.matrices, v.unsqueeze(-1)).squeeze(-1)) if "d" in self.offers else None
        )

    def preconditioner(self) -> Apply | None:
        inverse = 1 / self.matrices.diagonal(dim1=-2, dim2=-1)
        return (lambda v: inverse * v) if "p" in self.offers else None


def matrices(spectrum: Tensor, batch: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(batch, len(spectrum), len(spectrum), generator=generator, dtype=torch.float64))
    a = q @ torch.diag(spectrum.double()) @ q.mT
    return ((a + a.mT) / 2).to(dtype)


DEFINITE = torch.logspace(0, 3, 24, dtype=torch.float64)
INDEFINITE = torch.cat([-torch.linspace(1, 5, 8), torch.linspace(1, 20, 16)])
METHODS = [ConjugateGradient(), ConjugateGradient(preconditioned=False), Minres(), Direct()]


def right_hand_sides(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def exact(a: Tensor, g: Tensor) -> Tensor:
    return torch.linalg.solve(a, g.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_true_residual_and_error_bound(method, stacked, tolerance):
    a = matrices(DEFINITE)
    g = right_hand_sides(3, 4, 24) if stacked else right_hand_sides(4, 24)
    solution = solve_linear(Dense(a, "dp"), g, mu=0.999, method=method, tolerance=tolerance, stacked=stacked)
    lead = g.ndim - 1
    residual = _batch.norm((a @ solution.x.unsqueeze(-1)).squeeze(-1) - g, lead)
    error = _batch.norm(solution.x - exact(a, g), lead)
    assert solution.gradient_norm.shape == solution.status.shape == solution.error.shape == g.shape[:lead]
    torch.testing.assert_close(residual, solution.gradient_norm, rtol=1e-2, atol=1e-12)
    assert (residual <= tolerance).all()
    assert (error <= solution.error).all()
    assert solution.converged
    assert solution.method == method.name


def test_the_default_is_direct_where_the_hessian_offers_it():
    a = matrices(DEFINITE)
    assert default_method(Dense(a, "d")).name == "Direct"
    assert default_method(Dense(a)).name == "ConjugateGradient"
    solution = solve_linear(Dense(a, "d"), right_hand_sides(4, 24))
    assert solution.method == "Direct"
    assert (solution.cost.direct_solves, solution.cost.hessian_products) == (4, 4)


def test_direct_without_a_direct_solve_names_the_remedy():
    with pytest.raises(ValueError, match=r"Dense\.direct\(\) returned None.*use ConjugateGradient"):
        solve_linear(Dense(matrices(DEFINITE)), right_hand_sides(4, 24), method=Direct())


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize(("scale", "dtype"), [(1e-12, torch.float64), (1e-100, torch.float64), (1e-15, torch.float32)])
def test_tiny_right_hand_sides(method, scale, dtype):
    a, g = matrices(DEFINITE, dtype=dtype), scale * right_hand_sides(4, 24, dtype=dtype)
    relative = 1e-8 if dtype == torch.float64 else 1e-3
    solution = solve_linear(Dense(a, "dp"), g, method=method, tolerance=relative * scale)
    wanted = exact(a.double(), g.double() / scale) * scale
    assert (_batch.norm(solution.x.double() / scale - wanted / scale) <= 3 * relative).all()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_zero_right_hand_side_gives_zero(method):
    g = right_hand_sides(2, 4, 24)
    g[0, 1] = 0
    solution = solve_linear(Dense(matrices(DEFINITE), "dp"), g, method=method, tolerance=torch.full((2, 4), 1e-8))
    assert (solution.x[0, 1] == 0).all()
    assert solution.steps[0, 1] == 0
    assert torch.isfinite(solution.x).all()
    only = solve_linear(
        Dense(matrices(DEFINITE), "dp"), torch.zeros(4, 24, dtype=torch.float64), method=method, tolerance=0.0
    )
    assert (only.x == 0).all()
    assert only.converged


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_warm_start_at_the_solution_takes_no_step_and_keeps_its_arguments(method):
    a, g = matrices(DEFINITE), right_hand_sides(4, 24)
    start = exact(a, g)
    kept, given = start.clone(), g.clone()
    solution = solve_linear(Dense(a, "dp"), g, method=method, x0=start, tolerance=1e-8)
    assert (solution.steps == 0).all()
    torch.testing.assert_close(solution.x, start, rtol=0, atol=0)
    near = solve_linear(Dense(a, "dp"), g, method=method, x0=start + 1e-4, tolerance=1e-8)
    cold = solve_linear(Dense(a, "dp"), g, method=method, tolerance=1e-8)
    assert near.converged
    assert near.steps.sum() <= cold.steps.sum()
    assert torch.equal(start, kept)
    assert torch.equal(g, given)


class Diagonal(Hessian):
    """Diagonal matrices (B, n), whose products do not depend on the batch in any bit."""

    def __init__(self, entries: Tensor, products: list[int]) -> None:
        self.entries, self.products = entries, products

    def __call__(self, v: Tensor) -> Tensor:
        self.products[0] += v.numel() // v.shape[-1]
        return self.entries * v

    def select(self, index: Tensor) -> Hessian:
        return Diagonal(self.entries[index], self.products)

    def preconditioner(self) -> Apply | None:
        return lambda v: v / self.entries.sqrt()


@pytest.mark.parametrize("method", METHODS[:3], ids=repr)
@pytest.mark.parametrize("stacked", [False, True])
def test_alone_and_in_a_batch(method, stacked):
    entries = torch.cat([torch.logspace(0, 3, 24).expand(3, -1), torch.linspace(1, 2, 24).expand(5, -1)]).double()
    g = right_hand_sides(2, 8, 24) if stacked else right_hand_sides(8, 24)
    products = [0]
    together = solve_linear(Diagonal(entries, products), g, method=method, tolerance=1e-6, stacked=stacked)
    assert products[0] == together.cost.hessian_products
    assert products[0] < 0.8 * g[..., 0].numel() * int(together.steps.max())
    for i in (0, 2, 5):
        part = Diagonal(entries[i : i + 1], [0])
        alone = solve_linear(part, g[..., i : i + 1, :], method=method, tolerance=1e-6, stacked=stacked)
        assert torch.equal(alone.steps[..., 0], together.steps[..., i])
        torch.testing.assert_close(alone.x[..., 0, :], together.x[..., i, :], rtol=1e-12, atol=1e-14)


def test_tolerances_per_system_are_kept_apart():
    a, g = matrices(DEFINITE), right_hand_sides(2, 4, 24)
    tolerance = torch.tensor([1e-1, 1e-3, 1e-6, 1e-9], dtype=torch.float64).expand(2, 4)
    solution = solve_linear(Dense(a), g, tolerance=tolerance)
    assert (solution.gradient_norm <= tolerance).all()
    assert (solution.gradient_norm[:, 0] > 1e-3).all()
    assert (solution.steps.diff(dim=1) > 0).all()


def test_conjugate_gradients_report_indefinite_matrices_and_minres_solves_them():
    a, g = matrices(INDEFINITE), right_hand_sides(4, 24)
    failed = solve_linear(Dense(a), g, method=ConjugateGradient(), tolerance=1e-8, throw=False)
    assert (failed.status == Status.INDEFINITE).all()
    assert torch.isfinite(failed.x).all()
    with pytest.raises(SolveError, match="not positive definite"):
        solve_linear(Dense(a), g, method=ConjugateGradient(), tolerance=1e-8)
    solution = solve_linear(Dense(a), g, method=Minres(), tolerance=1e-8)
    torch.testing.assert_close(solution.x, exact(a, g), rtol=0, atol=1e-7)
    assert (solution.error == math.inf).all()


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_tolerance_below_the_rounding_floor_is_said(method, dtype):
    a, g = matrices(DEFINITE, dtype=dtype), right_hand_sides(4, 24, dtype=dtype)
    solution = solve_linear(Dense(a, "dp"), g, method=method, tolerance=1e-30, throw=False)
    assert (solution.status == Status.FLOOR).all()
    assert (solution.gradient_norm <= 500 * torch.finfo(dtype).eps * 2 * 4 * _batch.norm(g)).all()
    assert (solution.steps < 400).all()


def test_step_limit_non_finite_and_stalled():
    a, g = matrices(DEFINITE), right_hand_sides(4, 24)
    limited = solve_linear(Dense(a), g, tolerance=1e-9, max_steps=3, throw=False)
    assert (limited.status == Status.MAX_STEPS).all()
    assert (limited.steps == 3).all()
    a[1, 0, 0] = math.nan
    g[2, 0] = math.inf
    broken = solve_linear(Dense(a), g, tolerance=1e-9, throw=False)
    assert broken.status.tolist() == [Status.CONVERGED, Status.NON_FINITE, Status.NON_FINITE, Status.CONVERGED]
    assert torch.isfinite(broken.x).all()
    singular = torch.diag_embed(torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64))
    stuck = solve_linear(
        Dense(singular), torch.ones(1, 3, dtype=torch.float64), method=Minres(), tolerance=1e-9, throw=False
    )
    assert stuck.status.item() in (Status.STALLED, Status.MAX_STEPS)
    assert stuck.gradient_norm.item() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_empty_batch(method):
    solution = solve_linear(Dense(matrices(DEFINITE, 0), "dp"), right_hand_sides(0, 24), method=method)
    assert solution.x.shape == (0, 24)
    assert solution.converged


def test_preconditioning_saves_steps():
    spread = torch.diag_embed(torch.logspace(0, 2, 24, dtype=torch.float64)).expand(4, -1, -1)
    a, g = spread @ matrices(torch.linspace(1, 2, 24)) @ spread, right_hand_sides(4, 24)
    plain = solve_linear(Dense(a, "p"), g, method=ConjugateGradient(preconditioned=False), tolerance=1e-6)
    better = solve_linear(Dense(a, "p"), g, method=ConjugateGradient(), tolerance=1e-6)
    assert 2 * better.steps.max() < plain.steps.min()


def test_start_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"x0: found shape \(24,\)"):
        solve_linear(Dense(matrices(DEFINITE)), right_hand_sides(4, 24), x0=torch.zeros(24, dtype=torch.float64))
