"""Image files: PNG, JPEG, TIFF, BMP, NumPy arrays and, as an extra, HDF5, read into [0, 1] in sorted order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from bilearn.data.images import DataError, NamedImage

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ARRAYS = (".npy", ".npz")
HDF5 = (".h5", ".hdf5")
SUFFIXES = PICTURES + ARRAYS + HDF5


def list_images(folder: str | Path) -> list[Path]:
    """Readable image files directly inside ``folder``, sorted by name; hidden files are passed over.

    Raises:
        DataError: if the folder does not exist, is not a folder, or holds no readable file.
    """
    root = Path(folder).expanduser()
    if not root.exists():
        raise DataError(f"folder {root}: does not exist; expected a folder with image files ({_suffixes()})")
    if not root.is_dir():
        raise DataError(f"folder {root}: is a file, expected a folder with image files ({_suffixes()})")
    found = sorted(p for p in root.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        others = sum(1 for p in root.iterdir() if p.is_file())
        raise DataError(f"folder {root}: found no image among {others} files; expected {_suffixes()}")
    return found


def read_folder(folder: str | Path, scale: float | None = None) -> list[NamedImage]:
    """All images of a folder, in sorted order of file names. See :func:`read_image`."""
    return [image for path in list_images(folder) for image in read_image(path, scale)]


def read_image(path: str | Path, scale: float | None = None) -> list[NamedImage]:
    """The images in one file (one for a picture; several for a multi-page TIFF, an array stack, an archive).

    Integer pixels are divided by the largest number of their type, Booleans become 0 and 1, floating-point pixels are
    taken as they are. Arrays may be (H, W), (H, W, 3 or 4), (C, H, W) with C <= 4, (N, H, W) or (N, C, H, W). An alpha
    channel is dropped; the orientation recorded by a camera is applied. Pages of a TIFF share one group; images of an
    array each have their own.

    Args:
        path: the file.
        scale: divide the stored numbers by this instead (255 for floating-point pixels between 0 and 255).

    Returns:
        Images with float64 pixels in [0, 1].

    Raises:
        DataError: if the file is missing, unreadable, of an unknown type or shape, not finite, or outside [0, 1].
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{file}: found suffix '{file.suffix}', expected one of {_suffixes()}")
    try:
        if suffix in PICTURES:
            arrays = list(_picture(file))
        elif suffix in ARRAYS:
            arrays = list(_numpy(file))
        else:
            arrays = list(_hdf5(file))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{file}: cannot be read as an image ({error}); replace or remove the file") from error
    images = [(label, part) for label, array in arrays for part in _channels_first(file, array)]
    labels = [file.stem + label for label, _ in images]
    names = [label if labels.count(label) == 1 else f"{label} #{i}" for i, label in enumerate(labels)]
    return [
        NamedImage(_normalized(file, part, scale), name, file.name if suffix in PICTURES else f"{file.name}:{name}")
        for (_, part), name in zip(images, names, strict=True)
    ]


def _picture(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    from PIL import Image, ImageOps, ImageSequence

    with Image.open(file) as opened:
        for page in ImageSequence.Iterator(opened):
            upright = ImageOps.exif_transpose(page)
            if upright.mode in ("L", "F", "1"):
                yield "", np.asarray(upright)
            elif upright.mode.startswith("I"):
                yield "", np.asarray(upright).astype(np.uint16)
            elif upright.mode == "LA":
                yield "", np.asarray(upright.convert("L"))
            else:
                yield "", np.asarray(upright.convert("RGB"))


def _numpy(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    loaded = np.load(file, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        yield "", loaded
        return
    with loaded:
        keys = sorted(loaded.files)
        for key in keys:
            yield (f":{key}" if len(keys) > 1 else ""), loaded[key]


def _hdf5(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{file}: HDF5 needs h5py; install it with: pip install 'bilearn[hdf5]'") from error
    with h5py.File(file, "r") as opened:
        keys = sorted(key for key, value in opened.items() if isinstance(value, h5py.Dataset))
        if not keys:
            raise ValueError("no data set at the top level")
        for key in keys:
            yield (f":{key}" if len(keys) > 1 else ""), np.asarray(opened[key])


def _channels_first(file: Path, array: np.ndarray) -> list[np.ndarray]:
    """Images (C, H, W) inside an array; alpha channels dropped."""
    if array.size == 0:
        raise DataError(f"{file}: found an empty array of shape {array.shape}")
    if array.ndim == 2:
        return [array[None]]
    if array.ndim == 3 and array.shape[-1] in (1, 3, 4):
        return [np.moveaxis(array, -1, 0)[:3]]
    if array.ndim == 3 and array.shape[0] <= 4:
        return [array[:3]]
    if array.ndim == 3:
        return [image[None] for image in array]
    if array.ndim == 4 and array.shape[-1] in (1, 3, 4) and array.shape[1] > 4:
        return [np.moveaxis(image, -1, 0)[:3] for image in array]
    if array.ndim == 4:
        return list(array)
    raise DataError(
        f"{file}: found an array of shape {array.shape}, "
        "expected (H, W), (H, W, 3), (C, H, W), (N, H, W) or (N, C, H, W)"
    )


def _normalized(file: Path, array: np.ndarray, scale: float | None) -> torch.Tensor:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{file}: found pixels of type {array.dtype}, expected real numbers")
    pixels = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
    if not bool(torch.isfinite(pixels).all()):
        bad = int((~torch.isfinite(pixels)).sum())
        raise DataError(
            f"{file}: found NaN or infinity in {bad} pixels, expected finite numbers; clean or remove the file"
        )
    if scale is not None:
        pixels = pixels / scale
    elif array.dtype.kind in "iu":
        pixels = pixels / float(np.iinfo(array.dtype).max)
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{file}: found values in [{low:g}, {high:g}], expected [0, 1]; "
            "set scale to the number that stands for white"
        )
    return pixels


def _suffixes() -> str:
    return ", ".join(SUFFIXES)
