"""docs/architecture.md is true: what it lists is there, and imports among what it lists point up."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "samtailor"


def listed() -> dict[str, int]:
    """File or folder of the page's table, without ending, to the number of its row."""
    rows = [
        row.split("|")[1] for row in (ROOT / "docs/architecture.md").read_text("utf-8").split("\n") if row[:3] == "| `"
    ]
    found = {}
    for number, cell in enumerate(rows):
        for name in re.findall(r"`([^`]+)`", cell):
            several = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
            names = [several[1] + one + several[3] for one in several[2].split(",")] if several else [name]
            found |= {one.rstrip("/").removesuffix(".py"): number for one in names}
    return found


def place(module: str, known: dict[str, int]) -> str | None:
    """The entry that a module belongs to: the closest one."""
    return max((k for k in known if module == k or module.startswith(k + "/")), key=len, default=None)


def imported(file: Path) -> set[str]:
    """Own modules that a file imports when it runs, here or inside a function."""
    tree = ast.parse(file.read_text("utf-8"))
    quiet = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.unparse(i.test)
        for n in ast.walk(i)
    }
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and id(n) not in quiet and n.module]
    full = {f"{n.module}.{alias.name}" for n in nodes for alias in n.names if n.module.startswith("samtailor")}
    return {name.partition(".")[2].replace(".", "/") for name in full}


def modules() -> dict[str, Path]:
    files = {
        f.relative_to(SOURCE).with_suffix("").as_posix().removesuffix("/__init__"): f for f in SOURCE.rglob("*.py")
    }
    return {name: file for name, file in files.items() if not name.startswith("__")}


def test_everything_listed_is_there():
    missing = [name for name in listed() if not (SOURCE / name).is_dir() and not (SOURCE / f"{name}.py").is_file()]
    assert len(listed()) > 40
    assert missing == []


def test_imports_point_up_the_list():
    known, down = listed(), []
    for name, file in modules().items():
        own = place(name, known)
        for other in imported(file) if own else ():
            entry = place(other, known)
            if entry is not None and known[entry] > known[own]:
                down.append(f"{name} imports {other}")
    assert down == []
