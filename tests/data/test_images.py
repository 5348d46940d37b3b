import pytest
import torch

from bilearn.data import (
    DataError,
    NamedImage,
    add_gaussian_noise,
    add_poisson_noise,
    blocky_signals,
    crops,
    downscale,
    ellipse_phantoms,
    photograph_names,
    photographs,
    shepp_logan,
    split_groups,
    stack,
    to_gray,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def image(*shape, name="a", group=None):
    return NamedImage(torch.rand(*shape, generator=generator(), dtype=torch.float64), name, group or name)


def test_gray_weights():
    color = NamedImage(torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1).double(), "red", "red")
    assert float(to_gray(color).pixels) == pytest.approx(0.299)
    assert float(to_gray(image(3, 1, 1)).pixels) <= 1
    single = image(1, 2, 2)
    assert to_gray(single) is single
    with pytest.raises(DataError, match="found 2 channels"):
        to_gray(image(2, 2, 2))


def test_downscale_averages_blocks():
    source = image(1, 5, 4)
    small = downscale(source, 2)
    assert small.pixels.shape == (1, 2, 2)
    assert float(small.pixels[0, 0, 0]) == pytest.approx(float(source.pixels[0, :2, :2].mean()))
    with pytest.raises(DataError, match="too few for downscale = 9"):
        downscale(source, 9)


def test_crops_are_parts_of_the_image_and_repeat_with_the_seed():
    source = image(1, 9, 11)
    (middle,) = crops(source, (3, 5), 1, generator())
    assert torch.equal(middle.pixels, source.pixels[:, 3:6, 3:8])
    first, second = crops(source, (4, 4), 5, generator(1)), crops(source, (4, 4), 5, generator(1))
    assert [c.name for c in first] == [c.name for c in second]
    assert len({c.name for c in first}) > 1
    assert all(torch.equal(a.pixels, b.pixels) and a.group == "a" for a, b in zip(first, second, strict=True))
    with pytest.raises(DataError, match="found 9 x 11 pixels, expected at least 12 x 4"):
        crops(source, (12, 4), 1, generator())


def test_stack_names_the_odd_image_and_the_fix():
    assert stack([image(1, 4, 4), image(1, 4, 4)]).shape == (2, 1, 4, 4)
    with pytest.raises(DataError, match=r"mixed sizes: a has 4 x 4 and b has 3 x 6 pixels; set crop = 3"):
        stack([image(1, 4, 4), image(1, 3, 6, name="b")])
    with pytest.raises(DataError, match=r"mixed channels: .* set gray = true"):
        stack([image(1, 4, 4), image(3, 4, 4)])
    with pytest.raises(DataError, match="found none to stack"):
        stack([])


def test_split_keeps_groups_together_and_is_deterministic():
    images = [image(1, 2, 2, name=f"{g}{i}", group=g) for g in "abcdef" for i in range(2)]
    split = split_groups(images, None, 1, 3, generator(3))
    again = split_groups(images, None, 1, 3, generator(3))
    parts = [split.train, split.validation, split.test]
    assert [len(p) for p in parts] == [6, 1, 3]
    groups = [{i.group for i in p} for p in parts]
    assert sum(len(g) for g in groups) == len(set().union(*groups))
    assert [i.name for i in split.train] == [i.name for i in again.train]
    ordered = split_groups(images, 2, 0, 2, None)
    assert [i.name for i in ordered.test + ordered.train] == ["a0", "a1", "b0", "b1"]
    with pytest.raises(DataError, match="found 12 images from 6 files, too few for 11 train images"):
        split_groups(images, 11, 0, 2, None)
    with pytest.raises(DataError, match="none is left for training"):
        split_groups(images, None, 0, 12, None)


def test_gaussian_noise_has_its_spread_and_the_same_draw_in_every_dtype():
    clean = torch.full((4, 1, 50, 50), 0.5)
    noisy = add_gaussian_noise(clean, 0.1, generator(5))
    assert float((noisy - clean).std()) == pytest.approx(0.1, rel=0.05)
    double = add_gaussian_noise(clean.double(), 0.1, generator(5))
    assert noisy.dtype == torch.float32
    torch.testing.assert_close(noisy.double(), double, rtol=0, atol=1e-7)
    assert torch.equal(add_gaussian_noise(clean, 0.0, generator()), clean)
    with pytest.raises(DataError, match="sigma: found -1"):
        add_gaussian_noise(clean, -1.0, generator())


def test_poisson_noise_has_variance_gain_times_mean():
    clean = torch.full((1, 1, 200, 200), 0.5, dtype=torch.float64)
    noisy = add_poisson_noise(clean, 0.02, generator(5))
    assert float(noisy.mean()) == pytest.approx(0.5, rel=0.01)
    assert float(noisy.var()) == pytest.approx(0.01, rel=0.05)
    with pytest.raises(DataError, match="gain: found 0"):
        add_poisson_noise(clean, 0.0, generator())
    with pytest.raises(DataError, match="down to -1"):
        add_poisson_noise(clean - 1.5, 0.02, generator())


def test_photographs_ship_with_scikit_image():
    names = photograph_names()
    found = photographs(["camera", "chelsea"])
    assert "astronaut" in names
    assert [tuple(i.pixels.shape) for i in found] == [(1, 512, 512), (3, 300, 451)]
    assert all(0 <= float(i.pixels.min()) < float(i.pixels.max()) <= 1 for i in found)
    with pytest.raises(DataError, match="photograph 'lena': unknown name"):
        photographs(["lena"])


def test_every_offered_photograph_can_be_read():
    from pathlib import Path

    import skimage

    from bilearn.data.photographs import _FILES

    folder = Path(skimage.__file__).parent / "data"
    assert all((folder / file).is_file() for file in _FILES.values())


def test_signals_are_the_published_ones():
    signals = blocky_signals(5, 256, 0)
    assert [int(s.pixels.sum()) for s in signals] == [109, 98, 105, 120, 88]
    assert signals[0].pixels.shape == (1, 256)


def test_phantoms_are_in_range_and_prefixes_agree():
    few, many = ellipse_phantoms(2, 24, generator(1)), ellipse_phantoms(3, 24, generator(1))
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(few, many, strict=False))
    assert not torch.equal(many[1].pixels, many[2].pixels)
    head = shepp_logan(64).pixels
    assert head.shape == (1, 64, 64)
    assert float(head.min()) == 0
    assert float(head.max()) == 1
    assert float(head[0, 32, 32]) == pytest.approx(0.2)
    with pytest.raises(DataError, match="phantom size: found 4"):
        shepp_logan(4)
