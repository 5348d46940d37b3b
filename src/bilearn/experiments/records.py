"""``results.json``: everything an experiment computed, from which its page and figures are drawn."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bilearn._files import replacing
from bilearn.run_records import encode

RESULTS = "results.json"
REPORT = "report.html"
FORMAT = 1
RUNNING, INTERRUPTED, FINISHED, FAILED = "running", "interrupted", "finished", "failed"


@dataclass
class Results:
    """Records of an experiment.

    Attributes:
        experiment: its name.
        options: its options.
        environment: machine, threads, versions, seed and command.
        status: "running", "interrupted", "failed" or "finished".
        seconds: wall-clock time of all parts so far.
        parts: result of every finished part by key.
        format: version of this layout.
    """

    experiment: str
    options: dict[str, Any]
    environment: dict[str, Any]
    status: str = RUNNING
    seconds: float = 0.0
    parts: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def below(self, *words: str) -> dict[str, Any]:
        """Finished parts whose key begins with these words, by the rest of the key, in order of computation."""
        prefix = "/".join(words) + "/"
        return {k.removeprefix(prefix): v for k, v in self.parts.items() if k.startswith(prefix)}

    def write(self, directory: Path) -> None:
        """Replace ``results.json`` atomically."""
        text = json.dumps(encode(asdict(self), RESULTS), allow_nan=False, indent=1)
        with replacing(directory / RESULTS) as file:
            file.write(text.encode())

    @classmethod
    def read(cls, directory: Path) -> Results:
        """The records of a directory.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if they are damaged or of another format.
        """
        path = directory / RESULTS
        if not path.is_file():
            raise FileNotFoundError(
                f"experiment: found no {RESULTS} in {directory}, expected a directory of an experiment"
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found = content["format"]
            if found == FORMAT:
                return cls(**content)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not the record of an experiment ({error}); restore or delete it") from None
        raise ValueError(f"{path}: found format {found}, expected {FORMAT}; run the experiment again")


def plain(values: Any) -> Any:
    """Tensors inside mappings and sequences as NumPy arrays; everything else as it is."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    if isinstance(values, Mapping):
        return {k: plain(v) for k, v in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [plain(v) for v in values]
    return values


def packed(array: np.ndarray | Tensor) -> dict[str, Any]:
    """A large array (a picture) as compressed float32 bytes in base 64, see :func:`unpacked`."""
    values = np.ascontiguousarray(plain(array), dtype="<f4")
    data = base64.b64encode(zlib.compress(values.tobytes(), 6)).decode()
    return {"shape": list(values.shape), "float32_zlib_base64": data}


def unpacked(stored: Mapping[str, Any]) -> np.ndarray:
    """The array that :func:`packed` stored, as float64."""
    data = zlib.decompress(base64.b64decode(stored["float32_zlib_base64"]))
    return np.frombuffer(data, dtype="<f4").reshape(stored["shape"]).astype(float)


def numbers(values: Sequence[Any]) -> np.ndarray:
    """Recorded numbers as a float array; infinities and NaN, stored as words, are read back."""
    return np.asarray(values, dtype=float)


def column(rows: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """One entry of every row, as floats."""
    return numbers([row[key] for row in rows])
