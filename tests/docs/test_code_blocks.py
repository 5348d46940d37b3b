"""Every block of code in the README and the documentation: Python runs, TOML is a valid experiment, commands exist."""

from __future__ import annotations

import re
import runpy
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bilearn.data import photographs
from bilearn.experiment import parse_task, recipe_names

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = runpy.run_path(str(ROOT / "docs" / "_tools" / "write_reference.py"))["commands"]()
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
        pixels = (255 * image.pixels[0, 64:112, 64:112]).round().byte().numpy()
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
        config = parse_task(block.code, f"{block.page.name}, line {block.line}", "documentation")
        assert config.name


def shell_lines() -> list[pytest.ParameterSet]:  # type: ignore[name-defined]
    found = []
    for block in blocks("sh"):
        for number, line in enumerate(block.code.replace("\\\n", " ").splitlines()):
            for part in re.split(r"&&|>|\|", line):
                words = shlex.split(part, comments=True)
                if words and words[0] == "bilearn":
                    found.append(pytest.param(words[1:], id=f"{block.page.name}:{block.line + number}"))
    return found


@pytest.mark.parametrize("words", shell_lines())
def test_command_exists_with_these_options(words: list[str]) -> None:
    depth = max((d for d in (1, 2) if " ".join(words[:d]) in COMMANDS), default=0)
    assert depth > 0
    name, rest = " ".join(words[:depth]), words[depth:]
    options = {option: flag for flag in COMMANDS[name][1] for option in flag.names}
    arguments, position = [], 0
    while position < len(rest):
        word = rest[position]
        if word.startswith("-"):
            assert word in options
            position += 1 + options[word].takes_value
        else:
            arguments.append(word)
            position += 1
    assert len(arguments) >= sum(flag.required for flag in COMMANDS[name][1] if not flag.names)
    if name == "learn":
        assert arguments[0] in recipe_names() or arguments[0].endswith(".toml")


def test_the_readme_shows_both_commands_word_for_word() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "pip install . && bilearn learn denoise-photos" in lines
    assert 'pip install ".[test]" && pytest' in lines
