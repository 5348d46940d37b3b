"""The generated reference pages are those of the present code."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = runpy.run_path(str(DOCS / "_tools" / "write_reference.py"))["PAGES"]


@pytest.mark.parametrize("page", PAGES)
def test_page_is_up_to_date(page: str) -> None:
    expected = PAGES[page]()
    found = (DOCS / page).read_text(encoding="utf-8")
    assert found == expected, "run: python docs/_tools/write_reference.py"
