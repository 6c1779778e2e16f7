"""Measure the structure of the code, of an earlier revision and of the working tree, and write results/structure.json.

    python tools/measure_structure.py --before 1a2daee --results results/structure.json

Counts entries at the top of the package, modules, imports between rooms, circles of imports (imports for type checkers
included), lengths of files and functions, type errors, lines of the README, and words that are not of the field.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import results

ROOT = results.ROOT
NAMES = frozenset(
    """
    Looking looked looking settle settled settles temper Tandem halves deal dealt leaning speck shake
    shaken thin decay_at Slot Lane Door Bench Asking contenders contender Contender side_by_side
    next_masks told found picture pictures centre colour distinct WITHIN asks wording Found Answered
    Question Passes
    """.split()  # noqa: SIM905
)
"""Identifiers of version 0.1 that stand for something the field has another word for (exact names)."""
WORDS = re.compile(
    r"\b(Tandem|Looking|looked|temper(?:s|ed)?|speck|contenders|side_by_side|next_masks|wording|told|nobody|whoever|"
    r"dealt|pictures?|colours?|centres?)\b"
)
"""The same in strings, comments and prose."""
EXEMPT = ("structures/renames.py",)
"""Files that have to name the old words: the table of renames."""


def private_words(text: str) -> list[str]:
    """Identifiers of `NAMES` and matches of `WORDS` in strings and comments of Python source."""
    hits = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            hits += [token.string] if token.string in NAMES else []
        elif token.type in (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            hits += WORDS.findall(token.string)
    return hits


def modules(package: Path) -> dict[str, Path]:
    """Dotted name to file of all modules below a package."""
    names = {file: ".".join(file.relative_to(package.parent).with_suffix("").parts) for file in package.rglob("*.py")}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Own modules that each module imports, anywhere in its file."""
    graph = {}
    for name, file in known.items():
        nodes = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.ImportFrom) and n.module]
        targets = {f"{n.module}.{alias.name}" for n in nodes for alias in n.names} | {str(n.module) for n in nodes}
        graph[name] = {target for target in targets if target in known} - {name}
        graph[name] -= {t for t in graph[name] if any(other.startswith(f"{t}.") for other in graph[name])}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other."""
    reach = {node: _reached(graph, node) for node in graph}
    groups = {frozenset(o for o in reach[node] if node in reach[o]) for node in graph if node in reach[node]}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph[node]
    return seen


def function_lengths(files: list[Path]) -> list[int]:
    """Lines of each function's body without its docstring."""
    lengths = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lengths.append(body[-1].end_lineno - body[0].lineno + 1 if body else 0)
    return lengths


def type_errors(tree: Path) -> int:
    """Errors of mypy with the configuration of the working tree."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "src/samtailor"]
    lines = subprocess.run(command, cwd=tree, capture_output=True, text=True).stdout.splitlines()
    counted = re.match(r"Found (\d+) error", lines[-1])
    return int(counted[1]) if counted else 0


def measure(tree: Path) -> dict[str, float]:
    """All figures of a checkout."""
    package = tree / "src" / "samtailor"
    known = modules(package)
    graph = imports({name: file for name, file in known.items() if name != "samtailor"})
    files = list(known.values())
    lengths = sorted(len(file.read_text("utf-8").splitlines()) for file in files)
    functions = sorted(function_lengths(files))
    between = {(a.split(".")[1], b.split(".")[1]) for a, targets in graph.items() for b in targets if "." in b}
    words = [w for f in files if not f.as_posix().endswith(EXEMPT) for w in private_words(f.read_text("utf-8"))]
    return {
        "entries": len([e for e in package.iterdir() if e.name != "__pycache__"]),
        "modules": len(files),
        "arrows": sum(len(targets) for targets in graph.values()),
        "room-arrows": sum(a != b for a, b in between),
        "circles": len(circles(graph)),
        "file-median": statistics.median(lengths),
        "file-p95": _percentile(lengths, 0.95),
        "function-median": statistics.median(functions),
        "function-p95": _percentile(functions, 0.95),
        "type-errors": type_errors(tree),
        "readme": len((tree / "README.md").read_text("utf-8").splitlines()),
        "words": len(words),
    }


def _percentile(values: list[int], share: float) -> int:
    return values[min(len(values) - 1, int(share * len(values)))]


LABELS = {
    "entries": "entries at the top of the package",
    "modules": "modules",
    "arrows": "imports between modules",
    "room-arrows": "pairs of packages, one of which imports the other",
    "circles": "circles of imports",
    "file-median": "lines of a file, median",
    "file-p95": "lines of a file, 95th percentile",
    "function-median": "lines of a function, median",
    "function-p95": "lines of a function, 95th percentile",
    "type-errors": "type errors (mypy, configuration of today)",
    "readme": "lines of the README",
    "words": "words of version 0.1 that are not of the field",
}


def checked_out(revision: str, folder: Path) -> Path:
    """The tree of a revision below a folder."""
    data = subprocess.run(["git", "archive", revision, "src", "README.md"], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(data.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="1a2daee", help="revision to compare with")
    results.add_option(parser, "structure")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = measure(checked_out(args.before, Path(folder)))
    after = measure(ROOT)
    for name, label in LABELS.items():
        print(f"{label:60} {before[name]:>8} {after[name]:>8}")
    rows = {name: {"what": label, "before": before[name], "after": after[name]} for name, label in LABELS.items()}
    columns = (
        results.Column(key="what", label=""),
        results.Column(key="before", label=f"version 0.1 ({args.before})", digits=0),
        results.Column(key="after", label="version 0.2", digits=0),
    )
    table = results.Table(columns=columns, rows=rows)
    title = "Structure of the code"
    results.save("structure", title=title, tables={"main": table}, units="counts", base=None, file=args.results)


if __name__ == "__main__":
    main()
