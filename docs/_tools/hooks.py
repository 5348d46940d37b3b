"""MkDocs hooks: formulas become MathML, so that the pages need neither scripts nor a network; roles become code."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_ROLE = re.compile(r":(?:class|meth|func|attr|mod|data):<code>~?(.*?)</code>")


def on_page_content(content: str, **_: Any) -> str:
    """Replace formulas and cross-reference roles of docstrings in one page."""
    content = _DISPLAY.sub(lambda m: convert(html.unescape(m.group(1)), display="block"), content)
    content = _INLINE.sub(lambda m: convert(html.unescape(m.group(1))), content)
    return _ROLE.sub(lambda m: f"<code>{m.group(1)}</code>", content)
