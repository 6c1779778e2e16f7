"""The layout: few rooms, every one in the import contract and in docs/architecture.md, and no circle of imports."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "samtailor"


def rooms() -> set[str]:
    """Files and folders at the top of the package, without endings."""
    entries = [e for e in SOURCE.iterdir() if e.name not in ("__pycache__", "py.typed")]
    return {entry.name.removesuffix(".py") for entry in entries}


def modules() -> dict[str, Path]:
    """Dotted name to file."""
    names = {file: ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts) for file in SOURCE.rglob("*.py")}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Own modules that each module imports: at the top, inside functions, and for type checkers alone."""
    found: dict[str, set[str]] = {}
    for name, file in known.items():
        nodes = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.ImportFrom) and n.module]
        targets = {f"{n.module}.{alias.name}" for n in nodes for alias in n.names} | {n.module for n in nodes}
        found[name] = {target for target in targets if target in known} - {name}
        # `from package.module import name` runs the package too, but asks it for nothing
        found[name] -= {t for t in found[name] if any(o.startswith(f"{t}.") for o in found[name])}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                result.append(sorted(part))

    for node in graph:
        if node not in index:
            visit(node)
    return result


def test_there_are_few_rooms():
    assert len([e for e in SOURCE.iterdir() if e.name != "__pycache__"]) <= 27


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
    graph = imports(modules())
    graph.pop("samtailor")  # re-exports public names, lazily
    assert circles({name: targets & graph.keys() for name, targets in graph.items()}) == []


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
