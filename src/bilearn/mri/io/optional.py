"""Optional packages, imported where they are used, with one message when one is missing."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from bilearn.data.images import DataError

#: Names on PyPI that differ from the name of the module.
_DISTRIBUTIONS = {"data_store": "pydicom-data"}


def require(module: str, purpose: str) -> Any:
    """The imported module.

    Args:
        module: dotted name, such as ``"h5py"``.
        purpose: what needs it, for the message.

    Raises:
        DataError: if its package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, purpose) from error


def packaged_file(module: str, relative: str, purpose: str) -> Path:
    """A file inside an installed package, found without importing the package.

    Args:
        module: name of the top-level package.
        relative: path inside it.
        purpose: what needs it, for the message.

    Raises:
        DataError: if the package is not installed, or lacks the file.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(module, purpose)
    file = Path(next(iter(spec.submodule_search_locations))) / relative
    if not file.is_file():
        package = _DISTRIBUTIONS.get(module, module)
        raise DataError(f"{purpose}: {file} is missing; reinstall it with: pip install --force-reinstall {package}")
    return file


def _missing(module: str, purpose: str) -> DataError:
    package = module.split(".")[0]
    return DataError(
        f"{purpose}: the package {_DISTRIBUTIONS.get(package, package)} is not installed; "
        'install it with: pip install "bilearn[mri]"'
    )
