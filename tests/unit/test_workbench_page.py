"""The workbench's page: the masks it reads and writes are COCO's, and its built files are all that it loads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from samtailor.workbench import static

SOURCE = Path(__file__).parents[2] / "workbench-page"
EXAMPLES = SOURCE / "test" / "rle-examples.json"


@pytest.mark.parametrize("example", json.loads(EXAMPLES.read_text()), ids=lambda example: example["name"])
def test_the_examples_of_the_pages_tests_are_pycocotools_own(example):
    mask = coco.decode({"size": example["size"], "counts": example["counts"]})
    assert mask.sum() == example["area"]
    if example["rows"] is not None:
        assert ["".join(".#"[pixel] for pixel in row) for row in mask] == example["rows"]
    assert coco.encode(np.asfortranarray(mask))["counts"].decode() == example["counts"]


def test_the_built_page_is_whole_and_loads_nothing_from_elsewhere():
    index = (static.FOLDER / "index.html").read_text()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', index)
    assert len(loaded) >= 3
    for path in loaded:
        assert (static.FOLDER / path.lstrip("/")).is_file(), path
    assert "<style" not in index
    assert not re.search(r"<script(?![^>]*\bsrc=)", index)


def test_the_built_page_is_small():
    assert sum(path.stat().st_size for path in static.FOLDER.rglob("*") if path.is_file()) < 300_000


def test_the_lock_file_is_good_for_every_platform_and_names_no_registry():
    """An `npm install` that finds node_modules of its own platform leaves the others out, and `npm ci` fails there."""
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    optional = {name for one in packages.values() for name in one.get("optionalDependencies", {})}
    assert {"@rollup/rollup-darwin-arm64", "@rollup/rollup-win32-x64-msvc", "@esbuild/linux-x64"} <= optional
    assert {name for name in optional if f"node_modules/{name}" not in packages} == set()
    assert all("integrity" in one and "resolved" not in one for name, one in packages.items() if name)
