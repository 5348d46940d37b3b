"""``bilearn sample learn --pattern``: spokes, angles, trajectories; what is written and what is refused."""

import numpy as np
import pytest
import torch
from scipy.io import loadmat
from typer.testing import CliRunner

from bilearn.cli.main import app
from bilearn.mri.io import read_mask
from bilearn.sampling import SamplingResult

SMALL = ("--size", 12, "--count", 1, "--steps", 2, "--exchanges", 0, "--starts", "0.5", "--regularizer", "h1")


def call(*arguments):
    return CliRunner().invoke(app, ["sample", *map(str, arguments)])


def text_of(result):
    return " ".join(result.output.split())


@pytest.fixture(autouse=True)
def no_pages(monkeypatch):
    """Only the shared run draws its page and figures."""
    monkeypatch.setattr("bilearn.sampling_study.directory.write_page", lambda directory, *_: directory / "report.html")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("patterns") / "blob.npy"
    axis = np.linspace(-1, 1, 12)
    np.save(path, np.exp(-6 * (axis[:, None] ** 2 + 2 * axis**2))[None])
    return path


@pytest.fixture(scope="module")
def bent(images, tmp_path_factory):
    run = tmp_path_factory.mktemp("bent") / "run"
    result = call("learn", images, "--pattern", "trajectory", "--rate", 0.25, *SMALL, "--max-slew", 100, "-o", run)
    assert result.exit_code == 0, result.output
    return run, text_of(result)


def test_spokes_take_whole_spokes(images, tmp_path):
    result = call(
        "learn", images, "--pattern", "spokes", "--readouts", 6, "--rate", 0.3, *SMALL, "-q", "-o", tmp_path / "run"
    )
    assert result.exit_code == 0, result.output
    learned = SamplingResult.load(tmp_path / "run")
    from bilearn.mri.patterns import SpokePattern

    groups = SpokePattern(torch.ones(6), (12, 12)).groups
    taken = [bool(learned.mask[groups == j].all()) for j in range(6)]
    assert all(bool(learned.mask[groups == j].any()) == whole for j, whole in enumerate(taken))
    assert 1 <= sum(taken) < 6
    assert learned.attempt.last.certified


def test_trajectories_are_within_the_limits_and_lower_the_loss(bent):
    run, shown = bent
    learned = SamplingResult.load(run)
    assert learned.locations is not None
    assert learned.locations.shape == (3, 12, 2), "a quarter of 144 points in readouts of 12"
    assert learned.settings["feasible"]
    assert learned.settings["slew"] <= 100
    assert "largest slew rate" in shown
    assert [s.name for s in learned.attempt.snapshots] == ["relaxed", "rounded", "tuned"]
    assert learned.attempt.at("tuned").loss <= learned.attempt.at("rounded").loss
    nearest = torch.zeros(12, 12, dtype=torch.bool)
    at = learned.locations.reshape(-1, 2).round().long() % 12
    nearest[at[:, 0], at[:, 1]] = True
    assert torch.equal(nearest, learned.mask)
    assert torch.equal(read_mask(run / "mask.npy"), learned.mask)
    assert (run / "readouts.png").is_file()


def test_trajectories_are_exported_as_locations_only(bent, tmp_path):
    run, _ = bent
    learned = SamplingResult.load(run)
    assert learned.locations is not None
    for name in ("readouts.npz", "readouts.mat"):
        written = call("export", run, tmp_path / name, "--trajectory")
        assert written.exit_code == 0, written.output
        stored = np.load(tmp_path / name) if name.endswith("npz") else loadmat(tmp_path / name)
        assert np.array_equal(stored["locations"], learned.locations)
        speed = np.diff(stored["locations"], axis=1) / (0.22 * 42.577478518e6 * 1e-5)
        assert np.allclose(stored["gradients"], speed, rtol=1e-12)
    for target in ("scan.seq", "scan.mrd"):
        refused = call("export", run, tmp_path / target)
        assert refused.exit_code == 2
        assert "holds Cartesian lines only" in text_of(refused)
        assert "--trajectory" in text_of(refused)
        assert not (tmp_path / target).exists()
    assert call("export", run, tmp_path / "mask.mat").exit_code == 0
    again = call("export", run, tmp_path / "readouts.mat", "--trajectory")
    assert again.exit_code == 2
    assert "exists already" in text_of(again)
    assert "expected .npz or .mat" in text_of(call("export", run, tmp_path / "readouts.csv", "--trajectory"))


@pytest.mark.parametrize("pattern", ["angles", "spiral"])
def test_angles_and_spirals(pattern, images, tmp_path):
    result = call("learn", images, "--pattern", pattern, "--rate", 0.25, *SMALL, "-q", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    learned = SamplingResult.load(tmp_path / "run")
    assert learned.locations is not None
    assert learned.locations.shape[:2].numel() == 36
    if pattern == "angles":
        k = learned.locations
        cross = k[:, :, 0] * k[:, :1, 1] - k[:, :, 1] * k[:, :1, 0]
        assert float(cross.abs().max()) < 1e-9, "spokes stay straight"
        assert "--trajectory" in text_of(call("export", tmp_path / "run", tmp_path / "scan.seq"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pattern", "angles", "--penalty", 0.1, 0.1), "penalty: found one for angles"),
        (("--pattern", "spiral", "--center", 4), "center: found 4 for spiral"),
        (("--readouts", 4), "readouts: found 4 for points"),
        (("--pattern", "trajectory", "--dwell", 0), "HardwareLimits.dwell: found 0"),
        (("--pattern", "stars"), "pattern: found 'stars', expected one of points, rows, columns, spokes, angles"),
    ],
)
def test_wrong_patterns_are_one_sentence(arguments, message, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("learn", images, *SMALL, *arguments)
    assert result.exit_code == 2, result.output
    assert message in text_of(result)
    assert not list(tmp_path.iterdir())


def test_no_trajectory_to_export(images, tmp_path):
    result = call("export", tmp_path, tmp_path / "readouts.npz", "--trajectory")
    assert result.exit_code == 2
    assert "found no trajectory.npz" in text_of(result)
