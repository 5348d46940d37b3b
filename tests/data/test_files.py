import numpy as np
import pytest
import torch
from PIL import Image

from bilearn.data import DataError, list_images, read_folder, read_image


def save(path, array):
    Image.fromarray(array).save(path)
    return path


def test_integer_pixels_are_divided_by_the_largest_number_of_their_type(tmp_path):
    eight = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    sixteen = np.array([[0, 13107], [26214, 65535]], dtype=np.uint16)
    expected = torch.tensor([[[0.0, 0.2], [0.4, 1.0]]], dtype=torch.float64)
    for suffix, array in ((".png", eight), (".tif", eight), (".png", sixteen), (".tiff", sixteen)):
        (image,) = read_image(save(tmp_path / f"a{array.dtype}{suffix}", array))
        torch.testing.assert_close(image.pixels, expected, rtol=0, atol=1e-15)


def test_color_alpha_palette_and_black_white_pictures(tmp_path):
    color = np.zeros((4, 6, 4), dtype=np.uint8)
    color[..., 0], color[..., 3] = 255, 128
    (image,) = read_image(save(tmp_path / "rgba.png", color))
    assert image.pixels.shape == (3, 4, 6)
    assert image.pixels[0].min() == 1
    assert image.pixels[1:].max() == 0
    Image.fromarray(color[..., :3]).convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png")[0].pixels.shape == (3, 4, 6)
    (binary,) = read_image(save(tmp_path / "bw.png", np.eye(4, dtype=bool)))
    torch.testing.assert_close(binary.pixels, torch.eye(4, dtype=torch.float64)[None])


def test_camera_orientation_is_applied(tmp_path):
    array = np.zeros((2, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(array).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg")[0].pixels.shape == (1, 3, 2)


def test_every_page_of_a_tiff_is_an_image_of_one_group(tmp_path):
    pages = [Image.fromarray(np.full((3, 3), v, dtype=np.uint8)) for v in (0, 255)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    images = read_image(tmp_path / "pages.tif")
    assert [float(i.pixels.mean()) for i in images] == [0.0, 1.0]
    assert len({i.name for i in images}) == 2
    assert {i.group for i in images} == {"pages.tif"}


@pytest.mark.parametrize(
    ("shape", "count", "result"),
    [
        ((5, 6), 1, (1, 5, 6)),
        ((5, 6, 3), 1, (3, 5, 6)),
        ((3, 5, 6), 1, (3, 5, 6)),
        ((7, 5, 6), 7, (1, 5, 6)),
        ((2, 3, 5, 6), 2, (3, 5, 6)),
        ((2, 5, 6, 3), 2, (3, 5, 6)),
    ],
)
def test_array_layouts(tmp_path, shape, count, result):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random(shape))
    images = read_image(tmp_path / "a.npy")
    assert len(images) == count
    assert {tuple(i.pixels.shape) for i in images} == {result}


def test_archives_and_hdf5_are_read_in_sorted_order(tmp_path):
    import h5py

    np.savez(tmp_path / "a.npz", second=np.full((2, 2), 0.5), first=np.zeros((2, 2)))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["images"] = np.full((6, 5, 5), 0.25)
    assert [float(i.pixels[0, 0, 0]) for i in read_image(tmp_path / "a.npz")] == [0.0, 0.5]
    stack = read_image(tmp_path / "b.h5")
    assert len({i.name for i in stack}) == len({i.group for i in stack}) == 6


def test_folder_is_sorted_and_passes_over_other_files(tmp_path):
    for name in ("b.png", "a.PNG", ".hidden.png"):
        save(tmp_path / name, np.zeros((2, 2), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    assert [p.name for p in list_images(tmp_path)] == ["a.PNG", "b.png"]
    assert [i.name for i in read_folder(tmp_path)] == ["a", "b"]


def test_scale_maps_stored_numbers(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0.0, 255.0]]))
    with pytest.raises(DataError, match=r"a\.npy: found values in \[0, 255\], expected \[0, 1\]; set scale"):
        read_image(tmp_path / "a.npy")
    assert float(read_image(tmp_path / "a.npy", scale=255)[0].pixels.max()) == 1.0


def test_messages_say_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="does not exist; expected a folder"):
        list_images(tmp_path / "missing")
    with pytest.raises(DataError, match="found no image among 0 files"):
        list_images(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.png: cannot be read as an image"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="is a file, expected a folder"):
        list_images(tmp_path / "broken.png")
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "missing.png")
    (tmp_path / "a.gif").write_bytes(b"")
    with pytest.raises(DataError, match=r"found suffix '\.gif'"):
        read_image(tmp_path / "a.gif")
    np.save(tmp_path / "nan.npy", np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match="NaN or infinity in 1 pixels"):
        read_image(tmp_path / "nan.npy")
    np.save(tmp_path / "complex.npy", np.ones((2, 2), dtype=complex))
    with pytest.raises(DataError, match="expected real numbers"):
        read_image(tmp_path / "complex.npy")
    np.save(tmp_path / "five.npy", np.zeros((1, 1, 1, 2, 2)))
    with pytest.raises(DataError, match="found an array of shape"):
        read_image(tmp_path / "five.npy")
    np.save(tmp_path / "empty.npy", np.zeros((0, 2)))
    with pytest.raises(DataError, match="empty array"):
        read_image(tmp_path / "empty.npy")
