import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from bilearn.report import formatting as fmt
from bilearn.report.charts import Axis, Band, Chart, Curve, Rule, axis_for, wants_log
from bilearn.report.markup import join, tag
from bilearn.report.pictures import (
    Window,
    busiest_region,
    busiest_stretch,
    difference,
    displayable,
    error_scale,
    gray,
    heat_map,
    reduction,
    signed_map,
    window_of,
)
from bilearn.run_records import Bounded, Spread, Statistic


@pytest.mark.parametrize(
    ("x", "shown", "plain"),
    [
        (0.1 + 0.2, "0.3", "0.3"),
        (1234.5678, "1235", "1235"),
        (-0.5, "\u22120.5", "-0.5"),
        (1e-5, "10⁻⁵", "1e-05"),
        (-1e-5, "\u221210⁻⁵", "-1e-05"),
        (2.5e7, "2.5 \u00d7 10⁷", "2.5e+07"),
        (99999.9, "10⁵", "1e+05"),
        (math.inf, "∞", "inf"),
        (-math.inf, "\u2212∞", "-inf"),
        (math.nan, "\u2013", "-"),
        (None, "\u2013", "-"),
        (0.0, "0", "0"),
    ],
)
def test_number(x, shown, plain):
    assert fmt.number(x) == shown
    assert fmt.number(x, plain=True) == plain


@pytest.mark.parametrize(
    ("lower", "upper", "shown"),
    [
        (26.180031, 26.180239, "[26.18003, 26.18024]"),
        (1.0, 2.0, "[1.0, 2.0]"),
        (0.15949845031, 0.15949845042, "[0.15949845, 0.15949846]"),
        (-0.25, 0.31, "[-0.25, 0.31]"),
        (9.130014e-4, 9.130079e-4, "[9.130014, 9.130079]e-04"),
        (123456.0, 123789.0, "[1.2345, 1.2379]e+05"),
        (-math.inf, 2.0, "[-inf, 2]"),
        (0.0, 0.0, "[0.0000000, 0.0000000]"),
    ],
)
def test_interval_tells_its_ends_apart(lower, upper, shown):
    assert fmt.interval(lower, upper, plain=True) == shown


def test_interval_is_rounded_outward():
    rng = np.random.default_rng(0)
    for scale in (1e-9, 1e-2, 1.0, 1e3, 1e8):
        for width in (1e-13, 1e-6, 1e-2, 0.7):
            lower = scale * rng.uniform(-1, 1)
            upper = lower + scale * width
            text, _, exponent = fmt.interval(lower, upper, plain=True).partition("]")
            low, high = (float(end + exponent) for end in text[1:].split(", "))
            assert low <= lower + 1e-15 * abs(lower)
            assert high >= upper - 1e-15 * abs(upper)
            assert high - low <= 1.25 * (upper - lower) + 2.1e-7 * scale


def test_the_value_has_the_digits_of_its_interval():
    assert fmt.centre(Bounded(26.1801377, 26.180031, 26.180239, True)) == "26.18014"
    assert fmt.centre(Bounded(0.15949845036, 0.15949845031, 0.15949845042, True)) == "0.15949845"
    assert fmt.centre(Bounded(26.1801377, -math.inf, 27.0, False)) == "26.18"


def test_figures_durations_and_counts():
    assert fmt.statistic("psnr", Statistic(28.123, 1.5)) == "28.12 ± 1.50"
    assert fmt.statistic("ssim", Statistic(0.81234, 0.0), plain=True) == "0.812"
    assert fmt.statistic("psnr", None) == "\u2013"
    assert fmt.signed("psnr", -0.5) == "\u22120.50 dB"
    assert fmt.signed("psnr", 0.5) == "+0.50 dB"
    assert [fmt.duration(s) for s in (0.004, 3.2, 48.61, 162.0, 4000.0)] == [
        "4 ms", "3.20 s", "48.6 s", "2 min 42 s", "1 h 06 min",
    ]  # fmt: skip
    assert [fmt.short_count(n) for n in (999, 20500, 1_234_567, 3e9)] == ["999", "20.5 k", "1.23 M", "3 G"]
    assert fmt.count(1234567) == "1\u2009234\u2009567"
    assert fmt.percent(-0.355) == "\u221235.5 %"
    assert fmt.natural(Spread(0.1, 2.0, 1.0), plain=True) == "0.1 - 2 (mean 1)"
    assert fmt.short_names(["a.x", "b.x", "b.y"]) == {"a.x": "a.x", "b.x": "b.x", "b.y": "y"}


def test_gradient_equivalents_weigh_values_half():
    assert fmt.gradient_equivalents({"values": 4, "gradients": 3, "hessian_products": 2}) == 7.0


def test_markup_escapes_strings_and_keeps_markup():
    assert tag("p", "<b>", tag("i", "x"), title='"quoted"') == '<p title="&quot;quoted&quot;">&lt;b&gt;<i>x</i></p>'
    assert join(["a", None, ["&"]]) == "a&amp;"
    assert tag("button", disabled=True, hidden=False, data_side="left") == '<button disabled data-side="left"></button>'


