"""deepinv operators against their lean equals."""

from __future__ import annotations

import deepinv
import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.curvature import Source
from bilearn.interop import as_operator, tomography_matrix
from bilearn.operators import FourierBlur, Identity, Mask, MatrixOperator, Unstructured

SHAPE = (1, 10, 8)
KERNEL = rand((1, 1, 3, 3), 50)


def _blur_fft() -> deepinv.physics.LinearPhysics:
    return deepinv.physics.BlurFFT(img_size=SHAPE, filter=KERNEL / KERNEL.sum()).double()


def _even_blur_fft() -> deepinv.physics.LinearPhysics:
    return deepinv.physics.BlurFFT(img_size=SHAPE, filter=rand((1, 1, 4, 2), 51)).double()


def _blur(padding: str) -> deepinv.physics.LinearPhysics:
    return deepinv.physics.Blur(KERNEL / KERNEL.sum(), padding=padding).double()


def _inpainting() -> deepinv.physics.LinearPhysics:
    return deepinv.physics.Inpainting(SHAPE, mask=(rand(SHAPE, 52) > 0.4).double()).double()


def _denoising() -> deepinv.physics.LinearPhysics:
    return deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.1))


CASES = {
    "denoising": (_denoising, Identity),
    "inpainting": (_inpainting, Mask),
    "blur_fft": (_blur_fft, FourierBlur),
    "blur_fft_even": (_even_blur_fft, FourierBlur),
    "blur_circular": (lambda: _blur("circular"), FourierBlur),
    "blur_valid": (lambda: _blur("valid"), Unstructured),
    "blur_reflect": (lambda: _blur("reflect"), Unstructured),
    "downsampling": (lambda: deepinv.physics.Downsampling((1, 10, 8), filter="gaussian").double(), Unstructured),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_deepinv_operator(name: str) -> None:
    make, kind = CASES[name]
    physics = make()
    operator = as_operator(physics, image_shape=SHAPE)
    assert type(operator) is kind
    x = rand((2, *SHAPE), 53)
    data = physics.A(x)
    z = rand(tuple(data.shape), 54)
    assert torch.allclose(operator.A(x), data, rtol=0, atol=1e-12)
    assert torch.allclose(operator.A_adjoint(z), physics.A_adjoint(z), rtol=0, atol=1e-12)
    stack = torch.stack([x, -2 * x, x.flip(0)])
    assert torch.allclose(operator.A(stack)[1], -2 * data, rtol=0, atol=1e-12)
    assert torch.allclose(operator.A_adjoint(operator.A(stack))[2], physics.A_adjoint(data).flip(0), rtol=0, atol=1e-12)
    assert operator.start(data).shape == x.shape


@pytest.mark.parametrize("name", CASES)
def test_norm_bounds_hold(name: str) -> None:
    physics = CASES[name][0]()
    operator = as_operator(physics, image_shape=SHAPE)
    matrix = dense(operator.A, SHAPE)
    values = torch.linalg.svdvals(matrix).square()
    norm = operator.norm_squared()
    assert float(norm.value) >= float(values[0]) * (1 - 1e-12)
    if norm.source is Source.DECLARED:
        low = float(operator.smallest_squared().value)
        assert low <= (float(values[-1]) if matrix.shape[0] >= matrix.shape[1] else 0.0) + 1e-12
    else:
        assert isinstance(operator, Unstructured)


def dense(apply, shape: tuple[int, ...]) -> Tensor:  # type: ignore[no-untyped-def]
    """Matrix of a linear map."""
    n = int(torch.tensor(shape).prod())
    columns = apply(torch.eye(n, dtype=torch.float64).reshape(n, *shape))
    return columns.reshape(n, -1).T


def test_tomography_matrix() -> None:
    physics = deepinv.physics.Tomography(angles=7, img_width=12, circle=False, normalize=False)
    operator = as_operator(physics)
    assert isinstance(operator, MatrixOperator)
    x = rand((2, 1, 12, 12), 55)
    data = physics.A(x.float())
    assert torch.allclose(operator.A(x).float(), data, rtol=0, atol=1e-5 * float(data.abs().max()))
    back = physics.A_adjoint(data)
    assert torch.allclose(operator.A_adjoint(operator.A(x)).float(), back, rtol=0, atol=1e-5 * float(back.abs().max()))
    values = torch.linalg.svdvals(operator.matrix.to_dense())
    assert float(operator.norm_squared().value) >= float(values[0]) ** 2
    assert torch.equal(tomography_matrix(physics, chunk=10).matrix.to_dense(), operator.matrix.to_dense())


def test_float32_operators_stay_float32() -> None:
    physics = deepinv.physics.BlurFFT(img_size=SHAPE, filter=(KERNEL / KERNEL.sum()).float())
    x = rand((2, *SHAPE), 56).float()
    assert as_operator(physics).A(x).dtype == torch.float32
    assert torch.allclose(as_operator(physics).A(x), physics.A(x), atol=1e-6)


def test_any_object_with_a_and_its_adjoint() -> None:
    class Half:
        def A(self, x: Tensor) -> Tensor:
            return 0.5 * x

        def A_adjoint(self, y: Tensor) -> Tensor:
            return 0.5 * y

    operator = as_operator(Half(), image_shape=(1, 4, 4))
    x = rand((2, 1, 4, 4), 57).float()
    assert torch.equal(operator.A(x), 0.5 * x)
    assert float(operator.norm_squared().value) == pytest.approx(0.25 * 1.05, rel=1e-3)
    assert operator.norm_squared().source is Source.ESTIMATED


def test_what_is_not_an_operator_is_refused() -> None:
    with pytest.raises(TypeError, match="found int without a method A"):
        as_operator(3)
    with pytest.raises(ValueError, match="image_shape: found none for Blur"):
        as_operator(_blur("valid"))
    assert isinstance(as_operator(None), Identity)
    mask = Mask(torch.ones(1, 1, 2, 2))
    assert as_operator(mask) is mask
