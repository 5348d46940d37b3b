"""What a run leaves behind, as frozen values: the content of the files of a run directory.

Every ``from_json`` accepts what the matching file holds, with optional entries left out, and names the entry that is
missing or malformed. JSON has no infinity, so non-finite numbers are stored as the strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

STAGES = ("noisy", "default", "learned")
"""The three reconstructions every metric is reported for: the data itself, the start parameters, the learned ones."""


def encode(value: Any, where: str = "record") -> Any:
    """``value`` as strict JSON: non-finite floats become strings, NumPy scalars and arrays become numbers and lists.

    Raises:
        TypeError: if something cannot be stored; the message names where it sits.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, np.generic):
        return encode(value.item(), where)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k): encode(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return encode(value.tolist(), where)
    if isinstance(value, Sequence):
        return [encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise TypeError(
        f"{where}: found {type(value).__name__}, expected numbers, strings, lists, mappings or None; convert it first"
    )


def _number(entry: Mapping[str, Any], key: str, default: float | None = None, where: str = "record") -> float:
    """``entry[key]`` as a float; ``default`` where it is absent or null."""
    found = entry.get(key)
    if found is None:
        if default is None:
            raise ValueError(f"{where}: '{key}' is missing, expected a number")
        return default
    try:
        return float(found)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: found '{key}' = {found!r}, expected a number") from None


@dataclass(frozen=True)
class Spread:
    """Smallest, largest and mean entry of a parameter with many entries."""

    minimum: float
    maximum: float
    mean: float

    @staticmethod
    def from_json(entry: Any, where: str = "parameter") -> float | Spread:
        """A number, or a spread written as {"min", "max", "mean"}."""
        if isinstance(entry, Mapping):
            return Spread(*(_number(entry, key, where=where) for key in ("min", "max", "mean")))
        return _number({"value": entry}, "value", where=where)


@dataclass(frozen=True)
class Bounded:
    """A computed objective and the interval that contains the exact one.

    Attributes:
        value: computed F.
        lower, upper: interval; infinite where nothing is known.
        certified: whether every constant behind the interval was declared.
    """

    value: float
    lower: float
    upper: float
    certified: bool

    @property
    def width(self) -> float:
        """Length of the interval."""
        return self.upper - self.lower

    @property
    def bound(self) -> float:
        """Bound on |value - F|."""
        return max(self.upper - self.value, self.value - self.lower)

    @staticmethod
    def from_json(entry: Mapping[str, Any], where: str) -> Bounded:
        """Read {"value", "lower", "upper", "certified"}; absent bounds are infinite."""
        return Bounded(
            _number(entry, "value", where=where),
            _number(entry, "lower", -math.inf, where),
            _number(entry, "upper", math.inf, where),
            bool(entry.get("certified", False)),
        )


@dataclass(frozen=True)
class HistoryRow:
    """One upper-level evaluation.

    Attributes:
        evaluation, iteration: counters of oracle calls and of upper-level steps.
        kind: "value", "hypergradient" or "gauss_newton".
        accepted: whether the upper-level method moved there.
        objective: value of F, its interval, and whether that is certified.
        gradient_norm, gradient_bound: 2-norm of the hypergradient and bound on its error; None for values.
        accuracy: accuracy asked for (of F for values, of the gradient otherwise); None where it was left to the oracle, or
            where no accuracy was enforced. The accuracy got is the bound; ``message`` says so where that is larger.
        lower_error: largest lower-level distance bound.
        message: what did not reach its accuracy, else empty.
        parameters: natural value of each parameter, a :class:`Spread` where it has many entries.
        cost: work since the start of the run, by kind.
        seconds: time since the start of the run.
        validation: validation figures such as "loss" and "psnr"; empty where not evaluated.
        minibatch: number of samples where ``objective`` and gradient are those of a minibatch, None where they are F's.
    """

    evaluation: int
    iteration: int
    kind: str
    accepted: bool
    objective: Bounded
    gradient_norm: float | None
    gradient_bound: float | None
    accuracy: float | None
    lower_error: float
    message: str
    parameters: dict[str, float | Spread]
    cost: dict[str, int]
    seconds: float
    validation: dict[str, float]
    minibatch: int | None = None

    @staticmethod
    def from_json(entry: Mapping[str, Any], where: str = "history row") -> HistoryRow:
        """Read one line of ``history.jsonl``.

        Raises:
            ValueError: if "evaluation", "value" or a number is missing or malformed.
        """

        def optional(key: str) -> float | None:
            return None if entry.get(key) is None else _number(entry, key, where=where)

        return HistoryRow(
            evaluation=int(_number(entry, "evaluation", where=where)),
            iteration=int(_number(entry, "iteration", 0.0, where)),
            kind=str(entry.get("kind", "value")),
            accepted=bool(entry.get("accepted", True)),
            objective=Bounded.from_json(entry, where),
            gradient_norm=optional("gradient_norm"),
            gradient_bound=optional("gradient_bound"),
            accuracy=optional("accuracy"),
            lower_error=_number(entry, "lower_error", math.inf, where),
            message=str(entry.get("message") or ""),
            parameters={
                str(k): Spread.from_json(v, f"{where}, parameter {k}")
                for k, v in (entry.get("parameters") or {}).items()
            },
            cost={str(k): int(v) for k, v in (entry.get("cost") or {}).items()},
            seconds=_number(entry, "seconds", 0.0, where),
            validation={
                str(k): _number({k: v}, k, where=where)
                for k, v in (entry.get("validation") or {}).items()
                if v is not None
            },
            minibatch=None if entry.get("minibatch") is None else int(_number(entry, "minibatch", where=where)),
        )


@dataclass(frozen=True)
class ParameterRecord:
    """A learned parameter: natural values, bounds, and whether it ended on one.

    Attributes:
        name: its name.
        value, start: learned and first value; None where unknown.
        lower_bound, upper_bound: bounds of the natural value.
        coordinate: "identity", "log10" or "logit".
        entries: number of scalars.
        at_lower, at_upper: how many of them lie on a bound.
    """

    name: str
    value: float | Spread | None
    start: float | Spread | None
    lower_bound: float = -math.inf
    upper_bound: float = math.inf
    coordinate: str = "identity"
    entries: int = 1
    at_lower: int = 0
    at_upper: int = 0

    @staticmethod
    def from_json(name: str, entry: Mapping[str, Any]) -> ParameterRecord:
        """Read one entry of "parameters" in ``summary.json``.

        "at_bound" is null, "lower", "upper", or for a parameter with many "entries" the counts {"lower", "upper"}.
        """
        where = f"summary.json, parameter {name}"
        at = entry.get("at_bound")
        entries = int(_number(entry, "entries", 1.0, where))
        counts = (
            (int(at.get("lower", 0)), int(at.get("upper", 0)))
            if isinstance(at, Mapping)
            else (int(at == "lower"), int(at == "upper"))
        )

        def optional(key: str) -> float | Spread | None:
            return None if entry.get(key) is None else Spread.from_json(entry[key], where)

        return ParameterRecord(
            name,
            optional("value"),
            optional("start"),
            _number(entry, "lower_bound", -math.inf, where),
            _number(entry, "upper_bound", math.inf, where),
            str(entry.get("coordinate") or "identity").lower(),
            entries,
            *counts,
        )


@dataclass(frozen=True)
class Statistic:
    """Mean and standard deviation over images."""

    mean: float
    std: float


@dataclass(frozen=True)
class Summary:
    """How a run ended (``summary.json``).

    Attributes:
        name: name of the run.
        status: why the upper level ended, one sentence.
        outcome: name of the matching :class:`~bilearn.upper.optimizer.UpperStatus`; empty where not recorded.
        solver, solver_reason: lower-level method, and why it was picked.
        optimizer: upper-level method.
        start, final: objective at the first and at the returned parameters; None where unknown.
        parameters: the learned parameters.
        samples: what metrics are means over: "images" or "samples".
        metrics: split -> stage ("noisy", "default", "learned") -> metric ("psnr", "ssim", ...) -> statistic.
        cost: work by kind, per sample.
        seconds: wall-clock time.
        library_version: version of bilearn that ran.
        warnings: sentences the run itself wants its reader to see.
    """

    name: str
    status: str = ""
    outcome: str = ""
    solver: str = ""
    solver_reason: str = ""
    optimizer: str = ""
    start: Bounded | None = None
    final: Bounded | None = None
    parameters: tuple[ParameterRecord, ...] = ()
    samples: str = "images"
    metrics: dict[str, dict[str, dict[str, Statistic]]] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    seconds: float = math.nan
    library_version: str = ""
    warnings: tuple[str, ...] = ()

    @staticmethod
    def from_json(entry: Mapping[str, Any], name: str) -> Summary:
        """Read ``summary.json``; ``name`` is used where the file has none. "solver" is a name or {"name", "reason"}."""
        solver = entry.get("solver") or ""
        if not isinstance(solver, Mapping):
            solver = {"name": solver, "reason": entry.get("solver_reason") or ""}

        def bounded(key: str) -> Bounded | None:
            return Bounded.from_json(entry[key], f"summary.json, {key}") if entry.get(key) else None

        return Summary(
            name=str(entry.get("name") or name),
            status=str(entry.get("status") or ""),
            outcome=str(entry.get("outcome") or ""),
            solver=str(solver.get("name") or ""),
            solver_reason=str(solver.get("reason") or ""),
            optimizer=str(entry.get("optimizer") or ""),
            start=bounded("start"),
            final=bounded("final"),
            parameters=tuple(ParameterRecord.from_json(str(k), v) for k, v in (entry.get("parameters") or {}).items()),
            samples=str(entry.get("samples") or "images"),
            metrics={
                str(split): {
                    str(stage): {
                        str(metric): Statistic(
                            _number(numbers, "mean", math.nan, f"summary.json, metrics.{split}.{stage}.{metric}"),
                            _number(numbers, "std", math.nan, f"summary.json, metrics.{split}.{stage}.{metric}"),
                        )
                        for metric, numbers in metrics.items()
                    }
                    for stage, metrics in stages.items()
                    if metrics
                }
                for split, stages in (entry.get("metrics") or {}).items()
            },
            cost={str(k): int(v) for k, v in (entry.get("cost") or {}).items()},
            seconds=_number(entry, "seconds", math.nan, "summary.json"),
            library_version=str(entry.get("library_version") or ""),
            warnings=tuple(str(w) for w in entry.get("warnings") or ()),
        )


@dataclass(frozen=True)
class ImageRow:
    """Figures of one image (a row of ``metrics.json``): ``figures[metric][stage]``."""

    split: str
    index: int
    name: str
    figures: dict[str, dict[str, float]]

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> ImageRow:
        """Read one row; every entry that is a mapping is a metric by stage."""
        where = f"metrics.json, row {entry.get('index', '?')}"
        return ImageRow(
            str(entry.get("split", "test")),
            int(_number(entry, "index", where=where)),
            str(entry.get("name") or f"image {entry.get('index')}"),
            {
                str(metric): {str(s): _number(stages, s, math.nan, where) for s in stages}
                for metric, stages in entry.items()
                if isinstance(stages, Mapping)
            },
        )


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one test image, as stored in ``images.npz``.

    Attributes:
        truth: (H, W) gray, (C, H, W) with C channels, or (N,) signal.
        data: the measurement, possibly of another shape (a sinogram); None where not stored.
        default, learned: reconstructions with the start and with the learned parameters.
        adjoint: adjoint of the operator applied to the data, for display where data and truth differ in shape.
    """

    truth: np.ndarray
    data: np.ndarray | None = None
    default: np.ndarray | None = None
    learned: np.ndarray | None = None
    adjoint: np.ndarray | None = None


@dataclass(frozen=True)
class FilterRecord:
    """Filters of one stage and functions of their responses, as stored in ``images.npz``.

    Attributes:
        taps: (F, k, k) filters.
        strength: (F,) what each contributes to the regularizer on test images.
        responses: (T,) responses of the filters scaled to norm 1.
        values, slopes: (F, T) the functions there, zero at zero, and their derivatives.
    """

    taps: np.ndarray
    strength: np.ndarray
    responses: np.ndarray
    values: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True)
class RunRecord:
    """Everything a run directory holds.

    Attributes:
        path: the run directory.
        config: text of ``config.toml``, empty where missing.
        environment: content of ``environment.json``.
        history: upper-level evaluations in order.
        summary: how the run ended; None for a run that did not finish.
        metrics: figures per image.
        images: pictures of some test images.
        maps: learned parameters with many entries, as arrays, by name.
        filters: filters by stage ("default", "learned"); empty for other regularizers.
        model: content of ``model.json``, empty where missing.
        missing: names of the files that are not there.
    """

    path: Path
    config: str
    environment: dict[str, Any]
    history: tuple[HistoryRow, ...]
    summary: Summary | None
    metrics: tuple[ImageRow, ...]
    images: tuple[ImageSet, ...]
    maps: dict[str, np.ndarray]
    filters: dict[str, FilterRecord]
    model: dict[str, Any]
    missing: tuple[str, ...]
