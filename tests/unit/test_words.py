"""Words of version 0.1 that are not of the field do not come back (the list is in tools/measure_structure.py)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import measure_structure  # noqa: E402

STORED = {
    "workbench/records.py": {"picture"},  # field of annotation files of version 0.1
    "workbench/project.py": {"pictures"},  # folder of projects of version 0.1
    "data/augment.py": {"colour"},  # part of the key of cached embeddings
}
"""Names in files that users have, which must stay readable."""
PROSE = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "src/samtailor/bases/lite/README.md"]
PAGE = ["workbench-page/src/**/*.ts", "workbench-page/src/**/*.tsx"]


def sources() -> list[Path]:
    package = ROOT / "src" / "samtailor"
    return [file for file in package.rglob("*.py") if not file.as_posix().endswith(measure_structure.EXEMPT)]


def texts(patterns: list[str]) -> list[Path]:
    return [file for pattern in patterns for file in sorted(ROOT.glob(pattern)) if "node_modules" not in file.parts]


@pytest.mark.parametrize("file", sources(), ids=lambda f: f.relative_to(ROOT / "src" / "samtailor").as_posix())
def test_the_code_uses_words_of_the_field(file):
    allowed = STORED.get(file.relative_to(ROOT / "src" / "samtailor").as_posix(), set())
    assert set(measure_structure.private_words(file.read_text("utf-8"))) - allowed == set()


@pytest.mark.parametrize("file", texts(PROSE) + texts(PAGE), ids=lambda f: f.relative_to(ROOT).as_posix())
def test_documentation_and_page_use_words_of_the_field(file):
    text = re.sub(r"`[^`\n]*`", "", file.read_text("utf-8"))  # names of old settings are quoted
    assert measure_structure.WORDS.findall(text) == []


def test_a_private_word_is_noticed():
    assert measure_structure.private_words("found = temper(1)  # whoever is told\n") == [
        "found",
        "temper",
        "whoever",
        "told",
    ]
