"""Fill the tables of names in the documentation from the registry: python tools/make_names_docs.py.

A table stands between `<!-- names: KIND -->` and `<!-- /names -->`: each name with the first sentence of its docstring.
"""

from __future__ import annotations

import re
from pathlib import Path

from samtailor import registry

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"(<!-- names: ([\w.]+) -->\n).*?(<!-- /names -->)", re.DOTALL)


def filled(page: str, path: Path) -> str:
    """The text of a page with its tables."""
    return BLOCK.sub(lambda block: block[1] + table(block[2], path) + block[3], page)


def table(kind: str, path: Path) -> str:
    """One table. A name with a page of its own in the folder of `path` is a link to it."""
    rows = []
    for name in registry.names(kind):
        text = first_sentence(registry.find(kind, name).__doc__ or "", name)
        text = text.replace("|", "\\|").replace("<", "&lt;")
        link = f"[`{name}`]({name}.md)" if (path.parent / f"{name}.md").is_file() else f"`{name}`"
        rows.append(f"| {link} | {text} |\n")
    return "\n| name | |\n|---|---|\n" + "".join(rows) + "\n"


def first_sentence(docstring: str, name: str) -> str:
    """The first sentence of the first paragraph, without the name in front."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    paragraph = re.sub(rf"^`{re.escape(name)}`:\s*", "", paragraph)
    sentence = re.split(r"(?<!\bal)(?<!\be\.g)(?<!\bi\.e)\.\s+(?=[A-Z`])", paragraph)[0].rstrip(".") + "."
    return sentence[:1].upper() + sentence[1:]


def pages() -> dict[Path, str]:
    """Every page with such a table, and its text with the tables of today."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
    return {path: filled(text, path) for path, text in texts.items() if BLOCK.search(text)}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(f"{path} is written.")
