"""The headline cards of a report: quality, certified objective, parameters, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bilearn.report.digest import STAGE_MEANINGS, STAGE_TITLES, Digest
from bilearn.report.formatting import (
    MINUS,
    centre,
    count,
    duration,
    figure,
    gradient_equivalents,
    interval,
    metric,
    natural,
    number,
    percent,
    short_count,
    short_names,
    signed,
    statistic,
)
from bilearn.report.markup import Markup, hint, join, tag
from bilearn.run_records import Statistic


def cards(run: Digest) -> Markup:
    """The headline: quality, certified objective, parameters, cost."""
    return tag("div", _quality_card(run), _objective_card(run), _parameter_card(run), _cost_card(run), class_="cards")


def _card(title: Any, headline: Any, *rest: Any, style: str = "") -> Markup:
    long = not isinstance(headline, Markup) and len(headline) > 11
    return tag(
        "div",
        tag("h3", title),
        tag("div", headline, class_="big long" if long else "big"),
        *rest,
        class_=f"card {style}".strip(),
    )


def _quality_card(run: Digest) -> Markup:
    stages, names = run.stages, run.metric_names
    if not names or "learned" not in stages:
        return _card("Image quality", "not measured", tag("p", "The run ended before images were evaluated."))
    name = names[0]
    shown = metric(name)
    learned = stages["learned"][name]
    gains = [
        f"{signed(name, learned.mean - stages[s][name].mean)} over {what}"
        for s, what in (("default", "the default parameters"), ("noisy", "the data"))
        if name in stages.get(s, {})
    ]
    rows = _stage_rows(name, {s: f[name] for s, f in stages.items() if name in f})
    others = [
        f"{metric(n).label} " + " → ".join(figure(n, f[n].mean) for f in stages.values() if n in f) for n in names[1:]
    ]
    title = join(hint(shown.label, shown.explanation or shown.label), f" on the {run.split} {run.samples}")
    return _card(
        title,
        join(figure(name, learned.mean), tag("small", f" {shown.unit}")),
        tag("p", ", ".join(gains), class_="good" if gains and not gains[0].startswith(MINUS) else None),
        rows,
        tag("p", " · ".join(others), class_="muted") if others else None,
        style="wide",
    )


def _stage_rows(name: str, stages: Mapping[str, Statistic]) -> Markup:
    """Mean and spread of each stage on a common scale."""
    spread = {s: v.std if math.isfinite(v.std) else 0.0 for s, v in stages.items()}
    low = min(v.mean - spread[s] for s, v in stages.items())
    high = max(v.mean + spread[s] for s, v in stages.items())
    span = max(high - low, 1e-12)
    rows = []
    for stage, value in stages.items():
        left, right, middle = (
            100 * (v - low) / span for v in (value.mean - spread[stage], value.mean + spread[stage], value.mean)
        )
        track = tag(
            "span",
            tag("i", class_="whisker", style=f"left:{left:.1f}%;width:{right - left:.1f}%"),
            tag("i", class_="point", style=f"left:{middle:.1f}%"),
            class_="track",
        )
        title = STAGE_TITLES.get(stage, stage)
        label = hint(title, STAGE_MEANINGS[stage]) if stage in STAGE_MEANINGS else title
        rows.append(tag("div", tag("span", label), track, tag("b", statistic(name, value)), class_=f"stage {stage}"))
    return tag("div", rows, class_="stages")


def _objective_card(run: Digest) -> Markup:
    title = hint("Final objective", "The upper-level objective F: mean loss of the reconstructions plus penalty.")
    final, start = run.final, run.start
    if final is None:
        return _card(title, "none", tag("p", "No evaluation was recorded."))
    lines: list[Markup | None] = []
    if math.isfinite(final.width):
        badge = tag(
            "span", "certified" if final.certified else "estimated", class_=f"badge {'ok' if final.certified else ''}"
        )
        meaning = hint(
            "exact value in",
            "Lower-level problems are solved only approximately. From their residuals follows an interval that "
            "contains the exact objective; 'certified' means every constant behind it was declared, not estimated.",
        )
        lines.append(tag("p", meaning, " ", tag("b", interval(final.lower, final.upper), class_="nowrap"), " ", badge))
    else:
        lines.append(tag("p", "no bound on the exact value is known", class_="muted"))
    if start is not None and start.value:
        change = (final.value - start.value) / abs(start.value)
        lines.append(tag("p", f"{percent(change)} from {number(start.value)} at the start parameters"))
    if run.improvement_is_certain:
        lines.append(tag("p", "✓ The improvement is proved: the two intervals do not overlap.", class_="good"))
    return _card(title, centre(final), lines)


def _parameter_card(run: Digest) -> Markup:
    n = sum(p.entries for p in run.parameters)
    title = "Learned parameter" if n == 1 else "Learned parameters"
    shown = run.parameters[:6]
    labels = short_names([p.name for p in run.parameters])
    rows = [
        tag(
            "div",
            tag("span", labels[p.name], title=p.name),
            tag("b", natural(p.value)),
            class_="pair",
        )
        for p in shown
    ]
    more = len(run.parameters) - len(shown)
    return _card(
        title, short_count(n) if n else "none", tag("div", rows, class_="pairs"),
        tag("p", f"and {count(more)} more", class_="muted") if more > 0 else None,
    )  # fmt: skip


def _cost_card(run: Digest) -> Markup:
    summary = run.record.summary
    pairs = [
        (hint("Work", "Counted per sample in lower-level gradients; a value counts half, every other product one."),
         f"{short_count(gradient_equivalents(run.cost))} gradients"),
        ("Evaluations", count(len(run.record.history))),
        ("Upper level", summary.optimizer if summary else ""),
        ("Lower level", summary.solver if summary else ""),
    ]  # fmt: skip
    rows = [tag("div", tag("span", k), tag("b", v), class_="pair") for k, v in pairs if v]
    return _card("Cost", duration(run.seconds), tag("div", rows, class_="pairs"))
