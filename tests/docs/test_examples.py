"""Every script in examples/ runs, writes the figure that the gallery shows, and its results are what its text claims."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]

CLAIMS: dict[str, Callable[[dict[str, Any]], bool]] = {}


def test_every_example_has_a_claim_a_figure_and_a_place_in_the_gallery() -> None:
    scripts = {path.stem for path in (ROOT / "examples").glob("*.py")}
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert set(CLAIMS) == scripts
    for name in scripts:
        assert f"examples/{name}.py" in gallery
        assert f"images/gallery/{name}.png" in gallery
        assert (ROOT / "docs" / "images" / "gallery" / f"{name}.png").is_file()


@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = tmp_path / "figure.png"
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", str(figure)])
    results = runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert CLAIMS[name](results)
    with Image.open(figure) as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
