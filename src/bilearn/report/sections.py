"""The sections of a report, each a function from a digest to markup."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bilearn.report.curves import MOST_PARAMETERS, accuracy_charts, objective_charts, parameter_charts
from bilearn.report.digest import STAGE_TITLES, Digest, findings
from bilearn.report.formatting import (
    TIMES,
    count,
    duration,
    figure,
    gradient_equivalents,
    gradient_weight,
    metric,
    natural,
    number,
    short_names,
)
from bilearn.report.gallery import Column, panel, switch, thumbnail
from bilearn.report.markup import Markup, hint, join, section, table, tag
from bilearn.report.pictures import Window, displayable, gradient_style, heat_map
from bilearn.run_records import STAGES, ParameterRecord, Spread

_COSTS = {
    "values": ("Objective values", "values h(x) of the lower-level energy"),
    "gradients": ("Gradients", "gradients of the lower-level energy: the unit of cost"),
    "hessian_products": ("Hessian products", "Hessian-vector products, for Newton steps and adjoint solves"),
    "direct_solves": ("Direct solves", "factorized or diagonalized linear solves"),
    "cross_products": ("Cross products", "products with the mixed derivative in x and the parameters"),
}

_GAUGE = (
    "Ring: start. Dot: learned value. Bar: range of the entries. Logarithmic where the parameter is optimized as its "
    "logarithm."
)


def warnings(run: Digest, level: str) -> Markup | None:
    """Findings of one level as callouts."""
    found = [f for f in findings(run) if f.level == level]
    if not found:
        return None
    return tag(
        "div",
        [tag("div", tag("b", f.title), tag("p", f.text), class_=f"finding level-{f.level}") for f in found],
        class_="findings",
    )


def pictures(run: Digest) -> Markup:
    """Gallery of test images."""
    names = {row.index: row for row in run.record.metrics if row.split == run.split}
    entries = []
    for i, image in enumerate(run.record.images):
        row = names.get(i)
        columns = [Column("Truth", image.truth, "truth", _size(image.truth))]
        for stage, array in zip(STAGES, (image.data, image.default, image.learned), strict=True):
            if array is not None:
                caption = ""
                if row is not None:
                    shown = [(m, s[stage]) for m, s in row.figures.items() if stage in s and math.isfinite(s[stage])]
                    caption = " · ".join(f"{metric(m).label} {figure(m, v, unit=True)}" for m, v in shown)
                if not caption and array.shape != image.truth.shape:
                    caption = f" {TIMES} ".join(count(n) for n in array.shape if n > 1) + " measurements"
                adjoint = image.adjoint if stage == "noisy" else None
                columns.append(Column(STAGE_TITLES[stage], array, stage, caption, adjoint))
        entries.append((thumbnail(row.name if row else f"image {i}", image.truth), panel(columns)))
    if not entries:
        content = tag("p", "No pictures were stored: the run ended before its images were written.", class_="empty")
    else:
        content = switch("image", entries, "thumbnails")
    split = run.split or "test"
    explanation = f"Images of the {split} set{', never used for learning' if split == 'test' else ''}."
    return section("pictures", "Pictures", explanation, content)


def _size(truth: np.ndarray) -> str:
    sides = displayable(truth).shape[:2]
    return f"{count(sides[0])} samples" if len(sides) == 1 else f"{sides[0]} {TIMES} {sides[1]} pixels"


def objective(run: Digest) -> Markup:
    """Objective and its band."""
    return section(
        "objective",
        "Objective over the run",
        "Every dot is one evaluation of the upper-level objective. The band holds the exact value: it narrows where the "
        "method asked for more accurate reconstructions.",
        objective_charts(run),
    )


def parameters(run: Digest) -> Markup:
    """Parameters: where they ended in their box, how they got there, maps."""
    if not run.parameters:
        return section("parameters", "Parameters", "", tag("p", "No parameters were recorded.", class_="empty"))
    rows = []
    for p in run.parameters[:60]:
        at = [
            f"{side} bound" if p.entries == 1 else f"{count(n)} at {side} bound"
            for n, side in ((p.at_lower, "lower"), (p.at_upper, "upper"))
            if n
        ]
        state = (
            tag("span", f"at {', '.join(at)}" if p.entries == 1 else ", ".join(at), class_="badge warn") if at else ""
        )
        size = f" ({count(p.entries)} entries)" if p.entries > 1 else ""
        rows.append(
            [
                join(tag("code", p.name), size),
                natural(p.start),
                tag("b", natural(p.value)),
                _gauge(p, run.finished),
                state,
            ]
        )
    head = ["Parameter", "Start", "Learned", hint("Place between its bounds", _GAUGE), ""]
    more = len(run.parameters) - len(rows)
    return section(
        "parameters",
        "Parameters",
        "Start and learned values inside the box they were searched in, and their way over the accepted evaluations.",
        table(head, rows, "parameters"),
        tag("p", f"{count(more)} further parameters are not listed.", class_="note") if more > 0 else None,
        tag("div", parameter_charts(run), _maps(run), class_="three"),
        tag("p", f"The first {MOST_PARAMETERS} of {count(len(run.parameters))} are drawn.", class_="note")
        if len(run.parameters) > MOST_PARAMETERS
        else None,
    )


def _gauge(parameter: ParameterRecord, known: bool) -> Markup:
    low, high = parameter.lower_bound, parameter.upper_bound
    if not known or parameter.value is None:
        return tag("span", "bounds not recorded", class_="muted")
    if not (math.isfinite(low) and math.isfinite(high)):
        bounds = " and ".join(f"{side} {number(b, 3)}" for side, b in (("≥", low), ("≤", high)) if math.isfinite(b))
        return tag("span", bounds or "unbounded", class_="muted")
    log = parameter.coordinate == "log10" and low > 0

    def place(v: float) -> float:
        share = math.log(max(v, low) / low) / math.log(high / low) if log else (v - low) / (high - low)
        return 100 * min(max(share, 0.0), 1.0)

    marks: list[Markup] = []
    for value, style in ((parameter.start, "ring"), (parameter.value, "point")):
        if isinstance(value, Spread):
            left, right = place(value.minimum), place(value.maximum)
            if style == "point":
                marks.append(tag("i", class_="whisker", style=f"left:{left:.1f}%;width:{right - left:.1f}%"))
            value = value.mean
        if value is not None:
            marks.append(tag("i", class_=style, style=f"left:{place(value):.1f}%"))
    return tag(
        "span", tag("small", number(low, 2)), tag("span", marks, class_="track learned"), tag("small", number(high, 2)),
        class_="gauge", title="logarithmic" if log else "linear",
    )  # fmt: skip


def _maps(run: Digest) -> list[Markup]:
    known = {p.name: p for p in run.parameters}
    figures = []
    for name, array in run.record.maps.items():
        values = np.squeeze(np.asarray(array, dtype=float))
        if values.ndim != 2:
            continue
        low, high = float(values.min()), float(values.max())
        log = name in known and known[name].coordinate == "log10" and low > 0
        height, width = values.shape
        source = heat_map(values, Window(low, high if high > low else low + 1.0), log)
        figures.append(
            tag(
                "figure",
                tag("figcaption", tag("b", name), tag("span", f"{height} {TIMES} {width}{', logarithmic' if log else ''}")),
                tag("div", tag("img", src=source, alt=f"map of {name}", class_="pixels"), class_="frame",
                    style=f"aspect-ratio:{width}/{height}"),
                tag("i", class_="bar", style=gradient_style(diverging=False)),
                tag("div", tag("span", number(low, 3)), tag("span", number(high, 3)), class_="bar-ends"),
                class_="small map",
            )
        )  # fmt: skip
    return figures


def accuracy(run: Digest) -> Markup:
    """Accuracy asked for and got."""
    charts = accuracy_charts(run)
    return section(
        "accuracy",
        "Accuracy asked and got",
        "The method decides how accurately it needs F and its gradient at every step. A solid dot below its ring means "
        "that the accuracy asked for was proved. A useful gradient has a bound well below its norm.",
        charts or tag("p", "No accuracies or bounds were recorded.", class_="empty"),
    )


def images(run: Digest) -> Markup:
    """Figures per image, sortable."""
    rows = run.record.metrics
    if not rows:
        return section("images", "Image by image", "", tag("p", "No figures per image were written.", class_="empty"))
    names = list(dict.fromkeys(m for row in rows for m in row.figures))
    columns = [(m, s) for m in names for s in STAGES if any(s in row.figures.get(m, {}) for row in rows)]
    gains = [m for m in names if (m, "default") in columns and (m, "learned") in columns]
    several = len({row.split for row in rows}) > 1
    head: list[Any] = ["Image", *(["Set"] if several else [])]
    head += [f"{metric(m).label} {STAGE_TITLES[s].lower()}" for m, s in columns]
    head += [f"{metric(m).label} gain" for m in gains]

    def cells(figures: Mapping[str, Mapping[str, float]]) -> list[Any]:
        shown: list[Any] = [(figure(m, v), v) for m, s in columns for v in [figures.get(m, {}).get(s, math.nan)]]
        for m in gains:
            change = figures.get(m, {}).get("learned", math.nan) - figures.get(m, {}).get("default", math.nan)
            good = change >= 0 if metric(m).higher_is_better is not False else change <= 0
            text = f"{'+' if change >= 0 else ''}{figure(m, change)}"
            shown.append((tag("span", text, class_="good" if good else "bad"), change))
        return shown

    body = [[row.name, *([row.split] if several else []), *cells(row.figures)] for row in rows]
    foot = [] if several else [[f"Mean of {count(len(rows))}", *cells({
        m: {s: float(np.mean([row.figures.get(m, {}).get(s, math.nan) for row in rows])) for s in STAGES} for m in names
    })]]  # fmt: skip
    return section(
        "images",
        "Image by image",
        "Click a heading to sort. Gain is learned minus default.",
        table(head, body, "sortable figures", foot),
    )


def splits(run: Digest) -> Markup:
    """Figures of every part of the samples, before and after."""
    found = run.record.summary.metrics if run.record.summary else {}
    if not found:
        return section("splits", "Figures", "", tag("p", "No figures were written.", class_="empty"))
    names = list(dict.fromkeys(m for stages in found.values() for figures in stages.values() for m in figures))
    columns = [(m, s) for m in names for s in STAGES if any(m in stages.get(s, {}) for stages in found.values())]
    body = [
        [split, *(figure(m, stages[s][m].mean) if m in stages.get(s, {}) else "" for m, s in columns)]
        for split, stages in found.items()
    ]
    head = ["Samples", *(f"{metric(m).label} {STAGE_TITLES[s].lower()}" for m, s in columns)]
    explanation = "Learning sees the training samples below and the validation samples above, never the test samples."
    return section("splits", "Figures", explanation, table(head, body, "figures"))


def costs(run: Digest) -> Markup:
    """Cost counts."""
    total = gradient_equivalents(run.cost)
    if not total:
        return section("cost", "Cost", "", tag("p", "No cost counts were recorded.", class_="empty"))
    rows = []
    for kind, n in run.cost.items():
        title, meaning = _COSTS.get(kind, (kind.replace("_", " "), ""))
        share = 100 * gradient_weight(kind) * n / total
        bar = tag("span", tag("i", style=f"width:{share:.1f}%"), class_="share")
        rows.append(
            [hint(title, meaning) if meaning else title, count(n), number(gradient_weight(kind)), bar, f"{share:.1f} %"]
        )
    foot = [["Total, in gradients", count(total), "", "", duration(run.seconds)]]
    return section(
        "cost",
        "Cost",
        "Applications to one sample each: one gradient of a batch of 8 counts as 8.",
        table(["Operation", "Count", "Weight", "", "Share"], rows, "cost", foot),
    )


def setup(run: Digest) -> Markup:
    """Configuration, environment and the choice of methods."""
    summary = run.record.summary
    chosen = [
        ("Lower-level solver", summary.solver), ("Why", summary.solver_reason), ("Upper-level method", summary.optimizer),
        ("Ended because", summary.status), ("bilearn", summary.library_version),
    ] if summary else []  # fmt: skip
    recorded = _flatten(run.record.environment)
    labels = short_names([k for k, _ in recorded])
    facts = [(k, v) for k, v in chosen if v] + [(labels[k], v) for k, v in recorded]
    config = tag("p", "No configuration was written.", class_="empty")
    if run.record.config:
        config = tag("pre", tag("code", run.record.config))
    return section(
        "setup",
        "Configuration and environment",
        "All that is needed to run this again.",
        tag(
            "div",
            tag("div", tag("h3", "Configuration"), config),
            tag("div", tag("h3", "Environment"), tag("dl", [(tag("dt", k), tag("dd", v)) for k, v in facts])),
            class_="two",
        ),
    )


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            pairs += _flatten(value, f"{prefix}{key}.")
        else:
            text = " ".join(str(v) for v in value) if isinstance(value, list) else str(value)
            pairs.append((f"{prefix}{key}", text))
    return pairs
