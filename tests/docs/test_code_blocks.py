"""Every block of code in the README and the documentation: Python runs, TOML is a valid experiment, commands exist."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import torch
import typer

from bilearn.cli.main import app
from bilearn.data import photographs
from bilearn.experiment import parse_config, recipe_names

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match.group(1) == language and "--8<--" not in match.group(2):
                found.append(Block(page, text[: match.start()].count("\n") + 2, match.group(1), match.group(2)))
    return found


def by_page(language: str) -> list[pytest.ParameterSet]:  # type: ignore[name-defined]
    pages: dict[Path, list[Block]] = {}
    for block in blocks(language):
        pages.setdefault(block.page, []).append(block)
    return [pytest.param(found, id=str(page.relative_to(ROOT))) for page, found in pages.items()]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with a folder ``photos`` of small gray images, as the examples assume."""
    from skimage.io import imsave

    (tmp_path / "photos").mkdir()
    for image in photographs(["camera", "coins", "brick", "moon"]):
        pixels = (255 * image.pixels[0, 64:112, 64:112]).round().astype("uint8")
        imsave(tmp_path / "photos" / f"{image.name}.png", pixels, check_contrast=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return tmp_path


@pytest.mark.parametrize("page", by_page("python"))
def test_python_runs(page: list[Block], workplace: Path) -> None:
    torch.manual_seed(0)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in page:
        padded = "\n" * (block.line - 1) + block.code
        exec(compile(padded, str(block.page), "exec"), namespace)
    assert len(namespace) > 2


@pytest.mark.parametrize("page", by_page("toml"))
def test_toml_is_a_valid_experiment(page: list[Block]) -> None:
    for block in page:
        config = parse_config(block.code, f"{block.page.name}, line {block.line}", "documentation")
        assert config.name


def commands() -> list[pytest.ParameterSet]:  # type: ignore[name-defined]
    found = []
    for block in [*blocks("sh"), *blocks("console")]:
        for number, line in enumerate(block.code.splitlines()):
            for part in re.split(r"&&|\|\||\|", line.removeprefix("$ ")):
                words = shlex.split(part, comments=True)
                if words and words[0] == "bilearn":
                    found.append(pytest.param(words[1:], id=f"{block.page.name}:{block.line + number}"))
    return found


@pytest.mark.parametrize("words", commands())
def test_command_exists_with_these_options(words: list[str]) -> None:
    root = typer.main.get_command(app)
    assert isinstance(root, click.Group)
    name, *rest = words
    assert name in root.commands
    command = root.commands[name]
    values, *_ = command.make_parser(click.Context(command, info_name=name)).parse_args(rest)
    if name == "learn":
        recipe = next(v for v in values.values() if isinstance(v, str))
        assert recipe in recipe_names() or recipe.endswith(".toml")


def test_the_readme_shows_both_commands_word_for_word() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "pip install . && bilearn learn denoise-photos" in lines
    assert 'pip install ".[test]" && pytest' in lines
