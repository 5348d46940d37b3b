"""Forward operators from deepinv (or from any object with ``A`` and ``A_adjoint``), made lean where that is exact."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import Constant, Source
from bilearn.operators import ForwardOperator, FourierBlur, Identity, Mask, MatrixOperator, Unstructured

#: Largest number of pixels for which a tomography operator is stored as a matrix.
MATRIX_PIXELS = 256 * 256


def as_operator(
    physics: Any = None, image_shape: tuple[int, ...] | None = None, seed: int = 0, dtype: torch.dtype = torch.float64
) -> ForwardOperator:
    """A :class:`ForwardOperator` equal to ``physics``.

    ==========================================  ==============================================================
    given                                       used inside
    ==========================================  ==============================================================
    None, ``deepinv.physics.Denoising``         identity
    ``Inpainting``                              pixelwise mask
    ``BlurFFT``, ``Blur(padding='circular')``   Fourier multiplication by the spectrum of the impulse response
    ``Tomography`` up to 256 x 256 pixels       its sparse matrix, float32 entries from the operator itself
    any other object with A and A_adjoint       the object as it is; |A|^2 *estimated* by power iteration
    ==========================================  ==============================================================

    A norm that is estimated makes every certificate that uses it uncertified, and the report says so.

    Args:
        physics: the operator.
        image_shape: (C, H, W) of one image; needed for circular ``Blur`` (used as it is without), and for objects that
            are not known and do not carry ``img_size``.
        seed: seed of the start vector of the power iteration.
        dtype: of the images that a tomography matrix multiplies; the other operators take images of any dtype.

    Raises:
        TypeError: the object lacks A or A_adjoint.
        ValueError: the image shape is needed and missing.
    """
    if physics is None:
        return Identity()
    if isinstance(physics, ForwardOperator):
        return physics
    for name in ("A", "A_adjoint"):
        if not callable(getattr(physics, name, None)):
            raise TypeError(
                f"physics: found {type(physics).__name__} without a method {name}, "
                "expected a deepinv LinearPhysics or any object with A(x) and A_adjoint(y)"
            )
    from deepinv.physics import Blur, BlurFFT, Denoising, Inpainting, Tomography

    if isinstance(physics, Denoising):
        return Identity()
    if isinstance(physics, Inpainting):
        return Mask(_buffer(physics, "mask"))
    if isinstance(physics, BlurFFT):
        return _circular(physics, tuple(physics.img_size))
    if isinstance(physics, Blur) and physics.padding == "circular" and image_shape is not None:
        return _circular(physics, image_shape)
    if isinstance(physics, Tomography) and int(physics.img_width) ** 2 <= MATRIX_PIXELS:
        return tomography_matrix(physics).to(dtype)
    return _unstructured(physics, image_shape, seed)


def _buffer(physics: nn.Module, name: str) -> Tensor:
    return dict(physics.named_buffers())[name]


def tensors_of(physics: Any) -> list[Tensor]:
    """Parameters and buffers of a torch module, nothing of any other object."""
    return [*physics.parameters(), *physics.buffers()] if isinstance(physics, nn.Module) else []


def _circular(physics: Any, image_shape: tuple[int, ...]) -> ForwardOperator:
    """Read the impulse response off the operator, so that its centering convention does not matter."""
    height, width = image_shape[-2:]
    filter_ = _buffer(physics, "filter")
    impulse = torch.zeros(1, image_shape[0], height, width, dtype=filter_.dtype, device=filter_.device)
    impulse[..., height // 2, width // 2] = 1.0
    with torch.no_grad():
        response = physics.A(impulse)[0]
    if bool((response == response[:1]).all()):
        response = response[:1]
    operator = FourierBlur(response, (height, width))
    return operator


def tomography_matrix(physics: Any, chunk: int = 1024) -> MatrixOperator:
    """Sparse matrix of a ``deepinv.physics.Tomography``: columns are the projections of the unit images.

    Entries are computed in float32 (the operator refuses float64 inputs) and stored in float64.
    """
    width = int(physics.img_width)
    pixels = width * width
    device = next((b.device for b in physics.buffers()), torch.device("cpu"))
    rows, columns, values = [], [], []
    shape: tuple[int, ...] = ()
    with torch.no_grad():
        for start in range(0, pixels, chunk):
            stop = min(start + chunk, pixels)
            unit = torch.zeros(stop - start, pixels, dtype=torch.float32, device=device)
            unit[torch.arange(stop - start), torch.arange(start, stop)] = 1.0
            data = physics.A(unit.reshape(-1, 1, width, width))
            shape = tuple(data.shape[1:])
            flat = data.reshape(stop - start, -1)
            column, row = flat.nonzero(as_tuple=True)
            rows.append(row)
            columns.append(column + start)
            values.append(flat[column, row].double())
    size = (int(torch.tensor(shape).prod()), pixels)
    index = torch.stack([torch.cat(rows), torch.cat(columns)])
    matrix = torch.sparse_coo_tensor(index, torch.cat(values), size, check_invariants=True)
    return MatrixOperator(matrix, (1, width, width), shape)


def _unstructured(physics: Any, image_shape: tuple[int, ...] | None, seed: int) -> Unstructured:
    shape = image_shape or getattr(physics, "img_size", None)
    if shape is None:
        raise ValueError(
            f"image_shape: found none for {type(physics).__name__}, expected (C, H, W); "
            "pass image_shape=... so that the norm of the operator can be estimated"
        )
    tensors = tensors_of(physics)
    real = next((t for t in tensors if t.dtype in (torch.float32, torch.float64)), torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, *shape, generator=generator, dtype=real.dtype).to(real.device)
    estimate = torch.zeros(1)
    data_axes = 4
    with torch.no_grad():
        for _ in range(60):
            x = x / _batch.norm(x).reshape(-1, *([1] * (x.ndim - 1)))
            data = physics.A(x)
            data_axes = data.ndim
            x = physics.A_adjoint(data)
            estimate = _batch.norm(x)
    inflated = 1.05 * float(estimate)
    return Unstructured(physics, Constant(inflated, Source.ESTIMATED), image_axes=len(shape) + 1, data_axes=data_axes)
