"""Random patches, their symmetries, and where a stream goes on."""

from __future__ import annotations

import pytest
import torch

from bilearn.data import DataError, NamedImage, Patches, PatchStream
from bilearn.experiment import ConfigError, parse_config
from bilearn.experiment.build_data import build_data
from bilearn.experiment.session import build


def image(height: int, width: int, name: str = "image", offset: float = 0.0) -> NamedImage:
    pixels = offset + torch.arange(height * width, dtype=torch.float64).reshape(1, height, width)
    return NamedImage(pixels, name, name)


def test_every_place_of_every_image_is_drawn_equally_often() -> None:
    source = Patches([image(3, 4), image(2, 2, "small", 100.0)], (2, 2), seed=3)
    corners = [int(source[n].pixels[0, 0, 0]) for n in range(1400)]
    places = [0, 1, 2, 4, 5, 6, 100]
    assert sorted(set(corners)) == places
    expected = 200
    deviation = sum((corners.count(place) - expected) ** 2 / expected for place in places)
    assert deviation < 22.5  # chi-square with 6 degrees of freedom, 0.1 %
    first = source[0]
    top, left = divmod(int(first.pixels[0, 0, 0]), 4)
    assert torch.equal(first.pixels, image(3, 4).pixels[:, top : top + 2, left : left + 2]) or first.group == "small"


@pytest.mark.parametrize(
    ("flips", "rotations", "count"), [(False, False, 1), (True, False, 2), (False, True, 4), (True, True, 8)]
)
def test_all_symmetries_that_are_asked_for_and_no_others_occur(flips: bool, rotations: bool, count: int) -> None:
    square = image(2, 2)
    source = Patches([square], (2, 2), flips=flips, rotations=rotations)
    found = {tuple(source[n].pixels.flatten().tolist()) for n in range(200)}
    turned = [square.pixels.rot90(k, (1, 2)) for k in range(4 if rotations else 1)]
    allowed = [*turned, *(t.flip(2) for t in turned)] if flips else turned
    assert found == {tuple(t.flatten().tolist()) for t in allowed}
    assert len(found) == count


def test_patches_are_functions_of_seed_and_number_and_a_stream_of_its_position() -> None:
    source = Patches([image(9, 9), image(7, 12, "other")], (4, 4), seed=1, flips=True, rotations=True)
    stream = PatchStream(source)
    stream.next(3)
    tree = stream.state_tree()
    expected = stream.next(5)
    assert expected.shape == (5, 1, 4, 4)
    again = PatchStream(source)
    again.load_state_tree(tree)
    assert torch.equal(again.next(5), expected)
    assert torch.equal(source[6].pixels, expected[3])
    assert not torch.equal(PatchStream(Patches(source.images, (4, 4), seed=2), 3).next(5), expected)
    with pytest.raises(DataError, match="found seed 1 in the checkpoint, expected 2"):
        PatchStream(Patches(source.images, (4, 4), seed=2)).load_state_tree(tree)
    source[0].pixels.zero_()
    assert float(source.images[0].pixels.max()) == 80.0


def test_bad_patches_are_named() -> None:
    for images, size, options, sentence in (
        ([], (2, 2), {}, "found no image"),
        ([image(3, 9)], (4, 4), {}, "found 3 x 9 pixels, expected at least 4 x 4"),
        ([image(9, 9)], (4, 3), {"rotations": True}, "found patches of 4 x 3 pixels, expected square"),
        ([image(9, 9)], (0, 3), {}, "found a size of 0 x 3"),
        ([image(9, 9), NamedImage(torch.zeros(3, 9, 9), "color", "color")], (4, 4), {}, "set gray = true"),
    ):
        with pytest.raises(DataError, match=sentence):
            Patches(images, size, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="found number -1"):
        Patches([image(9, 9)], (4, 4))[-1]
    with pytest.raises(DataError, match="found a batch of 0"):
        PatchStream(Patches([image(9, 9)], (4, 4))).next(0)


CONFIG = """
[data]
source = "skimage"
names = ["camera", "coins", "moon"]
downscale = 4
crop = 12
patches = 20
flips = true
rotations = true
validation = 1
test = 1
[run]
batch_size = 3
"""


def test_a_configuration_learns_from_patches_of_training_images_only() -> None:
    first, again = (build_data(parse_config(CONFIG, "c", "c")) for _ in range(2))
    assert first.train.truth.shape == (20, 1, 12, 12)
    assert torch.equal(first.train.data, again.train.data)
    assert first.validation is not None
    assert first.test is not None
    assert len(first.validation) == len(first.test) == 1
    (trained,) = {name.split(" patch ")[0] for name in first.train.names}
    assert {trained, *first.validation.names, *first.test.names} == {"camera", "coins", "moon"}
    more = build_data(parse_config(CONFIG, "c", "c", ["data.patches=25"]))
    assert torch.equal(more.train.truth[:20], first.train.truth)
    assert more.test is not None
    assert torch.equal(more.test.truth, first.test.truth)
    plain = build_data(parse_config(CONFIG, "c", "c", ["data.flips=false", "data.rotations=false"]))
    assert not torch.equal(plain.train.truth, first.train.truth)
    assert torch.equal(plain.train.truth.sum((1, 2, 3)).round(), first.train.truth.sum((1, 2, 3)).round())


def test_microbatches_are_set_in_a_configuration() -> None:
    whole = build(parse_config(CONFIG, "c", "c", ["run.threads=1"]))
    assert whole.objective.batch_size == 3
    theta = whole.objective.parameters.get()
    single = build(parse_config(CONFIG, "c", "c", ["run.batch_size=20"])).objective.hypergradient(theta, 1e-8)
    parts = whole.objective.hypergradient(theta, 1e-8)
    assert parts.gradient is not None
    assert single.gradient is not None
    assert float((parts.gradient - single.gradient).norm()) <= parts.gradient_bound + single.gradient_bound


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.crop=[12, 10]", "expected square"),
        ("data.crops_per_image=2", "exclude one another"),
        ("data.source=phantoms", "patches are cut from images"),
        ("solver.precision=mixed", ""),
    ],
)
def test_what_does_not_fit_together_is_said(override: str, sentence: str) -> None:
    overrides = [override, *(["data.train=2"] if "phantoms" in override else [])]
    if not sentence:
        with pytest.raises(ConfigError, match=r"needs run\.dtype = 'float64'"):
            parse_config(CONFIG, "c", "c", [*overrides, "run.dtype=float32"])
        return
    with pytest.raises((ConfigError, DataError), match=sentence):
        build_data(parse_config(CONFIG, "c", "c", overrides))


def test_flips_need_patches_and_patches_a_size() -> None:
    text = '[data]\nsource = "skimage"\n'
    with pytest.raises(ConfigError, match="flips and rotations apply to patches"):
        parse_config(text + "flips = true", "c", "c")
    with pytest.raises(ConfigError, match="patches need a size; set crop"):
        parse_config(text + "patches = 4", "c", "c")
