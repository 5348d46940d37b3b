"""Figures and tables of ``denoise-1d``, from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bilearn.experiments.contents import Content, Figure, Panel, Section, Table
from bilearn.experiments.records import Results, column, numbers, unpacked
from bilearn.report.charts import Band, Chart, Curve, Rule, axis_for
from bilearn.report.formatting import number, short_count

_TITLES = {"one": "One parameter", "three": "Three parameters"}
_NAMES = {"one": ("alpha",), "three": ("alpha", "xi", "nu")}
_GAPS = (0.05, 0.01, 0.001)
_FLOOR = 1e-12
"""Relative gaps below this are drawn there: the known optimum has about so many digits."""
_AFTER = (1, 12, 20, 60)
"""Evaluations after which reconstructions are shown; a method that evaluates several points at once shows the first."""
_SIGNAL_AXIS = axis_for([-0.3, 1.3], padding=0)


def sections(results: Results) -> Sequence[Section]:
    """Everything that the records allow."""
    return [
        Section(
            "cost",
            "Objective against cost",
            "Exact objective, re-solved to 1e-10 of itself at the best parameters so far, relative to the best known "
            "value; work in lower-level gradients summed over the signals. The same method runs with the accuracy it asks "
            "for and with fixed numbers of steps, of which one cannot know beforehand which is too low and which wasteful.",
            _cost(results),
        ),
        Section(
            "reconstructions",
            "Reconstruction after N evaluations",
            "The first signal as the run with dynamic accuracy had computed it at its best parameters so far. The band is "
            "what the certificate proves: the exact reconstruction lies inside in every pixel.",
            _reconstructions(results),
        ),
        Section(
            "accuracy",
            "Accuracy asked and got",
            "The method decides how accurate every value must be. Rings are the error of F it asked for, dots the bound it "
            "got; the computed values take as many gradients as that needs.",
            _accuracy(results),
        ),
        Section(
            "starts",
            "Many starts",
            "What is learned from different starts within the limit on evaluations, with sufficient and with too low accuracy.",
            _starts(results),
        ),
    ]


def label(method: str) -> str:
    """A method's key in words."""
    if method == "default":
        return "default methods"
    accuracy, solver = method.split("-")
    solver = {"fista": "FISTA", "gd": "gradient descent"}[solver]
    return f"dynamic, {solver}" if accuracy == "dynamic" else f"{accuracy.removeprefix('fixed')} steps, {solver}"


def style(method: str, methods: Sequence[str]) -> str:
    """Color of a method: the same for dynamic, default, and each fixed count, whatever the solver."""
    if method == "default":
        return "run-3"
    kinds = list(dict.fromkeys(m.split("-")[0] for m in methods if m.startswith("fixed")))
    kind = method.split("-")[0]
    return "run-1" if kind == "dynamic" else ("run-2", "run-4", "run-5", "run-6")[kinds.index(kind) % 4]


def gaps(record: Mapping[str, Any]) -> np.ndarray:
    """Exact objective above the best known value, relative, after every step."""
    optimum = float(record["optimum"])
    return np.maximum(column(record["steps"], "exact") / optimum - 1.0, _FLOOR)


def _cost(results: Results) -> list[Content]:
    contents: list[Content] = []
    for problem, title in _TITLES.items():
        runs = results.below("run", problem)
        panels = [
            _gap_panel(f"{title}, {name}", {m: r for m, r in runs.items() if m == "default" or m.endswith(solver)})
            for solver, name in (("fista", "FISTA"), ("gd", "gradient descent"))
            if any(m.endswith(solver) for m in runs)
        ]
        if "dynamic-fista" in runs:
            panels.append(_band_panel(f"{title}, dynamic, FISTA: certified band", runs["dynamic-fista"]))
        if panels:
            contents += [Figure(f"cost-{problem}", panels), _cost_table(title, runs)]
    return contents


def _gap_panel(title: str, runs: Mapping[str, Mapping[str, Any]]) -> Panel:
    curves = [
        Curve(column(r["steps"], "work"), gaps(r), style(m, list(runs)), label(m), dots=len(r["steps"]) < 3)
        for m, r in runs.items()
    ]
    x = np.concatenate([c.x for c in curves])
    y = np.concatenate([c.y for c in curves])
    axes = axis_for(x, log=True), axis_for(np.maximum(y, 1e-6), log=True)
    return Panel(title, Chart(*axes, "lower-level gradients", "exact F / best known - 1", curves=curves))


