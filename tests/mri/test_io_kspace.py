"""K-space out of fastMRI and ISMRMRD files."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from ismrmrd import xsd

from bilearn.data.images import DataError
from bilearn.mri.io import (
    center_kspace,
    export_mask,
    load_images,
    pad_or_crop,
    parse_header,
    read_fastmri,
    read_ismrmrd,
    to_complex,
    unshift_mask,
)


def header(encoded: tuple[int, int], reconstructed: tuple[int, int], lines: tuple[int, int, int]) -> str:
    def space(size: tuple[int, int]) -> xsd.encodingSpaceType:
        matrix = xsd.matrixSizeType(x=size[0], y=size[1], z=1)
        return xsd.encodingSpaceType(matrixSize=matrix, fieldOfView_mm=xsd.fieldOfViewMm(x=1.0, y=1.0, z=1.0))

    limit = xsd.limitType(minimum=lines[0], maximum=lines[1], center=lines[2])
    encoding = xsd.encodingType(
        encodedSpace=space(encoded),
        reconSpace=space(reconstructed),
        encodingLimits=xsd.encodingLimitsType(kspace_encoding_step_1=limit),
        trajectory=xsd.trajectoryType.CARTESIAN,
    )
    conditions = xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_500_000)
    return xsd.ToXML(xsd.ismrmrdHeader(experimentalConditions=conditions, encoding=[encoding]))


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def fastmri(
    path: Path, x: torch.Tensor, reconstruction: tuple[int, int] | None = None, mask: np.ndarray | None = None
) -> Path:
    """A file as fastMRI makes them from the images (slices, [coils,] H, W)."""
    kspace = center_kspace(torch.fft.fft2(x, norm="ortho")).numpy()
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace if mask is None else kspace * mask
        if mask is not None:
            file["mask"] = mask
        if reconstruction is not None:
            shape = (x.shape[-2], x.shape[-1])
            file["ismrmrd_header"] = header(shape, reconstruction, (0, shape[1] - 1, shape[1] // 2))
        file["reconstruction_esc"] = np.arange(len(x), dtype=np.float32)[:, None, None] * np.ones((4, 4), np.float32)
        file.attrs["acquisition"], file.attrs["max"], file.attrs["vector"] = "CORPD_FBK", np.float64(2.5), [1, 2]
    return path


def test_fastmri_single_coil(tmp_path: Path) -> None:
    x = images(3, 8, 7)
    raw = read_fastmri(fastmri(tmp_path / "f.h5", x), slices=[2, 0])
    assert raw.kspace.shape == (2, 1, 8, 7)
    torch.testing.assert_close(raw.kspace[:, 0], torch.fft.fft2(x[[2, 0]], norm="ortho"))
    torch.testing.assert_close(to_complex(raw.images()), x[[2, 0]])
    assert raw.mask is None
    assert raw.reference is not None
    assert raw.reference[:, 0, 0].tolist() == [2, 0]
    assert raw.attributes == {"acquisition": "CORPD_FBK", "max": 2.5}


def test_fastmri_coils_combine_to_a_root_sum_of_squares(tmp_path: Path) -> None:
    x = images(2, 3, 8, 7)
    raw = read_fastmri(fastmri(tmp_path / "f.h5", x))
    torch.testing.assert_close(to_complex(raw.coil_images()), x)
    torch.testing.assert_close(raw.images()[:, 0], x.abs().square().sum(1).sqrt())
    assert torch.count_nonzero(raw.images()[:, 1]) == 0


def test_fastmri_impulse_sits_where_their_tools_put_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        kspace = np.zeros((1, 6, 8), np.complex64)
        kspace[0, 3, 4] = 1
        file["kspace"] = kspace
    raw = read_fastmri(tmp_path / "f.h5")
    assert torch.nonzero(raw.kspace[0, 0]).tolist() == [[0, 0]]
    flat = raw.images()[0, 0]
    torch.testing.assert_close(flat, torch.full_like(flat, 48**-0.5))


def test_readout_oversampling_is_cropped_in_the_image(tmp_path: Path) -> None:
    """640 rows for 320: an object that fits the field of view keeps its values and its resolution."""
    inner = images(1, 8, 10)
    file = fastmri(tmp_path / "f.h5", pad_or_crop(inner, (16, 10)), (8, 6))
    rows = read_fastmri(file, crop="readout")
    assert rows.kspace.shape[-2:] == (8, 10)
    torch.testing.assert_close(to_complex(rows.images()), inner)
    both = read_fastmri(file, crop="reconstruction")
    torch.testing.assert_close(to_complex(both.images()), pad_or_crop(inner, (8, 6)))
    small = fastmri(tmp_path / "g.h5", inner, (20, 20))
    assert read_fastmri(small, crop="reconstruction").kspace.shape[-2:] == (8, 10)


def test_fastmri_mask_stays_valid_when_rows_are_cropped(tmp_path: Path) -> None:
    mask = np.array([0, 1, 0, 1, 1, 1, 0, 0, 1], np.float32)
    file = fastmri(tmp_path / "f.h5", images(1, 8, 9), (4, 9), mask)
    raw = read_fastmri(file, crop="readout")
    assert raw.mask is not None
    assert torch.equal(raw.mask, unshift_mask(torch.from_numpy(mask != 0).expand(4, 9)))
    assert bool(raw.mask[0, 0])
    assert float(raw.kspace[0, 0][~raw.mask].abs().max()) < 1e-6
    with pytest.raises(DataError, match="undersampled, and cropping columns"):
        read_fastmri(file, crop="reconstruction")
    with pytest.raises(DataError, match="k-space is undersampled, so there is no image to load"):
        load_images(file)


def test_load_images_from_kspace(tmp_path: Path) -> None:
    x = images(2, 16, 9)
    file = fastmri(tmp_path / "f.h5", x, (8, 9))
    loaded = load_images(file, indices=[1])
    cropped = pad_or_crop(x, (8, 9)).to(torch.complex128)
    torch.testing.assert_close(to_complex(loaded)[0], cropped[1] / cropped.abs().max(), rtol=1e-5, atol=1e-6)
    other = acquire(tmp_path / "i.mrd", x[:1, None])
    torch.testing.assert_close(
        to_complex(load_images(other, scale=1.0)), x[:1].to(torch.complex128), rtol=1e-5, atol=1e-5
    )


def test_fastmri_errors(tmp_path: Path) -> None:
    def written(name: str, **contents: np.ndarray) -> Path:
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in contents.items():
                file[key] = value
        return tmp_path / name

    kspace = np.ones((2, 4, 4), np.complex64)
    plain = written("plain.h5", kspace=kspace)
    with pytest.raises(DataError, match="no such file"):
        read_fastmri(tmp_path / "none.h5")
    with pytest.raises(DataError, match="crop: found 'all', expected 'none', 'readout' or 'reconstruction'"):
        read_fastmri(plain, crop="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="found volume, expected a data set 'kspace'"):
        read_fastmri(written("other.h5", volume=kspace))
    with pytest.raises(DataError, match="type float32, expected complex numbers"):
        read_fastmri(written("real.h5", kspace=kspace.real))
    with pytest.raises(DataError, match="slice 2 does not exist, expected 0 to 1"):
        read_fastmri(plain, slices=[2])
    with pytest.raises(DataError, match="has no ismrmrd_header, from which crop = 'readout'"):
        read_fastmri(plain, crop="readout")
    with pytest.raises(DataError, match=r"mask has shape \(3,\), expected \(4,\)"):
        read_fastmri(written("mask.h5", kspace=kspace, mask=np.ones(3)))
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        read_fastmri(tmp_path / "text.h5")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        load_images(tmp_path / "text.h5")
    with pytest.raises(DataError, match=r"found volume, expected 'kspace' \(fastMRI\) or 'dataset' \(ISMRMRD\)"):
        load_images(tmp_path / "other.h5")


def acquire(
    path: Path,
    x: torch.Tensor,
    lines: list[int] | None = None,
    first: int = 0,
    center: int | None = None,
    repeat: int = 1,
    noise: bool = False,
) -> Path:
    """An ISMRMRD file with the lines of images (slices, coils, H, W), counted by the scanner from ``first``."""
    kspace = center_kspace(torch.fft.fft2(x, norm="ortho")).numpy()
    rows, columns = kspace.shape[-2:]
    center = columns // 2 if center is None else center
    with ismrmrd.Dataset(path, mode="w") as dataset:
        dataset.write_xml_header(
            header((rows, columns), (rows, columns), (first, first + columns - 1, center)).encode()
        )
        if noise:
            scan = ismrmrd.Acquisition.from_array(np.full((1, 5), 9, np.complex64))
            scan.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            dataset.append_acquisition(scan)
        for index in range(kspace.shape[0]):
            for line in range(columns) if lines is None else lines:
                for k in range(repeat):
                    data = np.ascontiguousarray(kspace[index, :, :, line]) * (1 + 0.5 * (2 * k - repeat + 1))
                    acquisition = ismrmrd.Acquisition.from_array(data.astype(np.complex64), center_sample=rows // 2)
                    acquisition.idx.slice = index
                    acquisition.idx.kspace_encode_step_1 = line + center - columns // 2
                    dataset.append_acquisition(acquisition)
    return path


@pytest.mark.parametrize("shape", [(1, 1, 8, 6), (2, 3, 7, 9)])
def test_ismrmrd_full_scan(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = images(*shape)
    raw = read_ismrmrd(acquire(tmp_path / "a.h5", x, noise=True))
    assert raw.mask is None
    torch.testing.assert_close(raw.kspace, torch.fft.fft2(x, norm="ortho"), rtol=1e-5, atol=1e-5)


def test_ismrmrd_selected_lines_repetitions_and_scanner_counting(tmp_path: Path) -> None:
    x = images(2, 1, 8, 6)
    raw = read_ismrmrd(acquire(tmp_path / "a.h5", x, lines=[1, 3, 4], center=10, repeat=2))
    centered = torch.zeros(8, 6, dtype=torch.bool)
    centered[:, [1, 3, 4]] = True
    assert raw.mask is not None
    assert torch.equal(raw.mask, unshift_mask(centered))
    torch.testing.assert_close(raw.kspace, raw.mask * torch.fft.fft2(x, norm="ortho"), rtol=1e-5, atol=1e-5)


def test_ismrmrd_errors(tmp_path: Path) -> None:
    x = images(1, 1, 8, 6)
    (tmp_path / "text.mrd").write_text("x")
    with pytest.raises(DataError, match="cannot be read as ISMRMRD"):
        read_ismrmrd(tmp_path / "text.mrd")
    with pytest.raises(DataError, match="expected a group 'scan'"):
        read_ismrmrd(acquire(tmp_path / "a.mrd", x), group="scan")
    with pytest.raises(DataError, match="found 1 acquisitions and none with image data"):
        read_ismrmrd(acquire(tmp_path / "noise.mrd", x, lines=[], noise=True))

    def changed(name: str, **fields: int) -> Path:
        file = acquire(tmp_path / name, x, lines=[0])
        with ismrmrd.Dataset(file, mode="r+") as dataset:
            acquisition = dataset.read_acquisition(0)
            for field, value in fields.items():
                setattr(acquisition if field in ("center_sample",) else acquisition.idx, field, value)
            dataset.write_acquisition(acquisition, 0)
        return file

    with pytest.raises(DataError, match="is not two-dimensional Cartesian"):
        read_ismrmrd(changed("3d.mrd", kspace_encode_step_2=1))
    with pytest.raises(DataError, match="covers column 7, rows 0 to 7, expected 1 channels within a grid of 8 x 6"):
        read_ismrmrd(changed("far.mrd", kspace_encode_step_1=7))
    with pytest.raises(DataError, match="covers column 0, rows -1 to 6"):
        read_ismrmrd(changed("echo.mrd", center_sample=5))
    with pytest.raises(DataError, match="slices were sampled at different places, expected the same samples in all 2"):
        read_ismrmrd(changed("slices.mrd", slice=1))


def test_header_errors() -> None:
    with pytest.raises(DataError, match="the ISMRMRD header is no XML"):
        parse_header("nothing", "f.h5")
    with pytest.raises(DataError, match="lacks the element encoding/encodedSpace/matrixSize/x"):
        parse_header('<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"/>', "f.h5")


def test_exported_lines_are_the_mask_of_a_scan(tmp_path: Path) -> None:
    """An acquisition list, once filled with data, reads as k-space with just this mask."""
    mask = torch.zeros(8, 6, dtype=torch.bool)
    mask[:, [0, 1, 4]] = True
    raw = read_ismrmrd(export_mask(mask, tmp_path / "list.mrd"))
    assert raw.mask is not None
    assert torch.equal(raw.mask, mask)
    assert torch.count_nonzero(raw.kspace) == 0


@pytest.mark.parametrize(
    ("module", "reader"), [("h5py", read_fastmri), ("h5py", load_images), ("ismrmrd", read_ismrmrd)]
)
def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, reader) -> None:
    file = fastmri(tmp_path / "f.h5", images(1, 4, 4))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf'{module} is not installed; install it with: pip install "bilearn\[mri\]"'):
        reader(file)
