import io

import pytest
from rich.console import Console

from bilearn.report import print_comparison, print_summary, write_comparison, write_report


def text_of(runs, *names, show=print_summary):
    console = Console(file=io.StringIO(), width=120)
    show(*([runs / names[0]] if show is print_summary else [[runs / n for n in names]]), console)
    return console.file.getvalue()


def test_comparison_page_shows_runs_side_by_side(runs, tmp_path):
    path = write_comparison([runs / "photos", runs / "photos-adam", runs / "interrupted"], tmp_path / "c.html")
    page = path.read_text(encoding="utf-8")
    for word in (
        "denoise-photos-adam",
        "[26.18003, 26.18024]",
        "Differences in configuration",
        "run.seed",
        "not converged",
    ):
        assert word in page, word
    assert "http" not in page
    assert page.count('class="line run-3"') > 0
    assert 'class="good">29.5' in page
    images_in_common, columns = 4, 4
    assert page.count("data-compare=") == images_in_common * columns


def test_comparison_is_written_beside_the_first_run(runs):
    path = write_comparison([runs / "signals", runs / "tomography"])
    assert path == (runs / "comparison.html").resolve()
    assert "no test image in common" in path.read_text(encoding="utf-8")


def test_runs_of_one_name_are_told_apart_by_their_directories(runs, tmp_path):
    page = write_comparison([runs / "photos", runs / "photos"], tmp_path / "c.html").read_text(encoding="utf-8")
    assert "denoise-photos (photos)" in page
    assert "The configurations are the same" in page


def test_comparison_needs_two_runs(runs):
    with pytest.raises(ValueError, match="expected at least two"):
        write_comparison([runs / "photos"])


def test_summary_in_the_terminal_is_plain_text_when_piped(runs):
    report = write_report(runs / "photos")
    text = text_of(runs, "photos")
    assert "\x1b" not in text
    assert set(text.replace("\u2500", "-")) <= set(map(chr, range(128)))
    for word in (
        "Objective: 26.18014, exact value in [26.18003, 26.18024] (certified)",
        "certainly smaller",
        "at its lower bound",
        "20.01 +/- 0.05",
        "Learned parameters",
        f"Report: {report}",
        "NewtonCG (the Hessian is well preconditioned by cosines)",
    ):
        assert word in text, word


def test_summary_of_an_interrupted_run(runs):
    text = text_of(runs, "interrupted")
    assert "the run did not finish" in text
    assert "9 evaluations" in text


def test_summary_keeps_brackets_in_names(runs):
    assert "<script>alert(1)</script>" in text_of(runs, "color")


def test_comparison_in_the_terminal(runs):
    text = text_of(runs, "photos", "photos-adam", show=print_comparison)
    assert "26.18014" in text
    assert "(estimated)" in text
    assert "regularizer.alpha" in text
    with pytest.raises(ValueError, match="expected at least one"):
        print_comparison([])
