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


def certificates_hold(results: dict[str, Any]) -> bool:
    slack = 2e-11  # the comparison itself is accurate to 1e-11
    pairs = [(distance, bound) for points in results["curves"].values() for _, distance, bound in points]
    return all(distance <= bound + slack for distance, bound in pairs) and len(pairs) > 25


def bounds_hold(results: dict[str, Any]) -> bool:
    slack = results["reference"].gradient_bound
    pairs = [(error, bound) for points in results["curves"].values() for _, error, bound in points]
    return all(error <= bound + slack for error, bound in pairs) and len(pairs) > 15


CLAIMS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "certified_reconstruction": certificates_hold,
    "compare_hypergradients": bounds_hold,
    "differentiable_reconstruction": lambda r: r["losses"][-1] < 0.5 * r["losses"][0],
    "learn_noise_model": lambda r: (
        r["values"]["pseudo-Huber"].certified
        and r["values"]["pseudo-Huber maps"].upper < r["values"]["pseudo-Huber"].lower
        and min(r["quality"][n] for n in ("pseudo-Huber", "Student-t")) > r["quality"]["least squares"] + 10
    ),
    "learn_tv_denoising": lambda r: r["final"].certified and r["final"].upper < r["objective"].value(r["first"]).lower,
    "own_operator": lambda r: min(r["gains"]) > 5,
    "space_variant_tv": lambda r: (
        all(v.certified for v in r["values"].values())
        and r["quality"]["TV, learned alpha"] + 1 < r["quality"]["maps as estimated"]
        and r["quality"]["maps as estimated"] + 3 < r["quality"]["maps as learned"]
    ),
}


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
