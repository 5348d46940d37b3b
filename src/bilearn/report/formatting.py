"""Numbers as people read them: few digits, intervals rounded outward, durations, counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from bilearn.run_records import Bounded, Spread, Statistic

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "\u2212"
TIMES = "\u00d7"
DASH = "\u2013"


@dataclass(frozen=True)
class Metric:
    """How a figure is shown: label, unit, decimals, and whether more is better (None: unknown)."""

    label: str
    unit: str = ""
    decimals: int | None = None
    higher_is_better: bool | None = None
    explanation: str = ""


_METRICS = {
    "psnr": Metric("PSNR", "dB", 2, True, "Peak signal-to-noise ratio, 10 log10(1 / mean squared error)."),
    "ssim": Metric("SSIM", "", 3, True, "Structural similarity: 1 means identical local structure, 0 means none in common."),
    "mse": Metric("MSE", "", None, False, "Mean squared error."),
    "mae": Metric("MAE", "", None, False, "Mean absolute error."),
    "nmse": Metric("NMSE", "", None, False, "Squared error divided by the energy of the truth."),
    "lpips": Metric("LPIPS", "", 3, False, "Learned perceptual distance."),
    "loss": Metric("Loss", "", None, False, "The upper-level loss."),
    "accuracy": Metric("Accuracy", "", 3, True, "Part of the samples whose class is right."),
}  # fmt: skip


def metric(name: str) -> Metric:
    """How the metric of that name is shown."""
    return _METRICS.get(name.lower(), Metric(name))


def _scientific(mantissa: str, exponent: int, plain: bool) -> str:
    if plain:
        return f"{mantissa}e{exponent:+03d}"
    power = "10" + str(exponent).translate(_SUPERSCRIPT)
    sign = mantissa.removesuffix("1") if mantissa in ("1", f"{MINUS}1") else None
    return f"{mantissa} {TIMES} {power}" if sign is None else f"{sign}{power}"


def _minus(text: str, plain: bool) -> str:
    return text if plain else text.replace("-", MINUS)


def number(x: float | None, digits: int = 4, plain: bool = False) -> str:
    """``x`` with ``digits`` significant digits, scientific outside [1e-3, 1e5).

    Args:
        x: the number; None and NaN give a dash.
        digits: significant digits; trailing zeros are dropped.
        plain: ASCII only, as in 1.2e-05.
    """
    if x is None or math.isnan(x):
        return "-" if plain else DASH
    if math.isinf(x):
        return ("-" if x < 0 else "") + "inf" if plain else (MINUS if x < 0 else "") + "∞"
    if x == 0:
        return "0"
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -3 <= power < 5:
        text = f"{x:.{max(0, digits - 1 - power)}f}"
        return _minus(text.rstrip("0").rstrip(".") if "." in text else text, plain)
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return _scientific(_minus(mantissa, plain), power, plain)


def natural(value: float | Spread | None, digits: int = 4, plain: bool = False) -> str:
    """A parameter: a number, or the range and mean of its entries."""
    if isinstance(value, Spread) and value.minimum == value.maximum:
        return number(value.mean, digits, plain)
    if isinstance(value, Spread):
        dash = "-" if plain else DASH
        low, high, mean = (number(v, 3, plain) for v in (value.minimum, value.maximum, value.mean))
        return f"{low} {dash} {high} (mean {mean})"
    return number(value, digits, plain)


def interval(lower: float, upper: float, plain: bool = False) -> str:
    """[lower, upper], rounded outward, with as many digits as show two of its width (at most 8 in all)."""
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return f"[{number(lower, plain=plain)}, {number(upper, plain=plain)}]"
    exponent, decimals = _scale(lower, upper)
    low = _quantized(lower, exponent, decimals, ROUND_FLOOR)
    high = _quantized(upper, exponent, decimals, ROUND_CEILING)
    text = _minus(f"[{low}, {high}]", plain)
    return text if exponent == 0 else f"{text}{_times_power(exponent, plain)}"


def centre(bounded: Bounded, plain: bool = False) -> str:
    """The computed value with the digits of its interval."""
    if not math.isfinite(bounded.width) or not math.isfinite(bounded.value):
        return number(bounded.value, 5, plain)
    exponent, decimals = _scale(bounded.lower, bounded.upper)
    text = _minus(_quantized(bounded.value, exponent, decimals, ROUND_HALF_EVEN), plain)
    return text if exponent == 0 else f"{text}{_times_power(exponent, plain)}"


def _times_power(exponent: int, plain: bool) -> str:
    return f"e{exponent:+03d}" if plain else f" {TIMES} 10" + str(exponent).translate(_SUPERSCRIPT)


def _scale(lower: float, upper: float) -> tuple[int, int]:
    """Common power of ten (0 for everyday numbers) and decimals that show two digits of the width, 8 digits in all."""
    largest = max(abs(lower), abs(upper))
    magnitude = math.floor(math.log10(largest)) if largest > 0 else 0
    exponent = 0 if -3 <= magnitude < 5 else magnitude
    width = (upper - lower) / 10.0**exponent
    top = magnitude - exponent
    decimals = 1 - math.floor(math.log10(width)) if width > 0 else 7 - top
    return exponent, max(0, min(decimals, 7 - top))


def _quantized(x: float, exponent: int, decimals: int, rounding: str) -> str:
    return f"{Decimal(x).scaleb(-exponent).quantize(Decimal(1).scaleb(-decimals), rounding=rounding):f}"


def figure(name: str, value: float | None, plain: bool = False, unit: bool = False) -> str:
    """A metric's value with its own number of decimals, and its unit if asked."""
    shown = metric(name)
    if value is None or not math.isfinite(value) or shown.decimals is None:
        text = number(value, 4, plain)
    else:
        text = _minus(f"{value:.{shown.decimals}f}", plain)
    return f"{text} {shown.unit}" if unit and shown.unit else text


