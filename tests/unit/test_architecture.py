"""The layout: few rooms, every one in the import contract and in docs/architecture.md, and no circle of imports."""

from __future__ import annotations

import ast
import configparser
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from measure_structure import circles, imports, modules  # noqa: E402

SOURCE = ROOT / "src" / "samtailor"


def rooms() -> set[str]:
    """Files and folders at the top of the package, without endings."""
    entries = [e for e in SOURCE.iterdir() if e.name not in ("__pycache__", "py.typed")]
    return {entry.name.removesuffix(".py") for entry in entries}


def test_there_are_few_rooms():
    assert len(rooms()) <= 30


def test_the_import_contract_names_every_room():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"].replace("|", " ").replace(":", " ").split()
    assert set(layers) == rooms() - {"__init__"}


def test_the_page_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    missing = [r for r in sorted(rooms()) if not r.startswith("__") and f"`{r}/" not in page and f"`{r}.py" not in page]
    assert missing == []


def test_no_circle_of_imports_not_even_for_type_checkers():
    graph = imports(modules(SOURCE))
    graph.pop("samtailor")  # re-exports public names, lazily
    assert circles({name: targets & graph.keys() for name, targets in graph.items()}) == []


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_function_of_a_package_has_the_name_of_a_module_in_it():
    """When such a module is imported later, it takes the place of the function."""
    clashes = []
    for file in sorted(SOURCE.rglob("__init__.py")):
        inside = {one.stem for one in file.parent.iterdir() if one.suffix == ".py" or one.is_dir()}
        package = ".".join(file.parent.relative_to(SOURCE.parent).parts)
        names = set()
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module != package:
                given = {alias.asname or alias.name for alias in node.names}
                names |= given - {(node.module or "").rpartition(".")[2]}  # that module is imported before the name is
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
        clashes += [f"{package}.{name}" for name in sorted(names & inside)]
    assert clashes == []
