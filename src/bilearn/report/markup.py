"""Building HTML and SVG from Python values, escaping every string that is not already markup."""

from __future__ import annotations

from html import escape
from typing import Any

_VOID = frozenset({"img", "input", "br", "hr", "meta", "line", "circle", "rect", "path", "polyline", "polygon"})


class Markup(str):
    """Text that is already HTML and is inserted as it stands."""

    __slots__ = ()


def join(*children: Any) -> Markup:
    """Children one after the other; plain strings are escaped, None is skipped, lists are flattened."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, (list, tuple)):
            parts.append(join(*child))
        else:
            parts.append(child if isinstance(child, Markup) else escape(str(child)))
    return Markup("".join(parts))


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element. Attribute names lose a trailing underscore and get dashes for the others (``class_``, ``data_tip``).

    Attributes that are None or False are left out, True gives a bare attribute, values are escaped.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{escape(str(value))}"')
    opening = " ".join(parts)
    if name in _VOID and not children:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{join(*children)}</{name}>")


def hint(term: str, explanation: str) -> Markup:
    """A term whose explanation shows on hover, focus or touch."""
    return tag("span", term, tag("span", explanation, class_="hint-text", role="tooltip"), class_="hint", tabindex="0")


def section(identifier: str, title: str, explanation: str, *content: Any) -> Markup:
    """A titled section with one line that says what it shows."""
    return tag(
        "section", tag("h2", title), tag("p", explanation, class_="lead") if explanation else None, *content,
        id=identifier,
    )  # fmt: skip


def table(head: list[Any], rows: list[list[Any]], style: str = "", foot: list[list[Any]] | None = None) -> Markup:
    """A table; every column but the first is aligned right. A cell may be markup, text or a (text, sort key) pair."""

    def cell(content: Any) -> Markup:
        if isinstance(content, tuple):
            return tag("td", content[0], data_sort=content[1])
        return tag("td", content)

    sortable = "sortable" in style
    heads = [tag("th", tag("button", h, type="button") if sortable else h, scope="col") for h in head]
    return tag(
        "div",
        tag(
            "table",
            tag("thead", tag("tr", heads)),
            tag("tbody", [tag("tr", [cell(c) for c in row]) for row in rows]),
            tag("tfoot", [tag("tr", [cell(c) for c in row]) for row in foot]) if foot else None,
            class_=style or None,
        ),
        class_="table-scroll",
    )
