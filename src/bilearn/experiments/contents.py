"""What the page of an experiment is made of; every content can be drawn as HTML, as PNG files, and on the terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bilearn.report.charts import Chart
from bilearn.report.gallery import Column, panel
from bilearn.report.markup import Markup, tag
from bilearn.report.markup import table as html_table
from bilearn.report.printing import print_table

if TYPE_CHECKING:
    from rich.console import Console


class Content(ABC):
    """Something a section shows."""

    @abstractmethod
    def markup(self) -> Markup:
        """As HTML."""

    def png(self) -> Mapping[str, bytes]:
        """PNG files by name without suffix; none by default."""
        return {}

    def show(self, console: Console) -> None:  # noqa: B027
        """Print what a terminal can show; nothing by default."""


@dataclass(frozen=True)
class Panel:
    """One chart with its title."""

    title: str
    chart: Chart


@dataclass(frozen=True)
class Figure(Content):
    """Charts that belong together.

    Attributes:
        name: name of the PNG file, without suffix.
        panels: the charts, row by row.
        columns: charts in a row, 1 to 3.
        note: a sentence below.
    """

    name: str
    panels: Sequence[Panel]
    columns: int = 2
    note: str = ""

    def markup(self) -> Markup:
        figures = [tag("figure", tag("h3", p.title) if p.title else None, p.chart.render()) for p in self.panels]
        grid = {1: None, 2: "two", 3: "three"}[self.columns]
        return tag("div", tag("div", figures, class_=grid), _note(self.note), class_="content")

    def png(self) -> Mapping[str, bytes]:
        from bilearn.experiments.png import draw_charts

        return {self.name: draw_charts([(p.title, p.chart) for p in self.panels], self.columns)}


@dataclass(frozen=True)
class Pictures(Content):
    """Rows of pictures, each with the truth first; the page adds zooms, error maps and a slider.

    Attributes:
        name: name of the PNG file, without suffix.
        rows: title and pictures of every row; all pictures of a row have the shape of its first.
        note: a sentence below.
    """

    name: str
    rows: Sequence[tuple[str, Sequence[Column]]]
    note: str = ""

    def markup(self) -> Markup:
        rows = [tag("div", tag("h3", title), panel(columns), class_="content") for title, columns in self.rows]
        return tag("div", rows, _note(self.note), class_="content")

    def png(self) -> Mapping[str, bytes]:
        from bilearn.experiments.png import draw_pictures

        return {self.name: draw_pictures(self.rows)}


@dataclass(frozen=True)
class Table(Content):
    """A table, on the page and on the terminal.

    Attributes:
        title: what it shows.
        head: column titles.
        rows: cells, row by row, as text.
        note: a sentence below.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markup(self) -> Markup:
        body = html_table(list(self.head), [list(row) for row in self.rows])
        return tag("div", tag("h3", self.title), body, _note(self.note), class_="content")

    def show(self, console: Console) -> None:
        from rich import box
        from rich.table import Table as Printed
        from rich.text import Text

        printed = Printed(
            title=Text(self.title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
        )
        for k, head in enumerate(self.head):
            printed.add_column(Text(head), justify="left" if k == 0 else "right", overflow="fold")
        for row in self.rows:
            printed.add_row(*map(Text, row))
        print_table(console, printed)
        if self.note:
            console.print(Text(self.note, "dim"), soft_wrap=not console.is_terminal)
        console.print()


@dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Attributes:
        identifier: anchor on the page.
        title: heading, also in the navigation.
        text: a sentence or two that say what is seen.
        contents: figures, pictures and tables; a section without any says that nothing was recorded yet.
    """

    identifier: str
    title: str
    text: str
    contents: Sequence[Content]


def _note(text: str) -> Markup | None:
    return tag("p", text, class_="note") if text else None
