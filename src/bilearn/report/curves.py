"""Charts of a run's course: objective with its band, parameters, accuracy asked and got."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from bilearn.report.charts import Axis, Band, Chart, Curve, Rule, axis_for, wants_log
from bilearn.report.digest import Digest
from bilearn.report.formatting import MINUS, centre, count, duration, gradient_equivalents, interval, number
from bilearn.report.gallery import switch
from bilearn.report.markup import Markup, tag
from bilearn.run_records import HistoryRow, ParameterRecord, Spread

MOST_PARAMETERS = 12
COST_LABEL = "lower-level gradients (or equivalent)"
PROGRESS: tuple[tuple[str, str, Callable[[HistoryRow], float]], ...] = (
    ("Cost", COST_LABEL, lambda row: gradient_equivalents(row.cost)),
    ("Time", "seconds", lambda row: row.seconds),
    ("Evaluations", "upper-level evaluation", lambda row: float(row.evaluation)),
)
_KINDS = {
    "value": "value",
    "hypergradient": "value and gradient",
    "gauss_newton": "value, gradient, Gauss-Newton matrix",
}


def best_so_far(rows: Sequence[HistoryRow]) -> np.ndarray:
    """Smallest objective seen up to each row."""
    return np.minimum.accumulate([row.objective.value for row in rows]) if rows else np.zeros(0)


def _tip(row: HistoryRow) -> str:
    bounded = row.objective
    band = f"in {interval(bounded.lower, bounded.upper)}" if math.isfinite(bounded.width) else "no bound known"
    proof = "certified" if bounded.certified else "not certified"
    lines = [
        f"evaluation {row.evaluation} ({_KINDS.get(row.kind, row.kind)}, {'accepted' if row.accepted else 'rejected'})",
        f"F = {centre(bounded)}, {band}, {proof}",
        f"{count(gradient_equivalents(row.cost))} gradients, {duration(row.seconds)}",
    ]
    return "\n".join(lines)


def objective_charts(run: Digest) -> Markup:
    """The objective with its band against cost, time and evaluations; the whole run and its last part."""
    finite = [row for row in run.whole if math.isfinite(row.objective.value)]
    if len(finite) < 2:
        return tag("p", "Too few evaluations were recorded to draw a curve.", class_="empty")
    tail = [row for row in finite if row.accepted] or finite
    tail = tail[len(tail) // 2 :]
    entries = []
    for title, label, progress in PROGRESS:
        views = [("Whole run", _objective_chart(finite, label, progress))]
        if len(tail) >= 3:
            views.append(("Last half, enlarged", _objective_chart(tail, label, progress)))
        entries.append((title, switch("part of the run", views)))
    charts = switch("horizontal axis", entries)
    left_out = len(run.record.history) - len(run.whole)
    if not left_out:
        return charts
    note = f"{count(left_out)} evaluations of minibatches are not drawn: their values are not those of the objective."
    return tag("div", charts, tag("p", note, class_="note"))


def _objective_chart(rows: Sequence[HistoryRow], label: str, progress: Callable[[HistoryRow], float]) -> Markup:
    accepted = [row for row in rows if row.accepted] or list(rows)
    rejected = [row for row in rows if not row.accepted]
    x = [progress(row) for row in accepted]
    values = [row.objective.value for row in accepted]
    lower, upper = [row.objective.lower for row in accepted], [row.objective.upper for row in accepted]
    extent = values + [v for v in lower + upper if math.isfinite(v)]
    log = wants_log(extent, 8.0)
    certified = all(row.objective.certified for row in accepted)
    best = best_so_far(accepted)
    chart = Chart(
        axis_for([progress(row) for row in rows], padding=0.02),
        axis_for(extent, log),
        label,
        "objective F",
        bands=[Band(x, lower, upper, "learned", "certified band" if certified else "band (not certified throughout)")]
        if any(math.isfinite(row.objective.width) for row in accepted) else [],
        curves=[
            Curve(
                [progress(row) for row in rejected], [row.objective.value for row in rejected], "noisy",
                "tried, not accepted" if rejected else "", [_tip(row) for row in rejected], line=False, dots=True,
                hollow=True,
            ),
            Curve(x, best, "learned", "best so far", step=False) if bool((best < np.asarray(values)).any())
            else Curve(x, values, "learned", "computed objective"),
            Curve(x, values, "learned", "", [_tip(row) for row in accepted], line=False, dots=len(accepted) <= 160),
        ],
        width=1090,
        height=340,
    )  # fmt: skip
    return chart.render()


def parameter_charts(run: Digest) -> list[Markup]:
    """One small chart for each of the first parameters over the accepted evaluations, with its bounds."""
    rows = [row for row in run.accepted if row.parameters]
    if len(rows) < 2:
        return []
    charts = [_parameter_chart(parameter, rows) for parameter in run.parameters[:MOST_PARAMETERS]]
    return [chart for chart in charts if chart is not None]


def _parameter_chart(parameter: ParameterRecord, rows: Sequence[HistoryRow]) -> Markup | None:
    kept = [(float(row.evaluation), row.parameters[parameter.name]) for row in rows if parameter.name in row.parameters]
    if not kept:
        return None
    x = [evaluation for evaluation, _ in kept]
    spreads = [v if isinstance(v, Spread) else Spread(v, v, v) for _, v in kept]
    low, mean, high = ([getattr(s, k) for s in spreads] for k in ("minimum", "mean", "maximum"))
    log = min(low) > 0 and (parameter.coordinate == "log10" or wants_log(low + high, 100.0))
    axis = _with_near_bounds(axis_for(low + high, log, padding=0.12), parameter)
    many = any(isinstance(v, Spread) for _, v in kept)
    tips = [f"evaluation {int(a)}: {number(m)}" for a, m in zip(x, mean, strict=True)]
    chart = Chart(
        axis_for(x, padding=0.02), axis, "evaluation", "",
        bands=[Band(x, low, high, "learned", "smallest to largest entry")] if many else [],
        rules=[Rule(b, "bound", f"{side} bound {number(b)}") for b, side in
               ((parameter.lower_bound, "lower"), (parameter.upper_bound, "upper")) if math.isfinite(b)],
        curves=[Curve(x, mean, "learned", "mean" if many else "", tips, dots=len(x) <= 40)],
        width=380, height=220, description=f"{parameter.name} over the run",
    )  # fmt: skip
    caption = tag("figcaption", tag("b", parameter.name), tag("span", "log scale") if log else None)
    return tag("figure", caption, chart.render(), class_="small")


def _with_near_bounds(axis: Axis, parameter: ParameterRecord) -> Axis:
    """The axis, stretched to show a bound that lies close to it."""
    ends = [axis.low, axis.high]
    for bound in (parameter.lower_bound, parameter.upper_bound):
        if math.isfinite(bound) and not (axis.log and bound <= 0):
            place = float(axis.position(np.asarray(bound)))
            if -0.6 <= place <= 1.6:
                ends.append(bound)
    low, high = min(ends), max(ends)
    if (low, high) == (axis.low, axis.high):
        return axis
    return axis_for([low, high], axis.log, padding=0.05)


def accuracy_charts(run: Digest) -> Markup | None:
    """Accuracy asked for and got, of the objective and of its gradient."""
    charts = [chart for chart in (_value_accuracy(run), _gradient_accuracy(run)) if chart is not None]
    return tag("div", charts, class_="two") if charts else None


def _accuracy_chart(title: str, curves: list[Curve], unbounded: int) -> Markup | None:
    values = [y for curve in curves for y in curve.y if math.isfinite(y) and y > 0]
    if not values:
        return None
    everything = [x for curve in curves for x in curve.x]
    chart = Chart(
        axis_for(everything, padding=0.02), axis_for(values, log=True), "evaluation", "", curves=curves,
        description=title,
    )  # fmt: skip
    note = f"{count(unbounded)} evaluations have no finite bound and are left out." if unbounded else ""
    return tag(
        "figure",
        tag("figcaption", tag("b", title), tag("span", "log scale")),
        chart.render(),
        tag("p", note, class_="note"),
        class_="small",
    )


def _claim(rows: Sequence[HistoryRow]) -> str:
    """What the bounds of these rows are: proved only where every constant behind every one of them was declared."""
    return "proved bound" if all(row.objective.certified for row in rows) else "estimated bound, not certified"


def _sign(rows: Sequence[HistoryRow]) -> str:
    return "≤" if all(row.objective.certified for row in rows) else "≈"


def _value_accuracy(run: Digest) -> Markup | None:
    rows = run.whole
    asked = [row for row in rows if row.kind == "value" and row.accuracy is not None]
    got = [row for row in rows if math.isfinite(row.objective.width)]
    sign = _sign(got)
    tips = [
        f"evaluation {row.evaluation}: |F {MINUS} computed F| {sign} {number(row.objective.bound, 3)}" for row in got
    ]
    curves = [
        Curve([row.evaluation for row in asked], [row.accuracy or 0.0 for row in asked], "default", "asked",
              line=False, dots=True, hollow=True) if asked else None,
        Curve([row.evaluation for row in got], [row.objective.bound for row in got], "learned", _claim(got),
              tips, dots=len(got) <= 80) if got else None,
    ]  # fmt: skip
    return _accuracy_chart("Objective: error asked for and got", [c for c in curves if c], len(rows) - len(got))


def _gradient_accuracy(run: Digest) -> Markup | None:
    rows = [row for row in run.record.history if row.gradient_norm is not None]
    asked = [row for row in rows if row.accuracy is not None and row.kind != "value"]
    got = [row for row in rows if row.gradient_bound is not None and math.isfinite(row.gradient_bound)]
    if not rows:
        return None
    sign = _sign(got)
    curves = [
        Curve([row.evaluation for row in rows], [row.gradient_norm or 0.0 for row in rows], "noisy", "gradient norm"),
        Curve([row.evaluation for row in asked], [row.accuracy or 0.0 for row in asked], "default", "error asked",
              line=False, dots=True, hollow=True) if asked else None,
        Curve([row.evaluation for row in got], [row.gradient_bound or 0.0 for row in got], "learned", _claim(got),
              [f"evaluation {row.evaluation}: gradient error {sign} {number(row.gradient_bound, 3)}" for row in got],
              dots=len(got) <= 80) if got else None,
    ]  # fmt: skip
    title = "Gradient: error asked for and got"
    if any(row.minibatch is not None for row in rows):
        title += " (of minibatches)"
    return _accuracy_chart(title, [c for c in curves if c], len(rows) - len(got))
