"""``bilearn sample`` with several coils: simulated, from a file, estimated; recorded and used by what follows."""

import json

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bilearn.cli.main import app
from bilearn.mri import CoilFourierTransform, birdcage_maps
from bilearn.mri.io import center_kspace, read_mask
from bilearn.sampling_study.coils import MAPS, read_maps
from bilearn.sampling_study.directory import load_learned
from bilearn.sampling_study.reconstruction import reconstruct
from bilearn.sampling_study.setup import load_pairs

SMALL = ("--size", 12, "--count", 1, "--steps", 1, "--exchanges", 0, "--starts", "0.5", "--regularizer", "h1", "-q")


def call(*arguments):
    return CliRunner().invoke(app, ["sample", *map(str, arguments)])


def text_of(result):
    return " ".join(result.output.split())


def blob(n=12, shift=0.0):
    axis = np.linspace(-1, 1, n)
    return np.exp(-6 * ((axis[:, None] - shift) ** 2 + (axis + shift) ** 2))


@pytest.fixture(autouse=True)
def no_pages(monkeypatch):
    """Only the shared run draws its page and figures."""
    monkeypatch.setattr("bilearn.sampling_study.directory.write_page", lambda directory, *_: directory / "report.html")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("coils") / "blobs.npy"
    np.save(path, np.stack([blob(), blob(shift=0.2)]))
    return path


@pytest.fixture(scope="module")
def eight(images, tmp_path_factory):
    run = tmp_path_factory.mktemp("eight") / "run"
    result = call("learn", images, "--coils", 8, "--rate", 0.25, "--pattern", "lines", *SMALL, "-o", run)
    assert result.exit_code == 0, result.output
    return run


def test_simulated_coils_are_recorded_and_fit_the_data(eight):
    setup, result = load_learned(eight)
    assert (setup.coils, setup.pattern, result.samples) == (8, "columns", 36)
    maps = read_maps(eight / MAPS)
    assert torch.equal(maps, birdcage_maps(8, (12, 12)))
    pairs = setup.pairs()
    assert pairs.kspace.shape == (1, 2, 8, 12, 12)
    noise = pairs.kspace - CoilFourierTransform(maps).A(pairs.truth)
    assert float(noise.std()) == pytest.approx(0.03, rel=0.1)
    assert "8 coils, maps: birdcage." in (eight / "report.html").read_text()
    assert json.loads((eight / "results.json").read_text())["parts"]["learning"]["coils"] == 8


def test_compare_and_export_use_the_coils_of_the_run(eight, images, tmp_path):
    out = tmp_path / "comparison"
    result = call("compare", eight, "--images", images, "--count", 1, "--baselines", "low-pass", "-o", out, "-q")
    assert result.exit_code == 0, result.output
    parts = json.loads((out / "results.json").read_text())["parts"]
    with_coils = float(parts["rate/36/low-pass"]["quality"]["psnr"][0])
    setup, _ = load_learned(eight)
    from bilearn.experiments.sampling_baselines import SamplingBaselines
    from bilearn.sampling_study.comparison import mask_record
    from bilearn.sampling_study.reconstruction import tuned_mask

    experiment = SamplingBaselines(runs=(str(eight),), rates=(), test=(str(images),), test_count=1, size=12)
    test = experiment.held_out()
    assert test.kspace.shape == (1, 2, 8, 12, 12)
    from bilearn.mri.masks import low_pass

    again = mask_record(tuned_mask(low_pass((12, 12), 36, unit="columns"), setup, setup.pairs()), test, "low-pass")
    assert with_coils == pytest.approx(again["quality"]["psnr"][0], rel=1e-12)
    written = call("export", eight, tmp_path / "mask.seq")
    assert written.exit_code == 0, written.output
    assert torch.equal(read_mask(tmp_path / "mask.seq"), read_mask(eight / "mask.npy"))


