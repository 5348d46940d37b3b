"""The models that come with the package: they load, their energy is certified, and they beat total variation at its best."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import bilearn
from bilearn.data import crops, photographs, stack, to_gray
from bilearn.fidelities import LeastSquares
from bilearn.lower import NewtonCG, minimize
from bilearn.model import LearnedModel
from bilearn.regularizers import RidgeRegularizer, SmoothedTV
from bilearn.shipped import FOLDER, model_folder, shipped_names
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

SIGMA = 0.1


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Crops of photographs that the models have not seen, with the noise they were learned for."""
    generator = torch.Generator().manual_seed(0)
    found = photographs(["camera", "astronaut", "coffee"])
    truth = stack([crops(to_gray(image), (64, 64), 1, generator)[0] for image in found]).float()
    return truth, truth + SIGMA * torch.randn(truth.shape, generator=generator)


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return float((-10 * torch.log10((x - truth).square().mean((1, 2, 3)))).mean())


def denoised(energy: VariationalEnergy, y: torch.Tensor) -> torch.Tensor:
    return minimize(energy, y, NewtonCG(), tolerance=Tolerance(gradient=0.05)).x


def test_what_is_there() -> None:
    assert shipped_names() == ["crr", "wcrr"]
    for name in shipped_names():
        model = bilearn.load(name)
        regularizer = model.energy.regularizer
        assert isinstance(regularizer, RidgeRegularizer)
        assert sum(p.numel() for p in regularizer.parameters()) == 13767
        assert regularizer.weak == (name == "wcrr")
        assert (model.description["name"], model.dtype) == (name, torch.float32)
        assert sum(f.stat().st_size for f in (FOLDER / name).iterdir()) < 80_000
        assert "## Data" in (FOLDER / name / "card.md").read_text(encoding="utf-8")


def test_energies_are_certified_for_denoising() -> None:
    _, y = pairs()
    least = {"crr": 1.0, "wcrr": 0.09}
    for name, bound in least.items():
        mu = bilearn.load(name).energy.curvature(y).strong_convexity
        assert mu.declared
        assert float(torch.as_tensor(mu.value).detach()) >= bound * (1 - 1e-6)
    solution = LearnedModel(bilearn.load("crr").energy, {"dtype": "float32"}, Tolerance(distance=0.1)).solve(y[:1])
    assert solution.certified
    assert float(solution.error.max()) <= 0.1


def test_better_than_total_variation_with_its_best_weight() -> None:
    truth, y = pairs()
    best = max(
        psnr(denoised(VariationalEnergy(LeastSquares(), SmoothedTV(weight, xi=1e-6, nu=0.01)), y), truth)
        for weight in (0.04, 0.055, 0.07, 0.085, 0.1)
    )
    assert psnr(denoised(bilearn.load("crr").energy, y), truth) > best + 0.2
    assert psnr(denoised(bilearn.load("wcrr").energy, y), truth) > best + 0.2


def test_a_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_folder("crr") == FOLDER / "crr"
    (tmp_path / "crr").mkdir()
    assert model_folder("crr") == Path("crr")
    with pytest.raises(ValueError, match=r"found no model.json, expected .* crr, wcrr"):
        bilearn.load("crr")
