"""docs/reference/output-formats.md is complete: every writer, its files and its options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from samtailor.data.writers import Destination, write_dataset, writer_options
from samtailor.registry import names
from written import CLASSES, usual

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "output-formats.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (`[^|]*)\|", PAGE, re.MULTILINE))
"""Written files by format, from the table of the page."""


def test_every_writer_has_a_row_and_no_other_format_has():
    assert sorted(ROWS) == names("writers")


@pytest.mark.parametrize("format", names("writers"))
def test_options_of_a_writer_are_described(format):
    for option in writer_options(format):
        assert re.search(rf"`--set {option}=", PAGE), f"{format}: the option {option} is not on the page"
    if "rle" in writer_options(format):
        (section,) = re.findall(r"## Polygons or masks\n(.*?)\n## ", PAGE, re.DOTALL)
        assert f"`{format}`" in section


@pytest.mark.parametrize("format", names("writers"))
def test_the_files_of_a_row_are_those_that_are_written(format, tmp_path):
    folder = tmp_path / "out"
    write_dataset(format, Destination(folder), usual(tmp_path / "from"), CLASSES)
    listed = [entry.strip("/") for entry in re.findall(r"`([^`]+)`", ROWS[format])]
    made = {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
    for file in made:
        assert any(_fits(file, entry) for entry in listed), f"{file} is not in the row of {format}"
    for entry in listed:
        assert any(_fits(file, entry) or entry == ".json" for file in made), f"{format} writes no {entry}"


def _fits(file: Path, entry: str) -> bool:
    """Whether a file is described by "images/", "labels/NAME.txt", "NAME.jpg" or ".json"."""
    if entry in ("train", "val"):
        return entry in file.parts
    if entry.startswith("."):
        return file.suffix == entry
    if "NAME" in entry:
        folder, _, suffix = entry.partition("NAME")
        images = {".jpg": (".png", ".jpg")}.get(suffix, (suffix,))
        return file.as_posix().startswith(folder.split("CLASS")[0]) and file.suffix in images
    return file.as_posix() == entry or file.as_posix().startswith(f"{entry}/")
