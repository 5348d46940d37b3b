"""Imports go down only, there is no cycle, and the core imports nothing heavy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src"

#: Layers from low to high; a module may import from lower layers and, without a cycle, from its own.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("_batch", "_files", "_workspace", "_dense", "_spectral", "_tridiagonal"),
    ("status",),
    ("solution",),
    ("coarse_map",),
    ("parameters",),
    ("_numbers",),
    ("curvature",),
    ("energy",),
    ("problem",),
    ("linear_systems", "operators"),
    ("fidelities", "regularizers"),
    ("_rotated",),
    ("variational", "fixed_points", "pretraining"),
    ("mri",),
    ("lower",),
    ("losses", "penalties"),
    ("certified_loss", "hypergradient"),
    ("evaluation",),
    ("distributed", "warm_starts", "_rate", "_tally", "_total"),
    ("reduced_objective",),
    ("upper",),
    ("stochastic",),
    ("interop", "problems", "testing"),
    ("run_directory", "run_records", "metrics", "model", "data", "mri.io", "shipped"),
    ("checkpoint", "history", "callbacks"),
    ("learner",),
    ("api", "retuning", "sampling"),
    ("experiment", "recipes"),
    ("report",),
    ("experiments", "sampling_study"),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

#: Costly packages: imported inside functions, or at the top of the packages named only.
HEAVY = {
    "deepinv": {"interop"},
    "matplotlib": {"report"},
    "skimage": set(),
    "PIL": {"report", "data", "cli"},
    "typer": {"cli"},
    "rich": {"cli"},
    "pydantic": {"experiment", "cli"},
    "optuna": set(),
    "dfols": set(),
    "pybobyqa": set(),
    "tensorboard": set(),
    "h5py": set(),
    "nibabel": set(),
    "pydicom": set(),
    "ismrmrd": set(),
    "pypulseq": set(),
    "pywt": set(),
    "sklearn": set(),
}


def files() -> list[Path]:
    """Every module of the package."""
    return sorted((ROOT / "bilearn").rglob("*.py"))


def name_of(path: Path) -> str:
    """Dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def statements(path: Path) -> tuple[tuple[ast.Import | ast.ImportFrom, bool], ...]:
    """Import statements of a file that run, and whether they run at import; those for type checking are left out."""
    found: list[tuple[ast.Import | ast.ImportFrom, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                found.append((child, top))
            visit(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(path.read_text()), True)
    return tuple(found)


def imported(path: Path, top_only: bool) -> Iterator[str]:
    """Dotted names that a file imports; 'from a import b' counts as a.b where that is a module."""
    modules = {name_of(f) for f in files()}
    for node, top in statements(path):
        if top_only and not top:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            continue
        assert node.level == 0, f"{path}: found a relative import, expected absolute ones"
        assert node.module is not None
        for alias in node.names:
            child = f"{node.module}.{alias.name}"
            yield child if child in modules else node.module


def layer(module: str) -> str:
    """First part below ``bilearn``, or first two where LAYERS names them; the package itself sits above everything."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if ".".join(parts[:2]) in LEVEL else ".".join(parts[:1])


def test_every_module_has_a_layer() -> None:
    unknown = sorted({layer(name_of(f)) for f in files()} - set(LEVEL) - {""})
    assert not unknown, f"not in LAYERS of this test: {unknown}"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_imports_go_down(path: Path) -> None:
    own = layer(name_of(path))
    if own == "":
        return
    upward = sorted(
        {
            target
            for target in imported(path, top_only=False)
            if target.split(".")[0] == "bilearn" and LEVEL.get(layer(target), -1) > LEVEL[own]
        }
    )
    assert not upward, f"{name_of(path)} imports upward: {upward}"


def test_there_is_no_import_cycle() -> None:
    edges = {
        name_of(f): {t for t in imported(f, top_only=True) if t.startswith("bilearn") and t != name_of(f)}
        for f in files()
    }
    done: set[str] = set()
    cycles: list[str] = []

    def walk(module: str, trail: tuple[str, ...]) -> None:
        if module in trail:
            cycles.append(" -> ".join((*trail[trail.index(module) :], module)))
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                walk(target, (*trail, module))
            done.add(module)

    for module in sorted(edges):
        walk(module, ())
    assert not cycles, f"{len(cycles)} import cycles, the first: {cycles[0]}"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    own = layer(name_of(path))
    heavy = {target for target in imported(path, top_only=True) if own not in HEAVY.get(target.split(".")[0], {own})}
    assert not heavy, f"{name_of(path)} imports {sorted(heavy)} at its top; import it inside the function that needs it"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_files_are_short(path: Path) -> None:
    count = len(path.read_text().splitlines())
    assert count <= 500, f"{name_of(path)} has {count} lines, expected at most 500"
