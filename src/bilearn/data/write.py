"""Writing images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from bilearn._files import replacing
from bilearn.data.images import DataError

FORMATS = ("png", "tif", "npy")


def write_image(path: str | Path, pixels: Tensor) -> Path:
    """Write one image atomically; the suffix decides how.

    ``.png`` clips to [0, 1] and rounds to 8 bits (gray or color); ``.tif`` stores float32 (gray only); ``.npy`` stores the
    array as it is.

    Args:
        path: the file; its folder is created.
        pixels: (C, H, W) or (C, L).

    Raises:
        DataError: if the format is unknown or cannot hold the image.
    """
    target = Path(path)
    array = pixels.detach().cpu().numpy()
    suffix = target.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise DataError(f"{target}: found format '{suffix}', expected one of {', '.join(FORMATS)}")
    flat = array[0] if array.shape[0] == 1 else array
    if suffix != "npy" and (array.ndim != 3 or array.shape[0] not in (1, 3)):
        raise DataError(f"{target}: an array of shape {array.shape} is no picture; choose the format npy")
    if suffix == "tif" and array.shape[0] != 1:
        raise DataError(f"{target}: tif holds gray images only; choose png or npy")
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        if suffix == "npy":
            np.save(file, flat)
        else:
            from PIL import Image

            if suffix == "png":
                eight = np.rint(np.clip(flat, 0.0, 1.0) * 255).astype(np.uint8)
                Image.fromarray(eight if eight.ndim == 2 else np.moveaxis(eight, 0, -1)).save(file, "PNG")
            else:
                Image.fromarray(flat.astype(np.float32)).save(file, "TIFF")
    return target
