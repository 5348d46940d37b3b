"""From ``results.json`` to figures, page and printed tables; nothing is computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bilearn._files import replacing
from bilearn.experiments import experiment_class
from bilearn.experiments.contents import Section
from bilearn.experiments.records import FINISHED, REPORT, RESULTS, Results
from bilearn.report.formatting import count, duration
from bilearn.report.markup import Markup, join, section, tag
from bilearn.report.page import document

if TYPE_CHECKING:
    from rich.console import Console

EXPERIMENT = "bilearn experiment"


def draw(directory: str | Path) -> Path:
    """Write the figures and ``report.html`` of an experiment, finished or interrupted, from its records.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: if the directory holds no records.
        ValueError: if they are damaged.
    """
    path = Path(directory)
    results = Results.read(path)
    kind = experiment_class(results.experiment)
    return write_page(path, results, kind.purpose, kind.sections(results))


def write_page(
    directory: Path,
    results: Results,
    purpose: str,
    sections: Sequence[Section],
    program: str = EXPERIMENT,
    resume: str = "bilearn experiment resume DIRECTORY",
) -> Path:
    """Write the figures and ``report.html`` of records.

    Args:
        directory: where.
        results: the records, for header and setup.
        purpose: a sentence below the title.
        sections: what is shown of them.
        program: the command that made them, above the title.
        resume: how to continue an unfinished run.

    Returns:
        Path of the page.
    """
    for part in sections:
        for content in part.contents:
            for name, picture in content.png().items():
                with replacing(directory / f"{name}.png") as file:
                    file.write(picture)
    with replacing(directory / REPORT) as file:
        file.write(_page(results, _header(results, purpose, program, resume), sections, program).encode())
    return directory / REPORT


def show(directory: str | Path, console: Console) -> None:
    """Print the tables of an experiment.

    Raises:
        FileNotFoundError: if the directory holds no records.
        ValueError: if they are damaged.
    """
    results = Results.read(Path(directory))
    for part in experiment_class(results.experiment).sections(results):
        for content in part.contents:
            content.show(console)


def _page(results: Results, header: Markup, sections: Sequence[Section], program: str) -> str:
    links = [tag("a", s.title, href=f"#{s.identifier}") for s in sections] + [tag("a", "Setup", href="#setup")]
    empty = tag("p", "Nothing was recorded for this section yet.", class_="empty")
    body = join(
        header,
        [
            section(s.identifier, s.title, s.text, [c.markup() for c in s.contents] if s.contents else empty)
            for s in sections
        ],
        _setup(results),
    )
    return document(f"{results.experiment} · {program}", body, tag("nav", tag("div", links)))


def _header(results: Results, purpose: str, program: str, resume: str) -> Markup:
    finished = results.status == FINISHED
    n = len(results.parts)
    done = f"{count(n)} part{'' if n == 1 else 's'} in {duration(results.seconds)}."
    advice = "" if finished else f" Continue with: {resume}"
    return tag(
        "header",
        tag("p", program, class_="eyebrow"),
        tag("h1", results.experiment),
        tag("p", purpose, class_="subtitle"),
        tag(
            "p", tag("span", results.status, class_=f"badge {'ok' if finished else 'warn'}"), f" {done}{advice}",
            class_="status",
        ),
    )  # fmt: skip


def _setup(results: Results) -> Markup:
    def listed(title: str, values: Mapping[str, Any]) -> Markup:
        rows = [(tag("dt", k), tag("dd", _text(v))) for k, v in values.items()]
        return tag("div", tag("h3", title), tag("dl", rows))

    return section(
        "setup",
        "Setup",
        f"All that is needed to run this again. Every number behind the page is in {RESULTS}.",
        tag("div", listed("Options", results.options), listed("Environment", results.environment), class_="two"),
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(v) for v in value)
    return str(value)
