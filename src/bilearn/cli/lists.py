"""Lists in one option, separated by commas."""

from __future__ import annotations


def numbers_of(option: str, text: str | None) -> tuple[float, ...] | None:
    """The numbers in a text such as ``0.1,1e-2``; None for None.

    Raises:
        ValueError: if one of them is no number; the message names the option.
    """
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"{option}: found {text!r}, expected numbers separated by commas, as in 0.1,1e-2") from None
