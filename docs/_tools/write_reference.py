"""Write the reference of TOML files from the typed configuration, and that of the command line from the commands.

    python docs/_tools/write_reference.py

The result is committed; a test fails where it differs from the code.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import ArgumentInfo

from bilearn.cli.main import app
from bilearn.experiment import ClassificationConfig, ExperimentConfig, parse_task, recipe_names, recipe_text
from bilearn.experiment.data_schema import Parameter
from bilearn.experiment.optimizer_schema import FixedAccuracyConfig, ScheduleConfig

DOCS = Path(__file__).parent.parent
GENERATED = "<!-- Written by docs/_tools/write_reference.py from the code; edit that instead. -->\n"


def toml_reference() -> str:
    """Markdown: every section of an experiment, then the named recipes."""
    parts = [GENERATED, (DOCS / "_tools" / "toml_head.md").read_text(encoding="utf-8")]
    top = {n: f for n, f in ExperimentConfig.model_fields.items() if not _models(f.annotation)}
    parts.append("## Top level\n\n" + _table(top))
    for name, field in ExperimentConfig.model_fields.items():
        models = _models(field.annotation)
        if models:
            parts.append(f"## [{name}]\n\n" + "\n".join(_section(model, field) for model in models))
    parts.append("## Classification\n\n" + _doc(ClassificationConfig) + "\n")
    for name in ("data", "ridge"):
        (model,) = _models(ClassificationConfig.model_fields[name].annotation)
        parts.append(f"### [{name}] of a classification\n\n{_doc(model)}\n\n{_table(model.model_fields)}")
    parts.append(
        "`task`, `name` and `description` stand at the top; `[solver]`, `[hypergradient]`, `[optimizer]` and `[run]` are as "
        "above.\n"
    )
    parts.append("## A learnable number\n\n" + _doc(Parameter) + "\n\n" + _table(Parameter.model_fields))
    parts.append("## A schedule\n\n" + _doc(ScheduleConfig) + ' Write `{ kind = "fixed", value = 0.1 }`.\n')
    parts += [_section(model, FieldInfo()) for model in ScheduleConfig.__subclasses__()]
    parts.append(
        "## A fixed accuracy\n\n" + _doc(FixedAccuracyConfig) + "\n\n" + _table(FixedAccuracyConfig.model_fields)
    )
    parts.append("## Named recipes\n\n`bilearn recipes` lists them, `bilearn learn NAME` runs one.\n")
    for name in recipe_names():
        config = parse_task(recipe_text(name), name, name)
        parts.append(f"### {name}\n\n{config.description}\n\n```toml\n{recipe_text(name).strip()}\n```\n")
    return "\n".join(part.strip() + "\n" for part in parts)


def _section(model: type[BaseModel], owner: FieldInfo) -> str:
    kind = model.model_fields.get("kind")
    fields = {name: field for name, field in model.model_fields.items() if name != "kind"}
    text = _doc(model) + "\n"
    if kind is not None:
        values = get_args(kind.annotation)
        default = isinstance(owner.default, model)
        heading = " or ".join(f'`kind = "{value}"`' for value in values)
        if len(values) > 1 and kind.default is not PydanticUndefined:
            default, heading = False, heading + f' (default `"{kind.default}"`)'
        text = f"### {heading}{' (default)' if default else ''}\n\n{text}"
    return text + ("\n" + _table(fields) if fields else "")


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(field)} | {_default(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _doc(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "**required**"
    if value is None:
        return "absent"
    if isinstance(value, ScheduleConfig):
        entries = value.model_dump(exclude_none=True).items()
        return "`{ " + ", ".join(f"{key} = {json.dumps(entry)}" for key, entry in entries) + " }`"
    if isinstance(value, Parameter):
        if not value.learn:
            return f"`{value.start:g}` (fixed)"
        bounds = "" if value.bounds is None else ", bounds = [{:g}, {:g}]".format(*value.bounds)
        return f"`{{ start = {value.start:g}{bounds} }}` (learned)"
    return f"`{json.dumps(value)}`"


def _type(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([_name(field.annotation), *limits]).replace("|", "\\|")


def _name(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    models = _models(annotation)
    if models and all(issubclass(model, ScheduleConfig) for model in models):
        return "[schedule](#a-schedule): " + ", ".join(
            f"`{get_args(m.model_fields['kind'].annotation)[0]}`" for m in models
        )
    if origin is Annotated:
        return _type(FieldInfo.from_annotation(annotation))
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in args)
    if origin in (Union, types.UnionType):
        return " or ".join(_name(a) for a in args if a is not type(None))
    if origin is list and _models(annotation):
        return "list of tables, each of one of these kinds: " + ", ".join(
            f"`{get_args(m.model_fields['kind'].annotation)[0]}`" for m in _models(annotation)
        )
    if origin is list:
        return f"list of {_name(args[0])}"
    if origin is tuple:
        return f"list of {len(args)} {_name(args[0])}"
    names = {int: "integer", float: "number", str: "text", bool: "`true` or `false`"}
    if annotation is FixedAccuracyConfig:
        return "[fixed accuracy](#a-fixed-accuracy)"
    if annotation is Parameter:
        return "[learnable number](#a-learnable-number)"
    return names.get(annotation, f"table ({getattr(annotation, '__name__', annotation)})")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if get_origin(annotation) is None and isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models(part)]


@dataclass(frozen=True)
class Flag:
    """An argument (no names) or an option of a command."""

    names: tuple[str, ...]
    metavar: str
    default: str
    required: bool
    meaning: str

    @property
    def takes_value(self) -> bool:
        """Whether a value follows."""
        return bool(self.metavar)


def commands() -> dict[str, tuple[str, list[Flag]]]:
    """Help text and arguments of every command, from the signatures of the functions behind them."""
    found = {}
    groups = [("", app), *((f"{group.name} ", group.typer_instance) for group in app.registered_groups)]
    for prefix, group in groups:
        assert group is not None
        for command in group.registered_commands:
            assert command.callback is not None
            assert command.name is not None
            signature = inspect.signature(command.callback, eval_str=True)
            help_text = inspect.cleandoc(command.callback.__doc__ or "")
            flags = [_flag(parameter) for parameter in signature.parameters.values()]
            found[f"{prefix}{command.name}"] = (help_text, flags)
    return found


def _flag(parameter: inspect.Parameter) -> Flag:
    kind, default = parameter.annotation, parameter.default
    if get_origin(kind) is Annotated:
        kind, info = get_args(kind)
    else:
        info, default = default, default.default
    required = default in (inspect.Parameter.empty, ...)
    shown = "" if required or default is None or kind is bool else f"`{default}`"
    name = parameter.name.replace("_", "-")
    if isinstance(info, ArgumentInfo):
        return Flag((), info.metavar or name.upper(), shown, required, info.help or "")
    written = [n for n in (info.default, *(info.param_decls or ())) if isinstance(n, str) and n.startswith("-")]
    names = tuple(written) or (f"--{name}",)
    parts = [part for part in (get_args(kind) or (kind,)) if part is not type(None)]
    metavar = "" if kind is bool else info.metavar or (get_args(parts[0]) or parts)[0].__name__.upper()
    return Flag(names, metavar, shown, required, info.help or "")


def cli_reference() -> str:
    """Markdown: every command with its arguments and options."""
    parts = [GENERATED, (DOCS / "_tools" / "cli_head.md").read_text(encoding="utf-8")]
    parts += [_command(name, text, flags) for name, (text, flags) in commands().items()]
    return "\n".join(part.strip() + "\n" for part in parts)


def _command(name: str, text: str, flags: list[Flag]) -> str:
    usage = " ".join(
        [f"bilearn {name} [OPTIONS]", *(f.metavar if f.required else f"[{f.metavar}]" for f in flags if not f.names)]
    )
    rows = ["| argument or option | default | meaning |", "|---|---|---|"]
    for flag in flags:
        label = f"`{flag.metavar}`" if not flag.names else ", ".join(f"`{n}`" for n in flag.names)
        value = f" `{flag.metavar}`" if flag.names and flag.metavar else ""
        meaning = flag.meaning.replace("|", "\\|")
        rows.append(
            f"| {label}{value} | {'**required**' if flag.required else flag.default} | {meaning} |".replace(
                "NAME|FILE", "NAME\\|FILE"
            )
        )
    table = "\n".join(rows)
    return f"## bilearn {name}\n\n```text\n{usage}\n```\n\n{table}\n\n{_prose(text)}\n"


def _prose(text: str) -> str:
    """Paragraphs of a help text; those that are commands become blocks of shell code."""
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", re.sub(r"\[/?bold\]", "", text)):
        words = inspect.cleandoc(paragraph)
        if not words.startswith("bilearn "):
            out.append(words.rstrip(":") if words.startswith("Example") else words)
            continue
        line = re.sub(r" {3,}", "  # ", words)
        if out and out[-1].endswith("```"):
            out[-1] = out[-1].removesuffix("```") + line + "\n```"
        else:
            out.append(f"```sh\n{line}\n```")
    return "\n\n".join(out)


PAGES = {"reference/toml.md": toml_reference, "reference/cli.md": cli_reference}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
