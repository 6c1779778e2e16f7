"""The layout: few rooms, every one in the import contract and in docs/architecture.md, and no circle of imports."""

from __future__ import annotations

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
