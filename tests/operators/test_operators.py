"""Forward operators against plain computations, adjoints, norm bounds and structure."""

from __future__ import annotations

import copy

import pytest
import torch
from registry import COLOR, IMAGE, SIGNAL, blur, color_blur, mask, matrix, rand, signal_blur
from torch import Tensor

from bilearn._spectral import Cosine, Fourier
from bilearn.curvature import Constant, Source
from bilearn.operators import ForwardOperator, FourierBlur, Identity, Mask, MatrixOperator, Unstructured

CASES = {
    "identity": (Identity, IMAGE),
    "mask": (mask, IMAGE),
    "blur": (blur, IMAGE),
    "color_blur": (color_blur, COLOR),
    "signal_blur": (signal_blur, SIGNAL),
    "sparse": (matrix, IMAGE),
    "dense": (lambda: matrix(sparse=False), IMAGE),
    "unstructured": (lambda: Unstructured(blur(), Constant(2.0, Source.ESTIMATED)), IMAGE),
}


def case(name: str) -> tuple[ForwardOperator, tuple[int, ...], Tensor]:
    """Operator, image shape, and its dense matrix."""
    make, shape = CASES[name]
    operator = make()
    n = int(torch.tensor(shape).prod())
    columns = operator.A(torch.eye(n, dtype=torch.float64).reshape(n, *shape))
    return operator, shape, columns.reshape(n, -1).T


@pytest.mark.parametrize("name", CASES)
def test_adjoint_and_stacks(name: str) -> None:
    operator, shape, dense = case(name)
    x = rand((2, *shape), 90)
    data = operator.A(x)
    z = rand(tuple(data.shape), 91)
    assert torch.allclose(operator.A_adjoint(z).flatten(1), z.flatten(1) @ dense, atol=1e-13)
    stack = torch.stack([x, 2 * x, -x])
    assert torch.allclose(operator.A(stack), torch.stack([data, 2 * data, -data]), atol=1e-13)
    forth = operator.A_adjoint(operator.A(stack))
    assert forth.shape == stack.shape
    assert torch.allclose(forth[1], operator.A_adjoint(2 * data), atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_norm_bounds(name: str) -> None:
    operator, _, dense = case(name)
    values = torch.linalg.eigvalsh(dense.T @ dense)
    assert float(operator.norm_squared().value) >= float(values[-1]) * (1 - 1e-12)
    assert float(operator.smallest_squared().value) <= float(values[0]) + 1e-12
    if name in ("identity", "mask", "blur", "color_blur", "signal_blur"):
        assert float(operator.norm_squared().value) == pytest.approx(float(values[-1]), rel=1e-12)
        assert float(operator.smallest_squared().value) == pytest.approx(float(values[0]), abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_diagonal_structure(name: str) -> None:
    operator, shape, dense = case(name)
    data = operator.A(rand((2, *shape), 92))
    weight = rand(tuple(data.shape), 93)
    diagonal = operator.normal_diagonal(weight)
    normal = dense.T @ torch.diag_embed(weight.flatten(1)) @ dense
    if diagonal is None:
        off = normal - torch.diag_embed(normal.diagonal(dim1=1, dim2=2))
        assert float(off.abs().max()) > 0
    else:
        assert torch.allclose(torch.diag_embed(diagonal.expand(2, *shape).flatten(1)), normal, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [Fourier, Cosine])
def test_symbols_are_the_eigenvalues(name: str, kind: type) -> None:
    operator, shape, _ = case(name)
    x = rand((2, *shape), 94)
    basis = kind(max(len(shape) - 1, 1))
    symbol = operator.normal_symbol(basis, x)
    if symbol is not None:
        assert torch.allclose(basis.multiply(x, symbol), operator.A_adjoint(operator.A(x)), atol=1e-12)
    assert (symbol is not None) == (name == "identity" or ("blur" in name and kind is Fourier))


def test_blur_against_a_loop() -> None:
    operator, kernel = (
        blur(),
        torch.tensor([[0.0, 1.0, 0.0], [1.0, 4.0, 2.0], [0.0, 1.0, 0.0]], dtype=torch.float64) / 9,
    )
    x = rand((1, *IMAGE), 95)
    expected = torch.zeros_like(x)
    for i in range(3):
        for j in range(3):
            expected += kernel[i, j] * x.roll((i - 1, j - 1), (-2, -1))
    assert torch.allclose(operator.A(x), expected, atol=1e-14)


def test_blur_keeps_its_phase_through_casts() -> None:
    single = blur().to(torch.float32)
    x = rand((1, *IMAGE), 96)
    assert single.A(x.float()).dtype == torch.float32
    assert torch.allclose(single.A(x.float()).double(), blur().A(x), atol=1e-6)
    assert torch.allclose(single.to(torch.float64).A(x), blur().A(x), atol=1e-6)


def test_kernel_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kernel: found size \(9, 1\), expected at most the image size \(7, 6\)"):
        FourierBlur(torch.ones(9, 1), (7, 6))


def test_starts_are_images_in_memory_of_their_own() -> None:
    for name in CASES:
        operator, shape, _ = case(name)
        y = operator.A(rand((2, *shape), 97))
        kept = y.clone()
        operator.start(y).add_(1.0)
        assert torch.equal(y, kept)
        assert operator.start(y).shape == (2, *shape)


def test_matrix_start_minimizes_along_the_back_projection() -> None:
    operator = matrix()
    y = rand((2, 20), 98)
    start, back = operator.start(y), operator.A_adjoint(y)
    assert torch.allclose(
        (operator.A(start) - y).mul(operator.A(back)).sum(1), torch.zeros(2, dtype=torch.float64), atol=1e-12
    )
    assert torch.equal(
        operator.start(torch.zeros(2, 20, dtype=torch.float64)), torch.zeros(2, *IMAGE, dtype=torch.float64)
    )


def test_matrix_of_another_dtype_is_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match=r"found torch.float32 for a matrix of torch.float64"):
        matrix().A(torch.zeros(1, *IMAGE))
    assert matrix().to(torch.float32).A(torch.zeros(1, *IMAGE)).dtype == torch.float32


@pytest.mark.parametrize("sparse", [True, False])
def test_matrices_can_be_copied_and_cast_independently(sparse: bool) -> None:
    first = matrix(sparse)
    twin = copy.deepcopy(first).to(torch.float32)
    x = rand((1, *IMAGE), 99)
    assert torch.allclose(twin.A(x.float()).double(), first.A(x), atol=1e-6)
    assert isinstance(twin, MatrixOperator)


def test_mask_broadcasts_and_is_copied() -> None:
    weights = torch.tensor([0.0, 2.0], dtype=torch.float64)
    operator = Mask(weights)
    weights[0] = 5.0
    assert operator.A(torch.ones(3, 2, dtype=torch.float64)).tolist() == [[0.0, 2.0]] * 3
