"""Reading and writing configurations: TOML files, named recipes, ``section.key=value`` overrides."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from bilearn.experiment.classification_schema import ClassificationConfig
from bilearn.experiment.messages import ConfigError, explain, nearest
from bilearn.experiment.schema import ExperimentConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

#: What one command can learn.
TaskConfig = ExperimentConfig | ClassificationConfig


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("bilearn") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def recipe_text(name: str) -> str:
    """TOML of a recipe.

    Raises:
        ConfigError: if there is no recipe of that name.
    """
    if name not in recipe_names():
        raise ConfigError(f"recipe '{name}': no such recipe; {nearest(name, recipe_names())}")
    return (resources.files("bilearn") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def load_config(target: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The configuration of a recipe's name or of a TOML file, for images.

    Relative folders in a file are relative to that file, those in overrides to the working directory.

    Args:
        target: name of a recipe, or path of a file ending in .toml.
        overrides: texts "section.key=value" with a TOML value, such as "noise.sigma=0.2".

    Raises:
        ConfigError: one sentence per mistake.
    """
    text, source, name, root = _find(target)
    return parse_config(text, source, name, overrides, root)


def _find(target: str | Path) -> tuple[str, str, str, Path | None]:
    """Text, source, name and folder of a recipe or a file."""
    path = Path(target).expanduser()
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(
                f"{path}: no such file; give the path of a TOML file or one of {', '.join(recipe_names())}"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as text ({error})") from None
        return text, str(path), path.stem, path.resolve().parent
    return recipe_text(str(target)), f"recipe {target}", str(target), None


def load_task(target: str | Path, overrides: Sequence[str] = ()) -> TaskConfig:
    """As :func:`load_config`, for any task."""
    return parse_task(*_find(target), overrides=overrides)


def parse_task(
    text: str, source: str, name: str, root: Path | None = None, overrides: Sequence[str] = ()
) -> TaskConfig:
    """As :func:`parse_config`, for any task: ``task = "classification"`` at the top level, images where it is absent."""
    tree = _tree(text, source, name, overrides, root)
    if "task" not in tree:
        return validate(tree, source)
    try:
        return ClassificationConfig.model_validate(tree)
    except ValidationError as error:
        raise explain(error, ClassificationConfig, source) from None


def parse_config(
    text: str, source: str, name: str, overrides: Sequence[str] = (), root: Path | None = None
) -> ExperimentConfig:
    """Typed configuration of TOML ``text``, for images.

    Args:
        text: the TOML.
        source: where it comes from, for messages.
        name: name of the experiment where the text has none.
        overrides: see :func:`load_config`.
        root: folder that relative folders refer to; the working directory if None.
    """
    return validate(_tree(text, source, name, overrides, root), source)


def _tree(text: str, source: str, name: str, overrides: Sequence[str], root: Path | None) -> dict[str, Any]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    _anchor(tree, Path.cwd() if root is None else root)
    for override in overrides:
        _override(tree, override)
    _anchor(tree, Path.cwd())
    tree.setdefault("name", name)
    return tree


def validate(tree: Mapping[str, Any], source: str) -> ExperimentConfig:
    """Typed configuration of nested mappings; mistakes become a :class:`ConfigError`."""
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        raise explain(error, ExperimentConfig, source) from None


def to_toml(config: TaskConfig) -> str:
    """The resolved configuration with every default written out."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def parse_value(text: str) -> Any:
    """A TOML value; text that is none is taken as a string without quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _override(tree: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"override '{text}': expected section.key=value, such as noise.sigma=0.2")
    table = tree
    for part in parts[:-1]:
        inner = table.setdefault(part, {})
        if isinstance(inner, (int, float)) and not isinstance(inner, bool):
            inner = table[part] = {"start": inner, "learn": False}
        if not isinstance(inner, dict):
            raise ConfigError(f"override '{text}': {part} is not a section")
        table = inner
    table[parts[-1]] = parse_value(value)


def _anchor(tree: dict[str, Any], root: Path) -> None:
    data = tree.get("data")
    if isinstance(data, dict):
        for key in ("folder", "test_folder", "measurements"):
            if isinstance(data.get(key), str):
                data[key] = str((root / Path(data[key]).expanduser()).resolve())
