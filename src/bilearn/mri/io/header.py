"""The part of an ISMRMRD header (also stored in fastMRI files) that says how k-space and image grids relate."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from bilearn.data.images import DataError

_NAMESPACE = "{http://www.ismrm.org/ISMRMRD}"


@dataclass(frozen=True)
class EncodingHeader:
    """First encoding of an ISMRMRD header.

    Attributes:
        encoded: (readout, phase) points of the measured k-space grid, readout oversampling included.
        reconstructed: (readout, phase) pixels of the image.
        first_line: first acquired phase-encoding line, as counted by the scanner.
        last_line: last acquired line.
        center_line: line of the zero frequency, as counted by the scanner.
        strings: user parameters of type string.
    """

    encoded: tuple[int, int]
    reconstructed: tuple[int, int]
    first_line: int
    last_line: int
    center_line: int
    strings: dict[str, str]

    def column(self, line: int) -> int:
        """Index on the centered grid of a line as counted by the scanner: the center line goes to ``phase // 2``."""
        return line - self.center_line + self.encoded[1] // 2


def parse_header(xml: str | bytes, source: str) -> EncodingHeader:
    """Read the first encoding.

    Args:
        xml: the header.
        source: file name for messages.

    Raises:
        DataError: if the text is no XML, or an element is missing.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise DataError(
            f"{source}: the ISMRMRD header is no XML ({error}); expected an <ismrmrdHeader> element"
        ) from error
    limits = ("encodingLimits", "kspace_encoding_step_1")
    strings = {
        _text(node, "name", source): _text(node, "value", source)
        for node in root.iter(f"{_NAMESPACE}userParameterString")
    }
    return EncodingHeader(
        (
            _number(root, source, "encodedSpace", "matrixSize", "x"),
            _number(root, source, "encodedSpace", "matrixSize", "y"),
        ),
        (
            _number(root, source, "reconSpace", "matrixSize", "x"),
            _number(root, source, "reconSpace", "matrixSize", "y"),
        ),
        _number(root, source, *limits, "minimum"),
        _number(root, source, *limits, "maximum"),
        _number(root, source, *limits, "center"),
        strings,
    )


def _number(root: ElementTree.Element, source: str, *names: str) -> int:
    return int(_text(root, "/".join(("encoding", *names)), source))


def _text(node: ElementTree.Element, path: str, source: str) -> str:
    found = node.find("/".join(_NAMESPACE + name for name in path.split("/")))
    if found is None or found.text is None:
        raise DataError(f"{source}: the ISMRMRD header lacks the element {path}; the file cannot be placed on a grid")
    return found.text
