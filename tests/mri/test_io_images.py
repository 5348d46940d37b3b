"""Images out of NIfTI, DICOM, arrays, data sets and wheels; simulated phase and noise."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from bilearn.data.images import DataError
from bilearn.mri.io import (
    MRI_IMAGES,
    images_from_dataset,
    load_images,
    mri_image_names,
    mri_images,
    pad_or_crop,
    read_array,
    read_dicom,
    read_images,
    read_nifti_slices,
    simulate_kspace,
    smooth_phase,
    to_complex,
)


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    import nibabel

    nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine).to_filename(path)
    return path


def dicom(path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2") -> Path:
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    color = photometric == "RGB"
    dataset.SamplesPerPixel = 3 if color else 1
    if color:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = pixels.shape[:2] if color else pixels.shape[-2:]
    if pixels.ndim == 3 and not color:
        dataset.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="module")
def brain() -> torch.Tensor:
    """The training slices at full size, read once."""
    return mri_images("brain-train", None)


VOLUME = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)


@pytest.mark.parametrize(
    ("axis", "number", "expected"),
    [
        ("sagittal", 0, VOLUME[2].T[::-1]),
        ("coronal", 1, VOLUME[:, 2].T[::-1]),
        ("axial", 2, VOLUME[:, :, 2].T[::-1]),
    ],
)
def test_nifti_slices_are_upright(tmp_path: Path, axis: str, number: int, expected: np.ndarray) -> None:
    file = nifti(tmp_path / "v.nii.gz", VOLUME)
    images = read_nifti_slices(file, axis, [2], scale=1.0)
    np.testing.assert_array_equal(images[0, 0].numpy(), expected)
    assert torch.count_nonzero(images[:, 1]) == 0
    assert torch.equal(images, read_nifti_slices(file, number, [2], scale=1.0))


def test_nifti_orientation_of_the_file_does_not_matter(tmp_path: Path) -> None:
    plain = read_nifti_slices(nifti(tmp_path / "a.nii", VOLUME), "axial")
    flipped = nifti(
        tmp_path / "b.nii",
        VOLUME[::-1].transpose(1, 0, 2),
        np.array([[0, -1, 0, 2], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    )
    assert torch.equal(read_nifti_slices(flipped, "axial"), plain)
    assert plain.shape == (5, 2, 4, 3)
    assert plain.dtype == torch.float64
    assert float(plain.max()) == 1.0


def test_nifti_series_complex_size_and_scale(tmp_path: Path) -> None:
    series = np.stack([VOLUME, 2 * VOLUME], -1)
    file = nifti(tmp_path / "s.nii", series)
    assert torch.equal(read_nifti_slices(file, volume=1, scale=2.0), read_nifti_slices(file, volume=0, scale=1.0))
    dim = read_nifti_slices(file, "sagittal", [0])
    assert float(dim.max()) == VOLUME[0].max() / VOLUME.max(), "slices keep the brightness they have in the volume"
    assert read_nifti_slices(file, indices=[0, 3], size=(6, 2)).shape == (2, 2, 6, 2)
    imaginary = nifti(tmp_path / "c.nii", (1j * VOLUME).astype(np.complex64))
    assert torch.count_nonzero(read_nifti_slices(imaginary)[:, 0]) == 0
    assert float(read_nifti_slices(imaginary)[:, 1].max()) == 1.0


def test_nifti_errors(tmp_path: Path) -> None:
    file = nifti(tmp_path / "v.nii", VOLUME)
    with pytest.raises(DataError, match="no such file"):
        read_nifti_slices(tmp_path / "none.nii")
    with pytest.raises(DataError, match="axis: found 'oblique', expected 'sagittal'"):
        read_nifti_slices(file, "oblique")
    with pytest.raises(DataError, match="slice 5 does not exist, expected 0 to 4 along axis 2"):
        read_nifti_slices(file, indices=[5])
    series = nifti(tmp_path / "s.nii", VOLUME[..., None])
    with pytest.raises(DataError, match="volume 1 does not exist, expected 0 to 0"):
        read_nifti_slices(series, volume=1)
    with pytest.raises(DataError, match=r"shape \(3, 4\), expected a volume"):
        read_nifti_slices(nifti(tmp_path / "flat.nii", VOLUME[..., 0]))
    with pytest.raises(DataError, match="found only zeros"):
        read_nifti_slices(nifti(tmp_path / "zero.nii", 0 * VOLUME), scale=None)
    (tmp_path / "broken.nii").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as NIfTI"):
        read_nifti_slices(tmp_path / "broken.nii")


def test_dicom_frames_scale_and_inversion(tmp_path: Path) -> None:
    pixels = np.arange(2 * 4 * 6, dtype=np.uint16).reshape(2, 4, 6)
    images = read_dicom(dicom(tmp_path / "a.dcm", pixels), scale=1.0)
    np.testing.assert_array_equal(images[:, 0].numpy(), pixels)
    assert torch.count_nonzero(images[:, 1]) == 0
    inverted = read_dicom(dicom(tmp_path / "b.dcm", pixels[0], "MONOCHROME1"), size=8)
    assert inverted.shape == (1, 2, 8, 8)
    assert float(inverted[0, 0, 2, 1]) == 1.0


def test_dicom_errors(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(DataError, match="cannot be read as a DICOM image"):
        read_dicom(tmp_path / "text.dcm")
    with pytest.raises(DataError, match="found 3 colors a pixel"):
        read_dicom(dicom(tmp_path / "c.dcm", np.ones((4, 4, 3), np.uint8), "RGB"))


def test_arrays_of_every_kind_become_two_channels(tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(3, 4, 5)) + 1j
    np.save(tmp_path / "c.npy", z)
    np.savez(tmp_path / "one.npz", images=z.astype(np.complex64))
    scipy.io.savemat(tmp_path / "m.mat", {"kspace": z, "other": z.real})
    complex_images = read_images(tmp_path / "c.npy", scale=1.0)
    np.testing.assert_allclose(to_complex(complex_images).numpy(), z)
    np.testing.assert_allclose(read_images(tmp_path / "one.npz", scale=1.0), complex_images, atol=1e-6)
    assert torch.equal(read_images(tmp_path / "m.mat", "kspace", scale=1.0), complex_images)
    assert float(to_complex(read_images(tmp_path / "c.npy")).abs().max()) == pytest.approx(1.0)
    for array, shape in (
        (z[0], (1, 2, 4, 5)),
        (z[:, None], (3, 2, 4, 5)),
        (z[0].real, (1, 2, 4, 5)),
        (z.real, (3, 2, 4, 5)),
        (z[:2].real, (1, 2, 4, 5)),
        (z[:, None].real, (3, 2, 4, 5)),
        (np.stack((z.real, z.imag), 1), (3, 2, 4, 5)),
        (np.arange(20).reshape(4, 5), (1, 2, 4, 5)),
    ):
        np.save(tmp_path / "a.npy", array)
        assert read_images(tmp_path / "a.npy").shape == shape


def test_array_errors(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    (tmp_path / "x.mat").write_text("no MATLAB file")
    with pytest.raises(DataError, match=r"cannot be read as a MATLAB file .* save it with -v7"):
        read_array(tmp_path / "x.mat")
    with pytest.raises(DataError, match="several fields; name one of: a, b"):
        read_array(tmp_path / "two.npz")
    with pytest.raises(DataError, match="no field 'c'; name one of: a, b"):
        read_array(tmp_path / "two.npz", "c")
    (tmp_path / "x.npy").write_text("no array")
    with pytest.raises(DataError, match="cannot be read as an array"):
        read_array(tmp_path / "x.npy")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"suffix '\.csv', expected \.npy, \.npz or \.mat"):
        read_array(tmp_path / "x.csv")
    for array, message in (
        (np.ones((2, 3, 4, 5)), "real numbers of shape"),
        (np.ones((2, 3, 4, 5), complex), "complex numbers of shape"),
        (np.ones((0, 4, 4)), "not empty"),
        (np.full((4, 4), np.nan), "found NaN or infinity"),
        (np.zeros((4, 4)), "found only zeros"),
    ):
        np.save(tmp_path / "bad.npy", array)
        with pytest.raises(DataError, match=message):
            read_images(tmp_path / "bad.npy")
    np.save(tmp_path / "ok.npy", np.ones((4, 4)))
    with pytest.raises(DataError, match="found scale = -1"):
        read_images(tmp_path / "ok.npy", scale=-1.0)


def test_deepinv_data_sets() -> None:
    from deepinv.datasets import TensorDataset

    images = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    read = images_from_dataset(TensorDataset(x=images, y=2 * images), count=3)
    torch.testing.assert_close(read[:, :1], images[:3].double())
    assert torch.count_nonzero(read[:, 1]) == 0
    channels = torch.rand(4, 2, 6, 6)
    torch.testing.assert_close(images_from_dataset(list(channels)), channels.double())
    assert images_from_dataset([torch.rand(1, 3, 4), torch.rand(5, 5, dtype=torch.complex64)], size=4).shape == (
        2,
        2,
        4,
        4,
    )


def test_data_set_errors() -> None:
    with pytest.raises(DataError, match="found no item"):
        images_from_dataset([])
    with pytest.raises(DataError, match="item 0: found 3 channels"):
        images_from_dataset([torch.ones(3, 4, 4)])
    with pytest.raises(DataError, match="item 0: found str"):
        images_from_dataset(["image"])
    with pytest.raises(DataError, match=r"item 0: found a tensor of shape \(4, 4\)"):
        images_from_dataset([torch.ones(4, 4)])
    with pytest.raises(DataError, match="set size to pad or crop"):
        images_from_dataset([torch.ones(1, 4, 4), torch.ones(1, 5, 5)])


def test_built_in_images_are_what_the_table_says(brain: torch.Tensor) -> None:
    for name, known in MRI_IMAGES.items():
        images = brain if name == "brain-train" else mri_images(name, None)
        assert images.shape[1:] == (2, *known.size), name
        assert torch.count_nonzero(images[:, 1]) == 0
        assert float(images.min()) >= 0
        assert 0.9 < float(images.max()) <= 1, name
        assert known.license
        assert known.description


def test_brain_slices_train_and_test_are_disjoint_and_fit_into_192_pixels(brain: torch.Tensor) -> None:
    train, test = pad_or_crop(brain, 192), mri_images("brain-test")
    assert train.shape == (41, 2, 192, 192)
    assert test.shape == (40, 2, 192, 192)
    assert not any(torch.equal(a, b) for a in train for b in test)
    assert float(train.sum()) == pytest.approx(float(brain.sum())), "no brain was cut off"
    top, bottom = (float(train[:, 0, rows].amax((1, 2)).min()) for rows in (slice(0, 4), slice(188, 192)))
    assert top == bottom == 0


def test_subjects_and_counts(brain: torch.Tensor) -> None:
    subjects = mri_images("subjects-test", 192)
    assert subjects.shape == (18, 2, 192, 192)
    assert torch.equal(mri_images("brain-train", None, count=3), brain[[6, 20, 34]])


def test_built_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="'knee': unknown name, expected one of abdomen, brain-test"):
        mri_images("knee")
    with pytest.raises(DataError, match="count: found 2, expected 1 to 1 for coronal"):
        mri_images("coronal", count=2)
    with pytest.raises(DataError, match="size: found None for subjects-test"):
        mri_images("subjects-test", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r'pydicom-data is not installed; install it with: pip install "bilearn\[mri\]"'
    ):
        mri_images("shoulder")


def test_built_in_file_that_a_wheel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(MRI_IMAGES, "coronal", replace(MRI_IMAGES["coronal"], file="data/gone.npy"))
    with pytest.raises(DataError, match=r"gone.npy is missing; reinstall it with: pip install --force-reinstall dipy"):
        mri_images("coronal")


def test_packages_are_found_without_importing_them() -> None:
    import subprocess

    code = (
        f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}; from bilearn.mri.io import mri_images; "
        "print(mri_images('coronal').shape, sorted({'dipy', 'nilearn', 'sklearn', 'pandas', 'matplotlib', 'scipy', 'h5py', "
        "'nibabel', 'pydicom', 'ismrmrd', 'pypulseq', 'deepinv'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "torch.Size([1, 2, 192, 192]) []"


@pytest.mark.parametrize(
    ("module", "reader", "suffix"),
    [("nibabel", read_nifti_slices, "nii"), ("pydicom", read_dicom, "dcm"), ("scipy.io.matlab", read_images, "mat")],
)
def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, reader, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf'{module.split(".")[0]} is not installed.*pip install "bilearn\[mri\]"'):
        reader(file)


def test_load_images_dispatches_on_name_and_file(tmp_path: Path) -> None:
    assert torch.equal(load_images("coronal", 64), mri_images("coronal", 64))
    assert torch.equal(load_images("epi", indices=[3]), mri_images("epi", None)[[3]])
    volume = nifti(tmp_path / "v.nii.gz", VOLUME)
    assert torch.equal(load_images(volume, 4, "coronal", [1]), read_nifti_slices(volume, "coronal", [1], 4))
    pixels = np.arange(24, dtype=np.uint16).reshape(4, 6)
    picture = dicom(tmp_path / "d.dcm", pixels)
    assert torch.equal(load_images(picture), read_dicom(picture))
    assert torch.equal(load_images(picture.rename(tmp_path / "IM0001")), read_dicom(tmp_path / "IM0001"))
    np.savez(tmp_path / "a.npz", x=np.ones((3, 4, 4)), y=np.zeros((1, 1)))
    assert load_images(tmp_path / "a.npz", field="x", indices=[0, 2]).shape == (2, 2, 4, 4)


def test_load_images_errors(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"neither a file nor a built-in set; expected a file of NIfTI .* or one of abdomen"
    ):
        load_images("no-such-thing")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"file of unknown kind '\.txt', expected NIfTI"):
        load_images(tmp_path / "a.txt")
    np.save(tmp_path / "a.npy", np.ones((2, 4, 4)))
    with pytest.raises(DataError, match="image 1 does not exist, expected 0 to 0"):
        load_images(tmp_path / "a.npy", indices=[1])
    with pytest.raises(DataError, match="no such file"):
        load_images(tmp_path)
    assert "subjects-test" in mri_image_names()


def test_smooth_phase_keeps_magnitudes_and_is_smooth(brain: torch.Tensor) -> None:
    images = pad_or_crop(brain[::20], 64)
    turned = smooth_phase(images, seed=3)
    torch.testing.assert_close(to_complex(turned).abs(), images[:, 0])
    phase = to_complex(
        smooth_phase(torch.ones(3, 2, 32, 48, dtype=torch.float64) * torch.tensor([1.0, 0])[:, None, None], seed=3)
    ).angle()
    assert phase.abs().amax((1, 2)).tolist() == pytest.approx([math.pi / 2] * 3)
    assert float(phase.diff(dim=-1).abs().max()) < 0.3
    assert not torch.equal(phase[0], phase[1])
    torch.testing.assert_close(smooth_phase(images[:1], seed=3), turned[:1])
    assert not torch.equal(smooth_phase(images, seed=4), turned)
    assert smooth_phase(images.float(), seed=3).dtype == torch.float32
    constant = to_complex(smooth_phase(images, seed=0, largest=1.0, order=0))
    torch.testing.assert_close(
        constant.abs() * torch.exp(1j * constant.angle().abs()), images[:, 0] * torch.exp(1j * torch.sign(images[:, 0]))
    )


def test_simulated_kspace_is_the_transform_plus_noise_of_the_asked_size(brain: torch.Tensor) -> None:
    images = smooth_phase(pad_or_crop(brain[::21], 64), seed=0)
    clean = simulate_kspace(images, 0.0, seed=0)
    torch.testing.assert_close(torch.fft.ifft2(to_complex(clean), norm="ortho"), to_complex(images))
    noise = simulate_kspace(images, 0.1, seed=1) - clean
    assert noise.std(dim=(0, 2, 3)).tolist() == pytest.approx([0.1, 0.1], rel=0.05)
    assert torch.equal(simulate_kspace(images, 0.1, seed=1), clean + noise)
    assert float(clean[0, 0, 0, 0].abs()) > float(clean[0, 0, 32, 32].abs()), "the zero frequency is [0, 0]"


def test_simulation_errors() -> None:
    images = torch.ones(1, 2, 4, 4)
    with pytest.raises(DataError, match=r"expected \(N, 2, H, W\)"):
        smooth_phase(images[:, :1], seed=0)
    with pytest.raises(DataError, match="order: found -1"):
        smooth_phase(images, seed=0, order=-1)
    with pytest.raises(DataError, match="sigma: found -1"):
        simulate_kspace(images, -1.0, seed=0)
    with pytest.raises(DataError, match=r"expected \(N, 2, H, W\)"):
        simulate_kspace(images[0], 0.1, seed=0)
