"""What a run amounts to, for the terminal: tables in color, readable plain text when piped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bilearn.report.digest import Digest, findings, read_digest
from bilearn.report.formatting import (
    centre,
    count,
    duration,
    gradient_equivalents,
    interval,
    metric,
    natural,
    number,
    percent,
    short_count,
    statistic,
)
from bilearn.report.printing import print_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STAGES = {"noisy": "Data", "default": "Default parameters", "learned": "Learned parameters"}


def print_summary(run_dir: str | Path, console: Console | None = None) -> None:
    """Print what was learned, image quality with its spread, the objective with its interval, cost, report path.

    Args:
        run_dir: a run directory, finished or interrupted; records are read, nothing is recomputed.
        console: where to print; standard output if None.

    Raises:
        FileNotFoundError: if there is no run.
    """
    from rich.console import Console
    from rich.text import Text

    out = console or Console()
    run = read_digest(run_dir)
    out.print(Text.assemble((run.name, "bold"), f": {run.status}"))
    if run.parameters:
        print_table(out, _parameters(run))
    if run.stages:
        print_table(out, _quality(run))
    for line in _objective(run):
        out.print(Text(line), soft_wrap=not out.is_terminal)
    for finding in findings(run, plain=True):
        style = "red" if finding.level == "problem" else "yellow"
        out.print(Text.assemble((f"{finding.title}. ", style), finding.text), soft_wrap=not out.is_terminal)
    report = run.record.path / "report.html"
    if report.exists():
        out.print(Text(f"Report: {report}"), soft_wrap=True)


def print_comparison(run_dirs: Sequence[str | Path], console: Console | None = None) -> None:
    """Print several runs as the columns of one table: quality, objective with its interval, cost, parameters.

    Raises:
        ValueError: if no run is given.
        FileNotFoundError: if one of them is no run.
    """
    from rich.console import Console
    from rich.text import Text

    if not run_dirs:
        raise ValueError("print_comparison: found no run directories, expected at least one")
    out = console or Console()
    runs = [read_digest(path) for path in run_dirs]
    rows: list[tuple[str, list[str]]] = [
        (f"{metric(n).label} learned", [statistic(n, run.stages.get("learned", {}).get(n), plain=True) for run in runs])
        for n in dict.fromkeys(name for run in runs for name in run.metric_names)
    ]
    rows += [
        ("Objective", [centre(run.final, plain=True) if run.final else "-" for run in runs]),
        ("Interval", [_interval(run) for run in runs]),
        ("Gradients", [short_count(gradient_equivalents(run.cost)) for run in runs]),
        ("Time", [_time(run) for run in runs]),
        ("Ended", [run.status for run in runs]),
    ]
    names = list(dict.fromkeys(p.name for run in runs for p in run.parameters))[:20]
    for name in names:
        known = [{p.name: natural(p.value, plain=True) for p in run.parameters} for run in runs]
        rows.append((name, [one.get(name, "-") for one in known]))
    table = _table("", *(run.name for run in runs))
    for title, cells in rows:
        table.add_row(Text(title), *map(Text, cells))
    print_table(out, table)


def _table(*heads: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, safe_box=True)
    for i, head in enumerate(heads):
        table.add_column(Text(head), justify="left" if i == 0 else "right", no_wrap=i == 0, overflow="fold")
    return table


def _parameters(run: Digest) -> Table:
    from rich.text import Text

    table = _table("Parameter", "Start", "Learned", "Bounds", "")
    for p in run.parameters[:20]:
        at = [side for side, n in (("lower", p.at_lower), ("upper", p.at_upper)) if n]
        table.add_row(
            Text(p.name),
            natural(p.start, plain=True),
            natural(p.value, plain=True),
            Text(f"[{number(p.lower_bound, 3, plain=True)}, {number(p.upper_bound, 3, plain=True)}]"),
            f"at its {' and '.join(at)} bound" if at else "",
        )
    if len(run.parameters) > 20:
        table.add_row(f"and {len(run.parameters) - 20} more", "", "", "", "")
    return table


def _quality(run: Digest) -> Table:
    from rich.text import Text

    names = run.metric_names
    heads = (f"{metric(n).label} ({metric(n).unit})" if metric(n).unit else metric(n).label for n in names)
    table = _table(f"{run.split.capitalize()} {run.samples}", *heads)
    for stage, figures in run.stages.items():
        table.add_row(
            Text(_STAGES.get(stage, stage)),
            *(statistic(n, figures.get(n), plain=True) for n in names),
        )
    return table


def _interval(run: Digest) -> str:
    if run.final is None or not math.isfinite(run.final.width):
        return "unknown"
    text = interval(run.final.lower, run.final.upper, plain=True)
    return text if run.final.certified else f"{text} (estimated)"


def _time(run: Digest) -> str:
    return duration(run.seconds) if math.isfinite(run.seconds) else "-"


def _objective(run: Digest) -> list[str]:
    lines = []
    if run.final is not None:
        proof = "certified" if run.final.certified else "estimated, not certified"
        known = f"exact value in {interval(run.final.lower, run.final.upper, plain=True)} ({proof})"
        lines.append(
            f"Objective: {centre(run.final, plain=True)}, "
            f"{known if math.isfinite(run.final.width) else 'no bound on the exact value is known'}"
        )
        if run.start is not None and run.start.value:
            change = percent((run.final.value - run.start.value) / abs(run.start.value), plain=True)
            certain = ", certainly smaller" if run.improvement_is_certain else ""
            lines.append(f"Start: {number(run.start.value, plain=True)} (change {change}{certain})")
    work = count(gradient_equivalents(run.cost), plain=True)
    lines.append(f"Cost: {work} gradients in {_time(run)}, {len(run.record.history)} evaluations")
    summary = run.record.summary
    if summary and summary.solver:
        reason = summary.solver_reason.removeprefix(f"{summary.solver}, ").rstrip(".")
        reason = f" ({reason})" if reason else ""
        lines.append(f"Methods: {summary.optimizer or 'upper level'}; lower level {summary.solver}{reason}")
    return lines
