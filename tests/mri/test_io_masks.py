"""Masks to files and back, and to deepinv."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pypulseq
import pytest
import scipy.io
import torch

from bilearn.data.images import DataError
from bilearn.mri import FourierTransform
from bilearn.mri.io import (
    SequenceSettings,
    as_deepinv_physics,
    center_kspace,
    center_mask,
    export_mask,
    gradient_echo,
    line_axis,
    read_mask,
    to_channels,
    to_complex,
)

SHAPE = (10, 13)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    mask = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    mask[..., 0] = True
    return mask


FREE = random(*SHAPE)
COLUMNS = random(1, SHAPE[1]).expand(SHAPE)
ROWS = random(1, SHAPE[0]).T.expand(SHAPE)
SUFFIX = {"npy": ".npy", "mat": ".mat", "fastmri": ".h5", "ismrmrd": ".mrd", "pulseq": ".seq"}
FORMATS = [(f, m) for f in SUFFIX for m in ("free", "columns", "rows") if f not in ("ismrmrd", "pulseq") or m != "free"]
MASKS = {"free": FREE, "columns": COLUMNS, "rows": ROWS}


@pytest.mark.parametrize(("kind", "name"), FORMATS)
def test_masks_come_back(tmp_path: Path, kind, name: str) -> None:
    file = export_mask(MASKS[name], tmp_path / "new" / f"mask{SUFFIX[kind]}", kind)
    assert torch.equal(read_mask(file), MASKS[name])
    assert read_mask(file).dtype == torch.bool
    assert {p.name for p in file.parent.iterdir()} <= {file.name, f"{file.name}.json"}, "no draft is left behind"


@pytest.mark.parametrize("kind", ["npy", "mat"])
def test_either_convention_is_recorded(tmp_path: Path, kind) -> None:
    file = export_mask(FREE, tmp_path / f"a{SUFFIX[kind]}", convention="unshifted")
    assert torch.equal(read_mask(file), FREE)
    with pytest.raises(DataError, match="the file says it is unshifted, convention is centered"):
        read_mask(file, "centered")


def test_numbers_of_any_type_are_masks(tmp_path: Path) -> None:
    for dtype in (torch.float32, torch.float64, torch.uint8, torch.int64):
        export_mask(FREE.to(dtype), tmp_path / "a.npy", overwrite=True)
        assert torch.equal(read_mask(tmp_path / "a.npy"), FREE)


def test_npy_and_its_record(tmp_path: Path) -> None:
    file = export_mask(FREE, tmp_path / "a.npy")
    stored = np.load(file)
    np.testing.assert_array_equal(stored, center_mask(FREE).numpy())
    assert stored.dtype == bool
    record = json.loads((tmp_path / "a.npy.json").read_text())
    assert record == {
        "convention": "centered",
        "zero_frequency": [5, 6],
        "shape": [10, 13],
        "samples": int(FREE.sum()),
        "rate": pytest.approx(float(FREE.double().mean())),
        "lines": "none",
        "written_by": "bilearn",
    }


def test_mat_fields(tmp_path: Path) -> None:
    contents = scipy.io.loadmat(export_mask(COLUMNS, tmp_path / "a.mat"))
    np.testing.assert_array_equal(contents["mask"], center_mask(COLUMNS).numpy())
    assert contents["mask"].dtype == np.uint8
    assert contents["convention"].item() == "centered"
    assert contents["lines"].item() == "columns"
    assert contents["shape"].ravel().tolist() == list(SHAPE)
    assert contents["samples"].item() == int(COLUMNS.sum())


def test_fastmri_style_mask(tmp_path: Path) -> None:
    with h5py.File(export_mask(COLUMNS, tmp_path / "lines.h5"), "r") as file:
        assert file["mask"].shape == (13,)
        assert file["mask"].dtype == np.float32
        np.testing.assert_array_equal(np.asarray(file["mask"]), center_mask(COLUMNS)[0].numpy())
        assert file.attrs["convention"] == file["mask"].attrs["convention"] == "centered"
    with h5py.File(export_mask(ROWS, tmp_path / "rows.h5"), "r") as file:
        assert file["mask"].shape == SHAPE
        assert file["mask"].attrs["lines"] == "rows"


def test_masks_of_other_tools(tmp_path: Path) -> None:
    centered = center_mask(COLUMNS).numpy()
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["mask"], file["kspace"] = centered[0], np.zeros((1, *SHAPE), np.complex64)
    assert torch.equal(read_mask(tmp_path / "test.h5"), COLUMNS)
    np.save(tmp_path / "a.npy", centered)
    assert torch.equal(read_mask(tmp_path / "a.npy", "centered"), COLUMNS)
    assert torch.equal(read_mask(tmp_path / "a.npy", "unshifted"), torch.from_numpy(centered.copy()))
    scipy.io.savemat(tmp_path / "a.mat", {"mask": centered.astype(float)})
    assert torch.equal(read_mask(tmp_path / "a.mat", "centered"), COLUMNS)
    with pytest.raises(DataError, match="does not say where the zero frequency is; set convention to 'centered'"):
        read_mask(tmp_path / "a.npy")
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["mask"] = centered[0]
    with pytest.raises(DataError, match="how many rows it stands for; add the attribute shape"):
        read_mask(tmp_path / "bare.h5")


def test_ismrmrd_acquisition_list(tmp_path: Path) -> None:
    for mask, axis in ((COLUMNS, 1), (ROWS, 0)):
        settings = SequenceSettings(field_of_view=(0.2, 0.26), slice_thickness=4e-3)
        file = export_mask(mask, tmp_path / f"{axis}.mrd", settings=settings)
        with ismrmrd.Dataset(file, mode="r") as dataset:
            acquisitions = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
            header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
        lines = torch.nonzero(center_mask(mask).any(1 - axis))[:, 0].tolist()
        assert [a.idx.kspace_encode_step_1 for a in acquisitions] == lines
        assert {(a.number_of_samples, a.center_sample) for a in acquisitions} == {
            (SHAPE[1 - axis], SHAPE[1 - axis] // 2)
        }
        assert acquisitions[0].is_flag_set(ismrmrd.ACQ_FIRST_IN_SLICE)
        assert acquisitions[-1].is_flag_set(ismrmrd.ACQ_LAST_IN_SLICE)
        encoding = header.encoding[0]
        assert (encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y) == (
            SHAPE[1 - axis],
            SHAPE[axis],
        )
        limits = encoding.encodingLimits.kspace_encoding_step_1
        assert (limits.minimum, limits.maximum, limits.center) == (0, SHAPE[axis] - 1, SHAPE[axis] // 2)
        view = encoding.encodedSpace.fieldOfView_mm
        assert (view.x, view.y, view.z) == pytest.approx((260, 200, 4) if axis == 0 else (200, 260, 4))


@pytest.mark.parametrize("shape", [(16, 12), (15, 9)])
def test_pulseq_trajectory_is_the_mask(tmp_path: Path, shape: tuple[int, int]) -> None:
    mask = random(1, shape[1], seed=1).expand(shape)
    settings = SequenceSettings(field_of_view=(0.2, 0.24), repetition_time=20e-3)
    sequence = pypulseq.Sequence()
    sequence.read(str(export_mask(mask, tmp_path / "a.seq", settings=settings)))
    lines = torch.nonzero(center_mask(mask)[0])[:, 0].numpy()
    trajectory = sequence.calculate_kspace()[0]
    assert trajectory.shape == (3, shape[0] * len(lines))
    readout = (np.arange(shape[0]) - shape[0] // 2) / 0.2
    np.testing.assert_allclose(trajectory[0], np.tile(readout, len(lines)), atol=1e-3 / 0.2)
    np.testing.assert_allclose(trajectory[1], np.repeat((lines - shape[1] // 2) / 0.24, shape[0]), atol=1e-3 / 0.24)
    assert np.abs(trajectory[2]).max() < 1e-2, "the slice is refocused"
    assert sequence.check_timing()[0]
    assert sequence.duration()[0] == pytest.approx(20e-3 * len(lines), abs=1e-4)
    assert sequence.evaluate_labels(evolution="adc")["LIN"].tolist() == lines.tolist()
    assert [float(v) for v in sequence.get_definition("FOV")] == pytest.approx([0.2, 0.24, 3e-3])


def test_pulseq_within_the_limits_for_every_line(tmp_path: Path) -> None:
    settings = SequenceSettings(field_of_view=0.2)
    sequence = gradient_echo(list(range(0, 192, 16)), 192, 192, 1, settings)
    gradients = sequence.waveforms()
    hertz_per_tesla = 42.576e6
    for times, values in ((g[0], g[1]) for g in gradients if g is not None and g.size):
        assert np.abs(values).max() <= 28e-3 * hertz_per_tesla * (1 + 1e-9)
        steps = np.diff(times)
        slew = np.abs(np.diff(values))[steps > 1e-9] / steps[steps > 1e-9]
        assert slew.max() <= 150 * hertz_per_tesla * (1 + 1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SequenceSettings(field_of_view=0.0), "expected positive lengths"),
        (SequenceSettings(slice_thickness=-1e-3), "expected positive lengths"),
        (SequenceSettings(repetition_time=1e-3), "repetition_time 0.001 s is shorter than the events"),
        (SequenceSettings(field_of_view=0.01, dwell=1e-6), "cannot be played within the limits"),
        (SequenceSettings(dwell=1.03e-5 + 1.3e-8), "timing rules of the scanner"),
    ],
)
def test_sequences_that_cannot_be_played(tmp_path: Path, settings: SequenceSettings, message: str) -> None:
    with pytest.raises(DataError, match=message):
        export_mask(COLUMNS, tmp_path / "a.seq", settings=settings)
    assert not (tmp_path / "a.seq").exists()


def test_pulseq_files_that_are_no_masks(tmp_path: Path) -> None:
    file = export_mask(COLUMNS, tmp_path / "a.seq")
    text = file.read_text()
    # the grid is claimed to be finer, larger and smaller than what is played
    for old, new, message in (
        ("FOV 0.256 0.256", "FOV 0.256 0.3", "grid steps off the grid"),
        ("MatrixSize 10 13", "MatrixSize 12 13", "expected 12 samples in every line"),
        ("MatrixSize 10 13", "MatrixSize 8 13", "samples outside of the grid of 8 x 13"),
        ("PhaseAxis 1", "Other 1", "lacks the definitions PhaseAxis"),
    ):
        assert old in text
        (tmp_path / "b.seq").write_text(text.replace(old, new))
        with pytest.raises(DataError, match=message):
            read_mask(tmp_path / "b.seq")
    (tmp_path / "c.seq").write_text("no sequence")
    with pytest.raises(DataError):
        read_mask(tmp_path / "c.seq")


@pytest.mark.parametrize("shape", [(8, 6), (7, 9)])
def test_deepinv_operator_is_our_masked_transform(shape: tuple[int, int]) -> None:
    g = torch.Generator().manual_seed(0)
    mask = random(*shape)
    x = torch.randn(2, 2, *shape, dtype=torch.float64, generator=g)
    ours = mask * FourierTransform().A(x)
    physics = as_deepinv_physics(mask, dtype=torch.float64)
    torch.testing.assert_close(physics.A(x), to_channels(center_kspace(to_complex(ours))))
    torch.testing.assert_close(physics(x), physics.A(x))
    torch.testing.assert_close(physics.A_adjoint(physics.A(x)), FourierTransform().A_adjoint(ours))
    soft = torch.rand(shape, dtype=torch.float64, generator=g)
    expected = center_kspace(soft * torch.fft.fft2(to_complex(x), norm="ortho"))
    torch.testing.assert_close(to_complex(as_deepinv_physics(soft, dtype=torch.float64).A(x)), expected)
    assert as_deepinv_physics(mask).A(x.float()).dtype == torch.float32


def test_deepinv_operator_of_several_coils() -> None:
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(3, *SHAPE, dtype=torch.complex64, generator=g)
    x = torch.randn(2, 2, *SHAPE, generator=g)
    expected = center_kspace(FREE * torch.fft.fft2(maps * to_complex(x)[:, None], norm="ortho"))
    torch.testing.assert_close(as_deepinv_physics(FREE, maps).A(x), torch.stack((expected.real, expected.imag), 1))


def test_deepinv_errors() -> None:
    with pytest.raises(DataError, match=r"mask: found shape \(1, 4, 4\), expected \(H, W\)"):
        as_deepinv_physics(torch.ones(1, 4, 4))
    with pytest.raises(DataError, match=r"found entries in \[0, 2\], expected \[0, 1\]"):
        as_deepinv_physics(2 * torch.eye(4))
    with pytest.raises(DataError, match=r"found entries in \[nan, nan\]"):
        as_deepinv_physics(torch.full((2, 2), math.nan))
    with pytest.raises(
        DataError, match=r"coil_maps: found torch.float32 of shape \(2, 4, 4\), expected complex \(coils, 4, 4\)"
    ):
        as_deepinv_physics(torch.eye(4), torch.ones(2, 4, 4))


@pytest.mark.parametrize("kind", list(SUFFIX))
def test_files_are_never_replaced_silently(tmp_path: Path, kind) -> None:
    file = export_mask(COLUMNS, tmp_path / f"a{SUFFIX[kind]}", kind)
    before = file.read_bytes()
    other = COLUMNS.roll(1, 1)
    with pytest.raises(DataError, match="exists already; choose another name, or set overwrite = true"):
        export_mask(other, file, kind)
    assert file.read_bytes() == before
    export_mask(other, file, kind, overwrite=True)
    assert torch.equal(read_mask(file), other)


def test_a_record_without_its_mask_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "a.npy.json").write_text("mine")
    with pytest.raises(DataError, match=r"a\.npy\.json: exists already"):
        export_mask(FREE, tmp_path / "a.npy")
    assert not (tmp_path / "a.npy").exists()


def test_export_errors(tmp_path: Path) -> None:
    for mask, message in (
        (FREE[None], r"found shape \(1, 10, 13\), expected \(H, W\)"),
        (0.5 * FREE.double(), r"entries other than 0 and 1, expected a binary mask; round the pattern first"),
        (torch.zeros(4, 4), "found no sample"),
    ):
        with pytest.raises(DataError, match=message):
            export_mask(mask, tmp_path / "a.npy")
    for kind in ("ismrmrd", "pulseq"):
        with pytest.raises(DataError, match=f"{kind}: holds Cartesian lines only"):
            export_mask(FREE, tmp_path / f"a{SUFFIX[kind]}", kind)
        with pytest.raises(DataError, match=f"files of format {kind} are centered"):
            export_mask(COLUMNS, tmp_path / f"a{SUFFIX[kind]}", kind, convention="unshifted")
    with pytest.raises(DataError, match=r"suffix '\.txt', expected one of \.npy, \.mat, \.h5, \.hdf5, \.mrd, \.seq"):
        export_mask(FREE, tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"suffix '\.npy', expected \.mat for mat"):
        export_mask(FREE, tmp_path / "a.npy", "mat")
    with pytest.raises(DataError, match="format: found 'png', expected one of npy, mat"):
        export_mask(FREE, tmp_path / "a.npy", "png")  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="convention: found 'middle'"):
        export_mask(FREE, tmp_path / "a.npy", convention="middle")  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())


def test_read_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_mask(tmp_path / "a.npy")
    for suffix, message in (
        (".npy", "cannot be read as a mask"),
        (".mat", "cannot be read as a MATLAB file"),
        (".h5", "cannot be read as HDF5"),
        (".txt", r"suffix '\.txt', expected one of"),
    ):
        (tmp_path / f"a{suffix}").write_text("nothing of the kind")
        with pytest.raises(DataError, match=message):
            read_mask(tmp_path / f"a{suffix}")
    scipy.io.savemat(tmp_path / "b.mat", {"pattern": np.eye(3)})
    with pytest.raises(DataError, match="found pattern, expected a field 'mask'"):
        read_mask(tmp_path / "b.mat")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["pattern"] = np.eye(3)
    with pytest.raises(DataError, match="found pattern, expected a data set 'mask'"):
        read_mask(tmp_path / "b.h5")
    np.save(tmp_path / "c.npy", np.full((3, 3), 0.5))
    with pytest.raises(DataError, match=r"c\.npy: found 9 entries other than 0 and 1"):
        read_mask(tmp_path / "c.npy", "centered")


@pytest.mark.parametrize(("kind", "module"), [("fastmri", "h5py"), ("ismrmrd", "ismrmrd"), ("pulseq", "pypulseq")])
def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind, module: str) -> None:
    file = export_mask(COLUMNS, tmp_path / f"a{SUFFIX[kind]}", kind)
    monkeypatch.setitem(sys.modules, module, None)
    for call in (lambda: read_mask(file), lambda: export_mask(COLUMNS, tmp_path / f"b{SUFFIX[kind]}", kind)):
        with pytest.raises(DataError, match=rf'{module.split(".")[0]} is not installed.*pip install "bilearn\[mri\]"'):
            call()


def test_line_axis() -> None:
    assert line_axis(COLUMNS) == 1
    assert line_axis(ROWS) == 0
    assert line_axis(FREE) is None
    assert line_axis(torch.ones(4, 4, dtype=torch.bool)) == 1
