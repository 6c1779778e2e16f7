"""The workbench's page: the masks it reads and writes are COCO's, and its built files are all that it loads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from samtailor.workbench import static

EXAMPLES = Path(__file__).parents[2] / "workbench-page" / "test" / "rle-examples.json"


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