def test_ticks_are_round_and_inside():
    assert Axis(0.0, 10.0).ticks(5) == [0, 2, 4, 6, 8, 10]
    assert Axis(1e-6, 1.0, log=True).ticks(6) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], rel=1e-9)
    for axis in (Axis(0.03, 0.11, log=True), Axis(1.0, 1.02, log=True), Axis(26.179, 26.24)):
        ticks = axis.ticks()
        assert len(ticks) >= 3
        assert all(axis.low <= t <= axis.high * (1 + 1e-12) for t in ticks)


def test_axes_survive_degenerate_values():
    assert axis_for([3.0, 3.0]).low < 3.0 < axis_for([3.0, 3.0]).high
    assert axis_for([math.nan, math.inf]) == Axis(0.0, 1.0)
    assert axis_for([0.0, -1.0], log=True).log
    assert wants_log([1.0, 100.0])
    assert not wants_log([1.0, 2.0])
    assert not wants_log([0.0, 100.0])


def test_charts_place_points_and_leave_out_what_is_not_finite():
    chart = Chart(
        Axis(0.0, 2.0), Axis(0.0, 1.0), curves=[Curve([0, 1, 2], [0.0, math.nan, 1.0], "learned", "F", dots=True)],
        bands=[Band([0, 1, 2], [0, 0, -math.inf], [1, 1, math.inf], "learned")],
        rules=[Rule(0.5, "bound", "limit"), Rule(9.0, "bound", "far")],
        width=300, height=200,
    )  # fmt: skip
    svg = chart.render()
    assert svg.count("<circle") == 2
    assert 'points="76.0,154.0 282.0,14.0"' in svg
    assert "limit" in svg
    assert "far" not in svg
    assert "nan" not in svg
    assert "inf" not in svg


def decode(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGB"))


def test_pictures_map_values_to_colors():
    np.testing.assert_array_equal(
        decode(gray(np.array([[0.0, 0.5, 1.0, 2.0]]), Window(0, 1)))[0, :, 0], [0, 128, 255, 255]
    )
    colors = decode(signed_map(np.array([[-1.0, 0.0, 1.0]]), 1.0))[0]
    assert colors[0, 2] > colors[0, 0]
    assert colors[1].min() > 240
    assert colors[2, 0] > colors[2, 2]
    assert decode(gray(np.ones((4, 5, 3)) * [1.0, 0.0, 0.0], Window(0, 1)))[0, 0].tolist() == [255, 0, 0]
    low, high = decode(heat_map(np.array([[1e-4, 1e-2, 1.0]]), Window(1e-4, 1.0), log=True))[0][[0, 2]]
    assert low.sum() < high.sum()


def test_large_pictures_are_reduced_by_block_means():
    picture = np.indices((1300, 1400)).sum(axis=0) % 2.0
    assert reduction(picture) == 3
    shown = decode(gray(picture, Window(0, 1)))
    assert shown.shape == (433, 466, 3)
    assert abs(float(shown.mean()) - 127.5) < 2


def test_displayable_shapes():
    assert displayable(np.zeros((1, 7))).shape == (7,)
    assert displayable(np.zeros((1, 1, 4, 5))).shape == (4, 5)
    assert displayable(np.zeros((3, 4, 5))).shape == (4, 5, 3)
    two = displayable(np.stack([np.full((4, 5), 3.0), np.full((4, 5), 4.0)]))
    np.testing.assert_allclose(two, 5.0)
    np.testing.assert_allclose(displayable(np.full((2, 2), 3 + 4j)), 5.0)


def test_windows_and_error_scales():
    assert window_of(np.array([0.01, 0.9])) == Window(0.0, 1.0)
    assert window_of(np.array([0.0, 255.0])) == Window(0.0, 255.0)
    assert window_of(np.array([5.0, 5.0])) == Window(5.0, 6.0)
    assert error_scale([np.array([-2.0, 0.0, 1.0])]) == pytest.approx(2.0, rel=0.02)
    assert error_scale([np.zeros(4)]) > 0
    assert difference(np.ones((2, 2, 3)), np.zeros((2, 2, 3))).shape == (2, 2)


def test_the_zoom_finds_the_structure():
    picture = np.zeros((100, 80))
    picture[60:80, 40:60] = np.indices((20, 20)).sum(axis=0) % 2
    region = busiest_region(picture)
    assert abs(region.row - 60) <= 2
    assert abs(region.column - 40) <= 2
    assert region.crop(picture).shape == (20, 20)
    signal = np.zeros(200)
    signal[120:150] = np.arange(30) % 2
    stretch = busiest_stretch(signal)
    assert stretch.start <= 120 < 150 <= stretch.stop + 1


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (3, 3), (17, 200)])
def test_the_zoom_fits_in_any_picture(shape):
    region = busiest_region(np.random.default_rng(0).random(shape))
    assert region.row + region.height <= shape[0]
    assert region.column + region.width <= shape[1]
