"""``report.html``: one self-contained page per run."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path
from string import Template

from bilearn.report import sections
from bilearn.report.cards import cards
from bilearn.report.digest import Digest, findings, read_digest
from bilearn.report.filters import filters
from bilearn.report.formatting import count, duration
from bilearn.report.markup import Markup, join, section, tag
from bilearn.run_directory import MODEL, RunDirectory

_NAVIGATION = (
    ("pictures", "Pictures"),
    ("objective", "Objective"),
    ("parameters", "Parameters"),
    ("accuracy", "Accuracy"),
    ("images", "Images"),
    ("cost", "Cost"),
    ("setup", "Setup"),
    ("reload", "Use the model"),
)
_CLASSIFIER = """from safetensors.torch import load_file

model = load_file({path!r})
scores = features @ model["coefficients"]   # features (N, f), the last one a column of ones
model["ridge_weights"]                       # (f,), one for each feature
"""
_WITHOUT_IMAGES = tuple(
    ("splits", "Figures") if identifier == "images" else (identifier, title)
    for identifier, title in _NAVIGATION
    if identifier != "pictures"
)


def document(title: str, body: Markup, navigation: Markup | None = None) -> str:
    """A complete HTML page with style sheet and script inside; nothing is fetched from anywhere."""
    files = resources.files("bilearn.report")
    template = Template((files / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=join(title),
        style=(files / "page.css").read_text(encoding="utf-8"),
        script=(files / "page.js").read_text(encoding="utf-8"),
        navigation=navigation or "",
        body=body,
    )


def write_report(run_dir: str | Path) -> Path:
    """Write ``report.html`` into a run directory from the records found there; nothing is recomputed.

    Args:
        run_dir: a run directory, finished or interrupted.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: if there is no run.
        ValueError: if one of its files is damaged.
    """
    run = read_digest(run_dir)
    page = document(f"{run.name} · bilearn report", report_body(run), _navigation(run))
    return RunDirectory(run_dir).write_bytes("report.html", page.encode())


def report_body(run: Digest) -> Markup:
    """All sections of a run's report."""
    return join(
        header(run),
        sections.warnings(run, "problem"),
        cards(run),
        sections.warnings(run, "note"),
        sections.pictures(run) if run.of_images else None,
        sections.objective(run),
        sections.parameters(run),
        filters(run),
        sections.accuracy(run),
        sections.images(run) if run.of_images else sections.splits(run),
        sections.costs(run),
        sections.setup(run),
        _reload(run),
    )


def header(run: Digest) -> Markup:
    """Name, how the run ended, and what was done in one sentence."""
    problems = any(f.level == "problem" for f in findings(run))
    n = sum(p.entries for p in run.parameters)
    summary = run.record.summary
    done = f"Learned {count(n)} parameter{'' if n == 1 else 's'}" if n else "No parameters recorded"
    if summary and summary.optimizer:
        done += f" with {summary.optimizer}"
    done += f" in {count(len(run.record.history))} evaluations and {duration(run.seconds)}."
    state = "interrupted" if not run.finished else ("converged" if run.converged else "not converged")
    return tag(
        "header",
        tag("p", "bilearn report", class_="eyebrow"),
        tag("h1", run.name),
        tag("p", done, class_="subtitle"),
        tag("p", tag("span", state, class_=f"badge {'warn' if problems else 'ok'}"), " ", run.status, class_="status"),
    )


def _navigation(run: Digest) -> Markup:
    shown = _NAVIGATION if run.of_images else _WITHOUT_IMAGES
    links = [tag("a", title, href=f"#{identifier}") for identifier, title in shown]
    return tag("nav", tag("div", links))


def _reload(run: Digest) -> Markup:
    path = run.record.path.resolve()
    if MODEL in run.record.missing:
        content = tag("p", "No model was saved: the run ended before its weights were written.", class_="empty")
        return section("reload", "Use the model", "", content)
    if not run.of_images:
        content = _code("Python", _CLASSIFIER.format(path=str(path / MODEL)))
        return section(
            "reload", "Use the model", "Scores are linear in the features, standardized as in training.", content
        )
    python = (
        "from bilearn.model import load_model\n\n"
        f"model = load_model({str(path)!r})\n"
        "solution = model.reconstruct(y)       # y: measured data, a tensor of shape (B, C, H, W)\n"
        "solution.x                            # the reconstructions\n"
        "solution.error                        # proved distance of each to the exact one\n"
        "model.reconstruct(y, physics=physics) # the same with your own deepinv operator"
    )
    command = (
        f"# images in, images out\nbilearn reconstruct {shlex.quote(str(path))} IMAGES --output FOLDER\n\n"
        f"# PSNR and SSIM on other images\nbilearn evaluate {shlex.quote(str(path))} --help"
    )
    return section(
        "reload",
        "Use the model",
        "In Python, or from the command line with images in and images out.",
        tag("div", _code("Python", python), _code("Command line", command), class_="two"),
    )


def _code(title: str, text: str) -> Markup:
    copy = tag("button", "Copy", type="button", class_="copy")
    return tag("div", tag("h3", title), tag("div", tag("pre", tag("code", text)), copy, class_="snippet"))
