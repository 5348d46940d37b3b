"""One clear sentence for everything that can be wrong in a configuration."""

from __future__ import annotations

import difflib
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file, the key and the fix."""


def nearest(word: str, known: Sequence[str]) -> str:
    """' Did you mean ...?' with the closest of ``known``, or their list where none is close."""
    close = difflib.get_close_matches(
        word.lower().replace("_", "-"), [k.lower().replace("_", "-") for k in known], 1, 0.6
    )
    if close:
        match = next(k for k in known if k.lower().replace("_", "-") == close[0])
        return f"did you mean '{match}'?"
    return f"expected one of {', '.join(known)}" if known else "none is expected here"


def explain(error: ValidationError, model: type[BaseModel], source: str) -> ConfigError:
    """The error a user reads: one sentence per mistake, each with its key, what was found and what was expected."""
    return ConfigError("\n".join(_sentence(entry, model, source) for entry in error.errors(include_url=False)))


def _sentence(entry: Any, model: type[BaseModel], source: str) -> str:
    location, fields = _walk(entry["loc"], model)
    where = f"{source}: {location}" if location else source
    kind, found, context = entry["type"], entry.get("input"), entry.get("ctx", {})
    if kind == "extra_forbidden":
        key = str(entry["loc"][-1])
        section = location.rpartition(".")[0]
        place = f"in [{section}]" if section else "at the top level"
        return f"{source}: unknown key '{key}' {place}; {nearest(key, fields)}"
    if kind == "missing":
        return f"{where} is missing; add it"
    if kind == "union_tag_not_found":
        return f"{where}.kind is missing; expected one of {', '.join(_kinds(entry['loc'], model))}"
    if kind == "union_tag_invalid":
        return (
            f"{where}.kind: found '{context['tag']}'; {nearest(str(context['tag']), _names(context['expected_tags']))}"
        )
    if kind == "literal_error":
        return f"{where}: found {found!r}; {nearest(str(found), _names(context['expected']))}"
    if kind == "value_error":
        return f"{where}: {context['error']}"
    return f"{where}: found {_shown(found)}, expected {_expectation(entry)}"


def _expectation(entry: Any) -> str:
    message = entry["msg"]
    wanted = message.partition(",")[0].removeprefix("Input should be ")
    return (
        wanted.replace("a valid dictionary", "a table")
        .replace("a valid integer", "an integer")
        .replace("valid ", "")
        .replace("string", "text")
    )


def _shown(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 60 else text[:57] + "..."


def _names(listed: str) -> list[str]:
    return [part.strip().strip("'\"") for part in listed.replace(" or ", ", ").split(",") if part.strip()]


def _kinds(location: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """Values of 'kind' that the section at ``location`` may have."""
    return [str(tag) for choice in _resolve(location, model)[2] for tag in _tags_of(choice)]


def _walk(location: Sequence[int | str], model: type[BaseModel]) -> tuple[str, list[str]]:
    """The dotted key without the tags pydantic adds, and the keys known in the section that holds the last part."""
    shown, fields, _ = _resolve(location, model)
    return shown, fields


def _resolve(location: Sequence[int | str], model: type[BaseModel]) -> tuple[str, list[str], list[Any]]:
    """Dotted key, keys known beside its last part, and the types it may have."""
    shown = ""
    current: list[Any] = [model]
    fields = list(model.model_fields)
    for part in location:
        models = [m for m in current if isinstance(m, type) and issubclass(m, BaseModel)]
        tagged = [m for m in models if part in _tags_of(m)]
        if tagged and not any(part in m.model_fields for m in models):
            current = tagged
            continue
        fields = [name for m in models for name in m.model_fields]
        shown += f"[{part}]" if isinstance(part, int) else (f".{part}" if shown else str(part))
        current = [
            choice
            for m in models
            if part in m.model_fields
            for choice in _choices(m.model_fields[str(part)].annotation)
        ] or ([c for c in current if isinstance(part, int)])
    return shown, fields, current


def _tags_of(model: Any) -> tuple[Any, ...]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ()
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()


def _choices(annotation: Any) -> list[Any]:
    """All classes inside a union, a list or an annotated type."""
    if get_origin(annotation) in (Union, types.UnionType, Annotated, list, tuple):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return [annotation]
