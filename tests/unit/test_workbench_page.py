"""The page of the workbench: its masks are COCO's, and its built files are complete, small and up to date."""

from __future__ import annotations

import hashlib
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
def test_the_rle_examples_of_the_page_match_pycocotools(example):
    mask = coco.decode({"size": example["size"], "counts": example["counts"]})
    assert mask.sum() == example["area"]
    if example["rows"] is not None:
        assert ["".join(".#"[pixel] for pixel in row) for row in mask] == example["rows"]
    assert coco.encode(np.asfortranarray(mask))["counts"].decode() == example["counts"]


def test_the_built_page_is_complete_and_loads_nothing_from_other_hosts():
    index = (static.FOLDER / "index.html").read_text()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', index)
    assert len(loaded) >= 3
    for path in loaded:
        assert (static.FOLDER / path.lstrip("/")).is_file(), path
    assert "<style" not in index
    assert not re.search(r"<script(?![^>]*\bsrc=)", index)


def test_the_built_page_is_up_to_date():
    """After changing the sources, run ``npm run build`` in workbench-page and commit the result."""
    sources = [path for path in (SOURCE / "src").rglob("*") if path.is_file()]
    sources += [SOURCE / name for name in ("index.html", "package-lock.json", "vite.config.ts")]
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(SOURCE).as_posix(), path) for path in sources):
        digest.update(f"{name}\n{path.read_text(encoding='utf-8')}\n".encode())
    index = (static.FOLDER / "index.html").read_text()
    assert f'name="source-digest" content="{digest.hexdigest()}"' in index


def test_the_built_page_is_small():
    assert sum(path.stat().st_size for path in static.FOLDER.rglob("*") if path.is_file()) < 300_000


def test_the_lock_file_covers_every_platform_and_names_no_registry():
    """With node_modules present, ``npm install`` lists the packages of one platform, and ``npm ci`` fails on others."""
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    optional = {name for one in packages.values() for name in one.get("optionalDependencies", {})}
    assert {"@rollup/rollup-darwin-arm64", "@rollup/rollup-win32-x64-msvc", "@esbuild/linux-x64"} <= optional
    assert {name for name in optional if f"node_modules/{name}" not in packages} == set()
    assert all("integrity" in one and "resolved" not in one for name, one in packages.items() if name)
