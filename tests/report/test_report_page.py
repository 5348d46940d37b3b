import re
from html.parser import HTMLParser

import pytest

from bilearn.report import write_report
from bilearn.report.digest import findings, read_digest
from bilearn.run_directory import RunDirectory

RUNS = ("photos", "photos-adam", "signals", "tomography", "interrupted", "map", "color")
VOID = {"meta", "img", "input", "br", "hr", "line", "circle", "rect", "polyline", "polygon", "link"}


class Reader(HTMLParser):
    """Checks nesting; collects text, addresses and identifiers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.identifiers: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
                self.addresses.append(value or "")
            if key == "id":
                self.identifiers.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


@pytest.fixture(scope="module")
def pages(runs):
    return {name: write_report(runs / name).read_text(encoding="utf-8") for name in RUNS}


@pytest.fixture(scope="module")
def texts(pages):
    return {name: " ".join(" ".join(Reader(page).text).split()) for name, page in pages.items()}


@pytest.mark.parametrize("name", RUNS)
def test_the_page_is_self_contained_and_well_formed(pages, name):
    reader = Reader(pages[name])
    assert reader.open == []
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in reader.addresses)
    assert not re.search(r"@import|url\(|https?://|fetch\(|XMLHttpRequest", pages[name])
    anchors = {a[1:] for a in reader.addresses if a.startswith("#")}
    assert anchors
    assert anchors <= set(reader.identifiers)
    assert len(set(reader.identifiers)) == len(reader.identifiers)


@pytest.mark.parametrize("name", RUNS)
def test_numbers_have_few_digits_and_nothing_is_left_unformatted(texts, name):
    shown = texts[name].replace("2026-07-01T10:15:00", "")
    assert not re.search(r"\d\.\d{10,}", shown)
    assert not re.search(r"\bnan\b|\bNone\b|\bTrue\b|\binf\b|\$\w+", shown)


def test_headline_holds_the_learned_figures(texts):
    text = texts["photos"]
    assert "converged" in text
    for word in ("29.5", "27.6", "20.01 ± 0.05", "[26.18003, 26.18024]", "certified", "\u221235.5 %", "0.05754"):
        assert word in text, word
    assert "The improvement is proved" in text


@pytest.mark.parametrize("name", [n for n in RUNS if n != "interrupted"])
def test_every_section_is_there(texts, name):
    for title in (
        "Pictures",
        "Objective over the run",
        "Parameters",
        "Accuracy asked and got",
        "Image by image",
        "Cost",
    ):
        assert title in texts[name]
    assert "Configuration and environment" in texts[name]
    assert "Use the model" in texts[name]


def test_gallery_shows_truth_data_reconstructions_zooms_and_errors(pages):
    page = pages["photos"]
    per_image = 4 + 4 + 3
    assert page.count('src="data:image/png') == 4 * (per_image + 1)
    assert page.count('class="marker"') == 4 * 4
    assert page.count("data-compare=") == 4 * 4
    assert "Error maps" in page


def test_signals_are_drawn_as_lines(pages, texts):
    assert "data:image/png" not in pages["signals"]
    assert "256 samples" in texts["signals"]
    assert pages["signals"].count("line truth") >= 3


def test_tomography_shows_data_and_adjoint(texts):
    assert "96 \u00d7 40 measurements" in texts["tomography"]
    assert "adjoint Aᵀy" in texts["tomography"]
    assert "gray scale of their own" in texts["tomography"]


def test_an_interrupted_run_says_what_is_missing(texts):
    text = texts["interrupted"]
    assert "The run did not finish" in text
    assert "Not in the run directory: metrics.json, images.npz, model.safetensors, model.json" in text
    assert "No pictures were stored" in text
    assert "No model was saved" in text
    assert "27.2" in text


def test_many_parameters_are_summarized_and_mapped(texts, pages):
    text = texts["map"]
    assert "regularizer.weight (5 000 entries)" in text.replace("\u2009", " ")
    assert "36 of the 5 000 entries of regularizer.weight" in text.replace("\u2009", " ")
    assert "no bound on the exact value is known" in text
    assert "map of regularizer.weight" in pages["map"]
    assert len(pages["map"]) < 1_000_000


def test_strings_of_the_user_are_escaped(pages, texts):
    assert "<script>alert" not in pages["color"]
    assert "<script>alert(1)</script>" in texts["color"]
    assert "grass &amp; &lt;sky&gt;" in pages["photos"]
    assert Reader(pages["color"]).tags.count("script") == 1


def test_warnings_are_plain_words(runs):
    titles = {name: [f.title for f in findings(read_digest(runs / name))] for name in RUNS}
    assert titles["photos"] == ["regularizer.xi is at its lower bound", "1 of 36 evaluations missed their accuracy"]
    assert titles["photos-adam"][0] == "The upper level did not converge"
    assert "The final objective is not certified" in titles["photos-adam"]
    assert "No bound on the final objective" in titles["map"]
    assert "SSIM is worse than with the default parameters" in titles["map"]
    assert titles["interrupted"][0] == "The run did not finish"


def test_a_rising_validation_loss_is_reported(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    for k, loss in enumerate((3.0, 2.0, 2.5), start=1):
        run.append_history(
            {"evaluation": k, "value": 1 / k, "validation": {"loss": loss}, "parameters": {"a": 0.1 * k}}
        )
    found = {f.title: f.text for f in findings(read_digest(run.path))}
    assert "smallest at evaluation 2" in found["The validation loss rose again"]
    assert "a = 0.2" in found["The validation loss rose again"]


def test_the_page_says_how_to_use_the_model(runs, texts):
    path = (runs / "photos").resolve()
    assert f"model = load_model({str(path)!r})" in texts["photos"]
    assert f"bilearn reconstruct {path} IMAGES --output FOLDER" in texts["photos"]


def test_a_run_without_any_evaluation_still_gives_a_page(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_environment({})
    text = " ".join(Reader(write_report(run.path).read_text(encoding="utf-8")).text)
    assert "Too few evaluations" in text
    assert "No parameters were recorded" in text


def test_a_report_needs_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected one written by 'learn'"):
        write_report(tmp_path)


def test_writing_twice_gives_the_same_page(runs):
    first = write_report(runs / "photos").read_bytes()
    assert write_report(runs / "photos").read_bytes() == first


@pytest.mark.parametrize(
    ("summary", "converged"),
    [
        ({"status": "an older sentence", "outcome": "STATIONARY"}, True),
        ({"status": "an older sentence", "outcome": "MAX_STEPS"}, False),
        ({"status": "all planned points were evaluated"}, True),
        ({"status": "interrupted by the user"}, False),
    ],
)
def test_convergence_is_read_from_the_outcome_or_the_sentence(tmp_path, summary, converged):
    run = RunDirectory.create(tmp_path / "run")
    run.write_summary(summary)
    assert read_digest(run.path).converged == converged


def test_messages_that_differ_in_numbers_only_are_told_once(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    for k in range(1, 4):
        run.append_history({"evaluation": k, "value": 1.0, "message": f"bound {k}.5e-0{k} above 0.1"})
    (text,) = [f.text for f in findings(read_digest(run.path)) if "missed" in f.title]
    assert text.startswith("bound 3.5e-03 above 0.1 (3 times).")
