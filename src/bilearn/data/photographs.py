"""Photographs that ship inside scikit-image's wheel: real images with no download."""

from __future__ import annotations

from pathlib import Path

from bilearn.data.files import read_image
from bilearn.data.images import DataError, NamedImage

_FILES = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble": "hubble_deep_field.jpg",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "shepp-logan": "phantom.png",
}
#: Natural photographs, in the order in which they are used when no names are given.
DEFAULT_NAMES = (
    "camera",
    "astronaut",
    "coffee",
    "chelsea",
    "rocket",
    "coins",
    "brick",
    "gravel",
    "grass",
    "moon",
    "motorcycle",
)


def photograph_names() -> list[str]:
    """Names accepted by :func:`photographs`."""
    return sorted(_FILES)


def photographs(names: list[str] | None = None) -> list[NamedImage]:
    """Read photographs from the installed scikit-image package.

    Args:
        names: which ones (see :func:`photograph_names`); eleven natural photographs if None.

    Raises:
        DataError: if a name is unknown, or the installed package lacks the file.
    """
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    images = []
    for name in DEFAULT_NAMES if names is None else names:
        if name not in _FILES:
            raise DataError(f"photograph '{name}': unknown name, expected one of {', '.join(photograph_names())}")
        file = folder / _FILES[name]
        if not file.is_file():
            raise DataError(f"photograph '{name}': {file} is missing; reinstall scikit-image")
        (image,) = read_image(file)
        images.append(NamedImage(image.pixels, name, name))
    return images