def statistic(name: str, value: Statistic | None, plain: bool = False) -> str:
    """Mean ± standard deviation over images; only the mean where there is no spread."""
    if value is None:
        return number(None, plain=plain)
    if not value.std > 0:
        return figure(name, value.mean, plain)
    sign = "+/-" if plain else "±"
    return f"{figure(name, value.mean, plain)} {sign} {figure(name, value.std, plain)}"


def signed(name: str, change: float, plain: bool = False) -> str:
    """A change of a metric with its sign and unit."""
    text = figure(name, change, plain, unit=True)
    return text if change < 0 else f"+{text}"


def percent(change: float, plain: bool = False) -> str:
    """A relative change, as in −23.4 %."""
    if not math.isfinite(change):
        return number(change, plain=plain)
    size = abs(100 * change)
    text = f"{size:.1f}" if size >= 0.1 or size == 0 else number(size, 2, plain)
    return f"{'+' if change > 0 else _minus('-', plain)}{text} %"


def duration(seconds: float) -> str:
    """A time span with the unit a person would use."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 0.1:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(n: float, plain: bool = False) -> str:
    """A whole number with thin spaces (plain: commas) between thousands."""
    text = f"{round(n):,}"
    return text if plain else text.replace(",", "\u2009")


def short_count(n: float) -> str:
    """A count with at most three or four digits, as in 1.23 M."""
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if n >= size:
            scaled = n / (1e3 if suffix == " k" else size)
            return f"{scaled:.3g}{suffix}"
    return f"{round(n)}"


_WEIGHTS = {"values": 0.5, "gradients": 1.0, "hessian_products": 1.0, "cross_products": 1.0, "direct_solves": 1.0}
"""Work of one application in gradients of the lower-level energy: a value needs A once, a gradient also its adjoint."""


def gradient_equivalents(cost: Mapping[str, int]) -> float:
    """All work in units of one lower-level gradient of one sample: values count half, everything else one."""
    return sum(_WEIGHTS.get(kind, 1.0) * n for kind, n in cost.items())


def gradient_weight(kind: str) -> float:
    """Weight of one application of ``kind`` in :func:`gradient_equivalents`."""
    return _WEIGHTS.get(kind, 1.0)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Last component of dotted names, where that is enough to tell them apart."""
    ends = [name.rsplit(".", 1)[-1] for name in names]
    return {name: end if ends.count(end) == 1 else name for name, end in zip(names, ends, strict=True)}