def _band_panel(title: str, record: Mapping[str, Any]) -> Panel:
    steps = record["steps"]
    x, lower, upper, exact = (column(steps, key) for key in ("work", "lower", "upper", "exact"))
    shown = [v for v in (*np.maximum(lower, exact / 3), *np.minimum(upper, 10 * exact)) if np.isfinite(v) and v > 0]
    chart = Chart(
        axis_for(x, log=True), axis_for(shown, log=True), "lower-level gradients", "F",
        bands=[Band(x, np.maximum(lower, 1e-12), upper, "run-1", "certified interval")],
        curves=[
            Curve(x, column(steps, "value"), "run-1", "computed"),
            Curve(x, exact, "truth", "exact"),
        ],
    )  # fmt: skip
    return Panel(title, chart)


def _cost_table(title: str, runs: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for method, record in runs.items():
        last, gap = record["steps"][-1], gaps(record)
        reached = [
            next((s["work"] for s, g in zip(record["steps"], gap, strict=True) if g <= goal), None) for goal in _GAPS
        ]
        rows.append(
            [
                label(method),
                *("never" if w is None else short_count(w) for w in reached),
                str(len(record["evaluations"])),
                short_count(last["work"]),
                f"{last['seconds']:.2f}",
                f"{last['exact']:.9g}",
                number(max(last["exact"] / record["optimum"] - 1.0, 0.0), 2, plain=True),
                record["status"],
            ]
        )
    head = [
        "method", *(f"gradients to {100 * g:g} %" for g in _GAPS), "evaluations", "gradients", "CPU s", "exact F", "above best",
        "ended because",
    ]  # fmt: skip
    optimum = next(iter(runs.values()))["optimum"]
    note = f"Best known value {optimum:.12g}. Gradients include every certificate; values count half, products one."
    return Table(f"{title}: work to reach the best known value", head, rows, note)


def _reconstructions(results: Results) -> list[Content]:
    contents: list[Content] = []
    for problem, title in _TITLES.items():
        record = results.below("run", problem).get("dynamic-fista")
        if record is None:
            continue
        panels, seen = [], set()
        for wanted in _AFTER:
            step = [s for s in record["steps"] if s["evaluations"] <= wanted] or record["steps"][:1]
            if step[-1]["evaluations"] in seen:
                continue
            seen.add(step[-1]["evaluations"])
            panels.append(_signal_panel(title, record, step[-1]))
        contents.append(Figure(f"reconstructions-{problem}", panels, columns=2))
    return contents


def _signal_panel(title: str, record: Mapping[str, Any], step: Mapping[str, Any]) -> Panel:
    rows = [r for r in record["evaluations"][: step["evaluations"]] if r["theta"] == step["theta"]]
    row = rows[-1]
    truth, noisy, x = numbers(record["truth"]), numbers(record["noisy"]), unpacked(row["signal"])
    radius, pixel = float(row["radius"]), np.arange(truth.size)
    n = step["evaluations"]
    chart = Chart(
        axis_for(pixel, padding=0.01), _SIGNAL_AXIS, "pixel", "signal",
        bands=[Band(pixel, x - radius, x + radius, "run-1", f"certified, radius {number(radius, 2)}")],
        curves=[
            Curve(pixel, noisy, "noisy", "data"), Curve(pixel, truth, "truth", "truth"),
            Curve(pixel, x, "run-1", "reconstruction"),
        ],
    )  # fmt: skip
    return Panel(f"{title}, N = {n}, exact F = {number(float(step['exact']), 4)}", chart)


def _accuracy(results: Results) -> list[Content]:
    panels = []
    for problem, title in _TITLES.items():
        runs = results.below("run", problem)
        dynamic = runs.get("dynamic-fista")
        if dynamic is None:
            continue
        rows = dynamic["evaluations"]
        count = np.arange(1, len(rows) + 1)
        asked = numbers([np.nan if r["asked"] is None else r["asked"] for r in rows])
        got = column(rows, "got")
        curves = [
            Curve(count, asked, "run-1", "asked", line=False, dots=True, hollow=True),
            Curve(count, got, "run-1", "got, dynamic", dots=True),
        ]
        for method, record in runs.items():
            if method.startswith("fixed") and method.endswith("fista"):
                bound = column(record["evaluations"], "got")
                curves.append(
                    Curve(np.arange(1, bound.size + 1), bound, style(method, list(runs)), f"got, {label(method)}")
                )
        shown = np.concatenate([np.asarray(c.y) for c in curves])
        chart = Chart(axis_for([1, max(np.max(c.x) for c in curves)]), axis_for(shown, log=True), "evaluation", "error of F",
                      curves=curves)  # fmt: skip
        panels.append(Panel(f"{title}: accuracy of F", chart))
        panels.append(_work_panel(title, runs))
    return [Figure("accuracy", panels, columns=2)] if panels else []


def _work_panel(title: str, runs: Mapping[str, Mapping[str, Any]]) -> Panel:
    curves = []
    for method, record in runs.items():
        if method.endswith("fista"):
            work = np.diff(column(record["evaluations"], "work"), prepend=0.0)
            x = np.arange(1, work.size + 1)
            curves.append(Curve(x, np.maximum(work, 1.0), style(method, list(runs)), label(method), step=True))
    x = [1, max(np.max(c.x) for c in curves)]
    y = np.concatenate([c.y for c in curves])
    chart = Chart(axis_for(x), axis_for(y, log=True), "evaluation", "gradients of this evaluation", curves=curves)
    return Panel(f"{title}: work of every evaluation", chart)


def _starts(results: Results) -> list[Content]:
    contents: list[Content] = []
    for problem, title in _TITLES.items():
        by_method: dict[str, list[Mapping[str, Any]]] = {}
        for key, record in results.below("start", problem).items():
            by_method.setdefault(key.rsplit("/", 1)[0], []).append(record)
        if not by_method:
            continue
        panels = [_landscape_panel(results, by_method)] if problem == "one" and "landscape" in results.parts else []
        panels += [_parameter_panel(k, name, by_method) for k, name in enumerate(_NAMES[problem])]
        panels.append(_interval_panel(title, by_method))
        if "dynamic-fista" in by_method:
            panels.append(_spread_panel(results, problem, by_method))
        contents += [Figure(f"starts-{problem}", panels, columns=2), _starts_table(problem, by_method)]
    return contents


def _landscape_panel(results: Results, by_method: Mapping[str, Sequence[Mapping[str, Any]]]) -> Panel:
    rows = results.parts["landscape"]["rows"]
    x, lower, upper, exact = (column(rows, key) for key in ("theta", "lower", "upper", "exact"))
    share = 100 * float(results.parts["landscape"]["accuracy"])
    curves = [Curve(x, exact, "truth", "exact F")]
    for method, records in by_method.items():
        at = [float(r["theta"][0]) for r in records]
        curves.append(Curve(at, column(records, "exact"), style(method, list(by_method)), f"learned, {label(method)}",
                            line=False, dots=True))  # fmt: skip
    chart = Chart(
        axis_for(x, padding=0.01), axis_for(exact, log=True), "log10 alpha", "F",
        bands=[Band(x, np.maximum(lower, 1e-12), upper, "noisy", f"certified by solves to {share:g} %")], curves=curves,
    )  # fmt: skip
    return Panel("One parameter: objective, and what was learned from every start", chart)


def _parameter_panel(k: int, name: str, by_method: Mapping[str, Sequence[Mapping[str, Any]]]) -> Panel:
    curves = []
    for method, records in by_method.items():
        start, learned = (numbers([r[key][k] for r in records]) for key in ("start", "theta"))
        color, hollow = style(method, list(by_method)), method == "default"
        curves.append(Curve(start, learned, color, label(method), line=False, dots=True, hollow=hollow))
    x, y = (np.concatenate([np.asarray(getattr(c, a)) for c in curves]) for a in ("x", "y"))
    best = float(next(iter(by_method.values()))[0]["minimizer"][k])
    chart = Chart(
        axis_for(x), axis_for([*y, best]), f"start, log10 {name}", f"learned, log10 {name}",
        rules=[Rule(best, "truth", "best known")], curves=curves,
    )  # fmt: skip
    return Panel(f"Learned {name} against its start", chart)


def _interval_panel(title: str, by_method: Mapping[str, Sequence[Mapping[str, Any]]]) -> Panel:
    """Exact F at what was learned from every start, and the certified interval of the methods that have one, as boxes."""
    curves, bands = [], []
    optimum = float(next(iter(by_method.values()))[0]["optimum"])
    for method, records in by_method.items():
        color = style(method, list(by_method))
        if not method.startswith("fixed"):
            lower, upper = (column(records, key) / optimum for key in ("lower", "upper"))
            for k, (low, high) in enumerate(zip(lower, upper, strict=True)):
                text = f"certified, {label(method)}" if k == 0 else ""
                bands.append(Band([k + 0.7, k + 1.3], [max(low, 0.5)] * 2, [min(high, 2.0)] * 2, color, text))
        exact = column(records, "exact") / optimum
        curves.append(
            Curve(np.arange(1, exact.size + 1), exact, color, f"exact, {label(method)}", line=False, dots=True)
        )
    values = np.concatenate([np.asarray(c.y) for c in curves] + [np.asarray([*b.lower, *b.upper]) for b in bands])
    chart = Chart(
        axis_for([0.5, max(np.max(c.x) for c in curves) + 0.5]), axis_for(values, log=bool(values.max() > 3.0)), "start",
        "F / best known", bands=bands, curves=curves,
    )  # fmt: skip
    return Panel(f"{title}: objective at what was learned", chart)


def _spread_panel(results: Results, problem: str, by_method: Mapping[str, Sequence[Mapping[str, Any]]]) -> Panel:
    curves, bands = [], []
    for method, records in reversed(list(by_method.items())):
        if method == "default":
            continue
        x = np.stack([unpacked(r["signal"]) for r in records])
        radius = column(records, "radius")[:, None]
        pixel, color = np.arange(x.shape[1]), style(method, list(by_method))
        if method == "dynamic-fista":
            bands.append(Band(pixel, (x - radius).min(0), (x + radius).max(0), color, "certified, all starts"))
        curves += [Curve(pixel, one, color, label(method) if k == 0 else "") for k, one in enumerate(x[:5])]
    truth = results.below("run", problem).get("dynamic-fista", {}).get("truth")
    if truth is not None:
        curves.append(Curve(np.arange(len(truth)), numbers(truth), "truth", "truth"))
    chart = Chart(axis_for(curves[0].x, padding=0.01), _SIGNAL_AXIS, "pixel", "signal", bands=bands, curves=curves)
    return Panel("First signal, reconstructed with what was learned", chart)


def _starts_table(problem: str, by_method: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    rows = []
    for method, records in by_method.items():
        theta = numbers([r["theta"] for r in records])
        gap = np.maximum(column(records, "exact") / column(records, "optimum") - 1.0, 0.0)
        width = (column(records, "upper") - column(records, "lower")) / column(records, "optimum")
        learned = [
            f"{m:.4f} [{a:.4f}, {b:.4f}]"
            for m, a, b in zip(np.median(theta, 0), theta.min(0), theta.max(0), strict=True)
        ]
        within = sum(
            bool(
                float(r["lower"]) <= r["exact"] + r["exact_bound"]
                and r["exact"] - r["exact_bound"] <= float(r["upper"])
            )
            for r in records
        )
        rows.append(
            [
                label(method), *learned, number(float(np.median(gap)), 2, plain=True), number(float(gap.max()), 2, plain=True),
                number(float(np.median(width)), 2, plain=True), f"{within} of {len(records)}",
                short_count(float(np.median(column(records, "work")))),
                f"{float(np.median(column(records, 'evaluations'))):g}",
            ]
        )  # fmt: skip
    head = [
        "method", *(f"log10 {n}: median [range]" for n in _NAMES[problem]), "above best, median", "worst",
        "certified width / best", "exact F inside", "gradients", "evaluations",
    ]  # fmt: skip
    n = len(next(iter(by_method.values())))
    return Table(
        f"{_TITLES[problem]}: {n} starts",
        head,
        rows,
        "Medians over the starts. Exact F is re-solved to 1e-10 of itself.",
    )


def _contains(record: Mapping[str, Any]) -> bool:
    """Whether the certified interval contains the exact value, within what is known of that."""
    exact, bound = float(record["exact"]), float(record["exact_bound"])
    return float(record["lower"]) <= exact + bound and exact - bound <= float(record["upper"])
