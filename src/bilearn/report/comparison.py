"""The ``compare`` page: several runs side by side."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bilearn.report.charts import Band, Chart, Curve, axis_for, wants_log
from bilearn.report.curves import PROGRESS, best_so_far
from bilearn.report.digest import STAGE_TITLES, Digest, findings, read_digest
from bilearn.report.formatting import (
    DASH,
    centre,
    count,
    duration,
    figure,
    gradient_equivalents,
    interval,
    metric,
    natural,
    short_count,
    statistic,
)
from bilearn.report.gallery import Column, panel, switch, thumbnail
from bilearn.report.markup import Markup, hint, join, section, table, tag
from bilearn.report.page import document
from bilearn.run_records import ImageSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_COLORS = 6


def write_comparison(run_dirs: Sequence[str | Path], path: str | Path | None = None) -> Path:
    """Write one self-contained page that shows several runs side by side; nothing is recomputed.

    Args:
        run_dirs: two or more run directories, finished or interrupted.
        path: the page; ``comparison.html`` in the directory above the first run if None.

    Returns:
        Path of the page.

    Raises:
        ValueError: if fewer than two runs are given.
        FileNotFoundError: if one of them is no run.
    """
    if len(run_dirs) < 2:
        raise ValueError(f"write_comparison: found {len(run_dirs)} run directories, expected at least two")
    runs = [read_digest(run_dir) for run_dir in run_dirs]
    names = _distinct_names(runs)
    body = join(
        tag(
            "header",
            tag("p", "bilearn comparison", class_="eyebrow"),
            tag("h1", " · ".join(names)),
            tag("p", f"{len(runs)} runs side by side. Green marks the best of a row.", class_="subtitle"),
        ),
        _overview(runs, names),
        _objectives(runs, names),
        _images(runs, names),
        _parameters(runs, names),
        _configurations(runs, names),
    )
    target = Path(path) if path is not None else Path(run_dirs[0]).resolve().parent / "comparison.html"
    target.write_text(document(f"Comparison of {', '.join(names)}", body), encoding="utf-8")
    return target


def _distinct_names(runs: Sequence[Digest]) -> list[str]:
    """Names of the runs; the directory is added where two share one."""
    names = [run.name for run in runs]
    return [
        f"{name} ({run.record.path.resolve().name})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def _color(i: int) -> str:
    return f"run-{i % _COLORS + 1}"


def _heads(names: Sequence[str]) -> list[Markup]:
    return [tag("span", tag("i", class_=f"key {_color(i)}"), " ", name) for i, name in enumerate(names)]


def _with_best(cells: Sequence[str], scores: Sequence[float], higher_is_better: bool) -> list[Markup | str]:
    """Mark the cells with the best score, where the scores differ."""
    finite = [s for s in scores if math.isfinite(s)]
    if len(finite) < 2 or max(finite) == min(finite):
        return list(cells)
    best = max(finite) if higher_is_better else min(finite)
    return [tag("b", c, class_="good") if s == best else c for c, s in zip(cells, scores, strict=True)]


def _overview(runs: Sequence[Digest], names: Sequence[str]) -> Markup:
    rows: list[list[Any]] = [
        ["Ended", *(tag("span", _state(run), class_=_badge(run), title=run.status) for run in runs)]
    ]
    for name in dict.fromkeys(n for run in runs for n in run.metric_names):
        shown = metric(name)
        for stage in ("noisy", "default", "learned"):
            found = [run.stages.get(stage, {}).get(name) for run in runs]
            if any(found):
                cells = [statistic(name, value) for value in found]
                if stage == "learned" and shown.higher_is_better is not None:
                    cells = _with_best(cells, [v.mean if v else math.nan for v in found], shown.higher_is_better)
                unit = f" ({shown.unit})" if shown.unit else ""
                rows.append([f"{shown.label} {STAGE_TITLES[stage].lower()}{unit}", *cells])
    finals = [run.final for run in runs]
    rows.append(["Final objective", *(centre(f) if f else DASH for f in finals)])
    rows.append(["Interval", *(interval(f.lower, f.upper) if f else DASH for f in finals)])
    rows.append(["Certified", *(DASH if f is None else ("yes" if f.certified else "no") for f in finals)])
    work = [gradient_equivalents(run.cost) for run in runs]
    meaning = hint("Work", "Lower-level gradients, or equivalent, counted per sample.")
    finished = [run.finished for run in runs]
    scores = [w if done else math.nan for w, done in zip(work, finished, strict=True)]
    rows.append([meaning, *_with_best([short_count(w) for w in work], scores, False)])
    scores = [run.seconds if done else math.nan for run, done in zip(runs, finished, strict=True)]
    rows.append(["Time", *_with_best([duration(run.seconds) for run in runs], scores, False)])
    rows.append(["Evaluations", *(count(len(run.record.history)) for run in runs)])
    rows.append(["Upper level", *(run.record.summary.optimizer if run.record.summary else DASH for run in runs)])
    rows.append(["Lower level", *(run.record.summary.solver if run.record.summary else DASH for run in runs)])
    notes = [tag("div", [tag("span", hint(f.title, f.text)) for f in findings(run)], class_="list") for run in runs]
    if any(findings(run) for run in runs):
        rows.append(["Warnings", *notes])
    return section(
        "overview", "At a glance", "Means and standard deviations over the test images of each run.",
        table(["", *_heads(names)], rows, "overview"),
    )  # fmt: skip


def _state(run: Digest) -> str:
    return "interrupted" if not run.finished else ("converged" if run.converged else "not converged")


def _badge(run: Digest) -> str:
    return "badge ok" if run.converged else "badge warn"


def _objectives(runs: Sequence[Digest], names: Sequence[str]) -> Markup:
    drawn = [(run, name, i) for i, (run, name) in enumerate(zip(runs, names, strict=True)) if len(run.accepted) > 1]
    if not drawn:
        content: Any = tag("p", "Too few evaluations were recorded to draw curves.", class_="empty")
    else:
        entries = []
        for title, label, progress in PROGRESS:
            bands, curves, extent, across = [], [], [], []
            for run, name, i in drawn:
                x = [progress(row) for row in run.accepted]
                lower = [row.objective.lower for row in run.accepted]
                upper = [row.objective.upper for row in run.accepted]
                best = best_so_far(run.accepted)
                tips = [
                    f"{name}, evaluation {r.evaluation}\nbest F = {v:.6g}"
                    for r, v in zip(run.accepted, best, strict=True)
                ]
                bands.append(Band(x, lower, upper, _color(i)))
                curves.append(Curve(x, best, _color(i), name, tips))
                extent += [*best, *(v for v in lower + upper if math.isfinite(v))]
                across += x
            chart = Chart(
                axis_for(across, padding=0.02), axis_for(extent, wants_log(extent)), label, "best objective so far",
                bands=bands, curves=curves, width=1090, height=340,
            )  # fmt: skip
            entries.append((title, chart.render()))
        content = switch("horizontal axis", entries)
    return section(
        "objective", "Objective over the runs",
        "Best objective found so far, with the bands of the evaluations. Objectives compare only between runs that "
        "learn from the same data with the same loss.", content,
    )  # fmt: skip


def _images(runs: Sequence[Digest], names: Sequence[str]) -> Markup:
    """The same image for every run, for the images all runs stored."""
    shown = min((len(run.record.images) for run in runs if run.record.images), default=0)
    entries = []
    for k in range(shown):
        found = [(i, run.record.images[k]) for i, run in enumerate(runs) if run.record.images]
        reference = found[0][1]
        same = [(i, image) for i, image in found if image.learned is not None and _same_truth(image, reference)]
        if len(same) < 2:
            continue
        columns = [Column("Truth", reference.truth, "truth")]
        if reference.data is not None:
            columns.append(Column("Data", reference.data, "noisy", adjoint=reference.adjoint))
        for i, image in same:
            assert image.learned is not None
            columns.append(Column(names[i], image.learned, _color(i), _caption(runs[i], k)))
        row = next((r for r in runs[same[0][0]].record.metrics if r.index == k), None)
        entries.append((thumbnail(row.name if row else f"image {k}", reference.truth), panel(columns)))
    content = switch("image", entries, "thumbnails") if entries else tag(
        "p", "The runs stored no test image in common.", class_="empty"
    )  # fmt: skip
    return section("pictures", "The same images", "Reconstructions with the learned parameters of each run.", content)


def _same_truth(a: ImageSet, b: ImageSet) -> bool:
    return a.truth.shape == b.truth.shape and bool(np.allclose(a.truth, b.truth, atol=1e-6))


def _caption(run: Digest, index: int) -> str:
    row = next((r for r in run.record.metrics if r.index == index and r.split == run.split), None)
    if row is None:
        return ""
    learned = {m: s["learned"] for m, s in row.figures.items() if "learned" in s}
    return " · ".join(f"{metric(m).label} {figure(m, v, unit=True)}" for m, v in learned.items())


def _parameters(runs: Sequence[Digest], names: Sequence[str]) -> Markup:
    known = [{p.name: p for p in run.parameters} for run in runs]
    rows: list[list[Any]] = []
    for name in list(dict.fromkeys(n for parameters in known for n in parameters))[:60]:
        cells: list[Any] = []
        for parameters in known:
            p = parameters.get(name)
            flag = tag("span", " at a bound", class_="bad") if p and (p.at_lower or p.at_upper) else None
            cells.append(join(natural(p.value), flag) if p else DASH)
        rows.append([tag("code", name), *cells])
    content = (
        table(["Parameter", *_heads(names)], rows) if rows else tag("p", "No parameters were recorded.", class_="empty")
    )
    return section("parameters", "Learned parameters", "", content)


def _configurations(runs: Sequence[Digest], names: Sequence[str]) -> Markup:
    """Settings in which the configurations differ."""
    settings = [_settings(run.record.config) for run in runs]
    keys = list(dict.fromkeys(key for one in settings for key in one))
    rows: list[list[Any]] = [
        [tag("code", key), *(tag("code", one[key]) if key in one else DASH for one in settings)]
        for key in keys
        if len({one.get(key) for one in settings}) > 1
    ]
    content = table(["Setting", *_heads(names)], rows) if rows else tag(
        "p", "The configurations are the same.", class_="empty"
    )  # fmt: skip
    return section("setup", "Differences in configuration", "", content)


def _settings(config: str) -> dict[str, str]:
    """Dotted keys and values of a TOML text."""

    def flatten(mapping: dict[str, Any], prefix: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in mapping.items():
            found |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": str(value)}
        return found

    return flatten(tomllib.loads(config), "")