def test_reconstruct_uses_the_coils_of_the_run(eight, images, tmp_path):
    done = call("reconstruct", eight, images, "-o", tmp_path / "out", "--count", 1)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["image-0.npy", "reconstruction-0.png"]
    found = np.load(tmp_path / "out" / "image-0.npy")
    assert found.shape == (12, 12)
    assert found.dtype.kind == "c"
    assert "36 of 144 samples" in text_of(done)
    setup, result = load_learned(eight)
    pairs = load_pairs((str(images),), setup, 1, 2000)
    energy = setup.energy(result.mask, next(iter(result.parameters.values())))
    assert torch.equal(torch.from_numpy(found), torch.complex(*reconstruct(energy, pairs.kspace)[0]))
    error = np.abs(np.abs(found) - pairs.truth.square().sum(1).sqrt()[0].numpy()).mean()
    assert error < 0.1
    again = call("reconstruct", eight, images, "-o", tmp_path / "out")
    assert again.exit_code == 2
    assert "is not empty" in text_of(again)


def test_maps_from_a_file_travel_with_the_run(images, tmp_path):
    maps = birdcage_maps(3, (12, 12)) * 2
    np.save(tmp_path / "own.npy", maps.numpy())
    result = call("learn", images, "--maps", tmp_path / "own.npy", "--rate", 0.5, *SMALL, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    (tmp_path / "own.npy").unlink()
    setup, _ = load_learned(tmp_path / "run")
    found = setup.coil_maps()
    assert found is not None
    assert torch.equal(found, maps)


def test_estimated_maps_of_measured_kspace(tmp_path):
    """A fastMRI file of three coils: maps agree with the true ones where there is signal, up to the first coil's phase."""
    n = 16
    maps, image = birdcage_maps(3, (n, n)), torch.from_numpy(blob(n) + 0.2).to(torch.complex128)
    kspace = torch.fft.fft2(maps * image, norm="ortho")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["kspace"] = center_kspace(kspace)[None].to(torch.complex64).numpy()
    options = ("--size", 12, *SMALL[2:])
    result = call("learn", tmp_path / "scan.h5", "--maps", "espirit", "--rate", 0.5, *options, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    setup, _ = load_learned(tmp_path / "run")
    pairs, found = setup.pairs(), read_maps(tmp_path / "run" / MAPS)
    assert found.shape == (3, 12, 12)
    assert torch.allclose(found.abs().square().sum(0), torch.ones(12, 12, dtype=torch.float64), atol=1e-6)
    clean = CoilFourierTransform(found).A(pairs.truth)
    misfit = float((clean - pairs.kspace).norm() / pairs.kspace.norm())
    assert misfit < 0.1, "the coil-combined image explains the measured k-space"
    assert float(pairs.truth.square().sum(1).sqrt().max()) == pytest.approx(1.0, rel=0.05)
    done = call("reconstruct", tmp_path / "run", tmp_path / "scan.h5", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert np.load(tmp_path / "out" / "image-0.npy").shape == (12, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--coils", 0), "coils: found 0"),
        (("--maps", "nowhere.npy"), "maps: nowhere.npy cannot be read"),
        (("--maps", "real.npy"), "maps: found float64 in real.npy"),
        (("--maps", "large.npy"), "maps: found (9, 9) pixels in large.npy, expected 12 x 12"),
        (("--maps", "two.npy", "--coils", 3), "coils: found 3, but two.npy has maps of 2 coils"),
        (("--maps", "espirit", "--count", 2), "expected one raw file and count 1"),
    ],
)
def test_wrong_coils_are_one_sentence(arguments, message, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("real.npy", np.ones((2, 12, 12)))
    np.save("large.npy", np.ones((2, 9, 9), complex))
    np.save("two.npy", np.ones((2, 12, 12), complex))
    result = call("learn", images, *SMALL, *arguments)
    assert result.exit_code == 2, result.output
    assert message in text_of(result)
    assert not (tmp_path / "runs").exists()
