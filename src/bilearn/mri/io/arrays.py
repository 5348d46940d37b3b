"""Images in NumPy and MATLAB arrays, in tensors and in data sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.conventions import to_channels
from bilearn.mri.io.optional import require
from bilearn.mri.io.size import prepared

Size = int | tuple[int, int] | None


def existing(path: str | Path) -> Path:
    """The file.

    Raises:
        DataError: if it does not exist.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    return file


def read_array(path: str | Path, field: str | None = None) -> np.ndarray:
    """One array of a ``.npy``, ``.npz`` or ``.mat`` file, as stored.

    Args:
        path: the file.
        field: name of the array; may be None if there is only one.

    Raises:
        DataError: file missing or unreadable, field missing or not named among several.
    """
    file = existing(path)
    suffix = file.suffix.lower()
    if suffix not in (".npy", ".npz", ".mat"):
        raise DataError(f"{file}: found suffix '{file.suffix}', expected .npy, .npz or .mat")
    if suffix == ".mat":
        arrays = matlab_fields(file)
    else:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{file}: cannot be read as an array ({error}); replace the file") from error
    if field is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if field is None or field not in arrays:
        found = f"no field '{field}'" if field is not None else "several fields"
        raise DataError(f"{file}: found {found}; name one of: {', '.join(sorted(arrays))}")
    return arrays[field]


def matlab_fields(file: Path) -> dict[str, np.ndarray]:
    """Variables of a MATLAB file by name.

    Raises:
        DataError: unreadable, or saved with ``-v7.3``, which SciPy does not read.
    """
    matlab = require("scipy.io.matlab", f"{file}: a MATLAB file")
    try:
        contents = matlab.loadmat(file)
    except (OSError, ValueError, TypeError, NotImplementedError, matlab.MatReadError) as error:
        raise DataError(f"{file}: cannot be read as a MATLAB file ({error}); save it with -v7") from error
    return {name: value for name, value in contents.items() if not name.startswith("__")}


def read_images(path: str | Path, field: str | None = None, size: Size = None, scale: float | None = None) -> Tensor:
    """Images in an array file, real or complex, (H, W), (N, H, W), or real (2, H, W) and (N, 2, H, W) in two channels.

    Args:
        path: ``.npy``, ``.npz`` or ``.mat``.
        field: see :func:`read_array`.
        size: pad or crop to this many pixels.
        scale: divide by this; None: by the largest magnitude of all images.

    Returns:
        (N, 2, H, W) float64.

    Raises:
        DataError: as :func:`read_array`; shape or type of the array.
    """
    return prepared(stacked(read_array(path, field), str(path)), size, scale, str(path))


def stacked(array: Any, source: str) -> Tensor:
    """(N, 2, H, W) float64 of a NumPy array or tensor of a shape that :func:`read_images` names, or (1, H, W), (N, 1, H, W).

    Raises:
        DataError: shape or type.
    """
    values = torch.as_tensor(np.ascontiguousarray(array)) if isinstance(array, np.ndarray) else array
    if not isinstance(values, Tensor) or values.numel() == 0:
        raise DataError(f"{source}: found {_describe(values)}, expected an array of numbers that is not empty")
    shape = tuple(values.shape)
    if values.is_complex():
        values = values.to(torch.complex128)
        if values.ndim == 2:
            return to_channels(values[None])
        if values.ndim == 3:
            return to_channels(values)
        if values.ndim == 4 and shape[1] == 1:
            return to_channels(values[:, 0])
        raise DataError(f"{source}: found complex numbers of shape {shape}, expected (H, W) or (N, H, W)")
    values = values.to(torch.float64)
    if values.ndim == 3 and shape[0] == 2:
        return values[None]
    if values.ndim == 4 and shape[1] == 2:
        return values
    if values.ndim == 4 and shape[1] == 1:
        return to_channels(values[:, 0])
    if values.ndim in (2, 3):
        return to_channels(values.reshape(-1, *shape[-2:]))
    raise DataError(
        f"{source}: found real numbers of shape {shape}, expected (H, W), (N, H, W), (2, H, W) or (N, 2, H, W)"
    )


def images_from_dataset(
    dataset: Iterable[Any], count: int | None = None, size: Size = None, scale: float | None = 1.0
) -> Tensor:
    """Images of a deepinv (or any torch) data set.

    An item is an image (1, H, W), (2, H, W) or complex (H, W), or a tuple whose first entry is one (deepinv's pairs of image
    and measurement).

    Args:
        dataset: anything that can be iterated over.
        count: number of items taken from the start; None for all.
        size: pad or crop to this many pixels; needed where sizes differ.
        scale: divide by this; None: by the largest magnitude of all images.

    Returns:
        (N, 2, H, W) float64.

    Raises:
        DataError: no items, an item of another kind, or mixed sizes.
    """
    images = []
    for index, item in enumerate(itertools.islice(dataset, count)):
        image = item[0] if isinstance(item, tuple | list) else item
        if not isinstance(image, Tensor) or image.ndim != (2 if image.is_complex() else 3):
            raise DataError(
                f"item {index}: found {_describe(image)}, expected a tensor (1, H, W), (2, H, W) or complex (H, W)"
            )
        if not image.is_complex() and image.shape[0] not in (1, 2):
            raise DataError(f"item {index}: found {image.shape[0]} channels, expected 1 (real) or 2 (real, imaginary)")
        image = stacked(image.detach().cpu(), f"item {index}")
        images.append(image if size is None else prepared(image, size, 1.0, f"item {index}"))
    if not images:
        raise DataError("data set: found no item, expected at least one")
    shapes = sorted({tuple(image.shape[-2:]) for image in images})
    if len(shapes) > 1:
        raise DataError(f"data set: found images of sizes {shapes}; set size to pad or crop all to one")
    return prepared(torch.cat(images), None, scale, "data set")


def _describe(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
