"""Fixtures for tests of commands: a command line, and a base model, a data set and an adapter on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from samtailor.cli import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command line in an empty folder with its own cache; returns the result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMTAILOR_CACHE", str(tmp_path / "cache"))

    def call(*arguments: object, code: int = 0):
        result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture(scope="session")
def base_folder(tiny_sam_model, tmp_path_factory) -> Path:
    """A base model as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("base")
    tiny_sam_model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """Eight images with one folder of masks for each class."""
    return write_data(tmp_path_factory.mktemp("data"), 8)


def write_data(root: Path, count: int) -> Path:
    """Images with a disc and a square, and one folder of masks for each class; returns `root`."""
    for folder in ("images", "masks/disc", "masks/square"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        rng = np.random.default_rng(index)
        image = rng.integers(90, 140, (48, 80, 3), dtype=np.uint8)
        y, x = np.mgrid[:48, :80]
        disc = (y - rng.uniform(14, 34)) ** 2 + (x - rng.uniform(14, 36)) ** 2 <= 10**2
        square = (abs(x - rng.uniform(50, 70)) <= 7) & (abs(y - rng.uniform(10, 38)) <= 7)
        image[disc], image[square] = (230, 200, 60), (20, 30, 40)
        for folder, pixels in (("images", image), ("masks/disc", disc), ("masks/square", square)):
            values = pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint8) * 255
            Image.fromarray(values).save(root / folder / f"p{index:03d}.png")
    return root


@pytest.fixture(scope="session")
def adapter_folder(base_folder, data_folder, tmp_path_factory) -> Path:
    """A PLM+PMM adapter of two steps."""
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.fitting import fit
    from samtailor.train.config import FitConfig

    root = tmp_path_factory.mktemp("adapter")
    settings = {"method": "plm-pmm", "steps": 2, "batch_size": 2, "val": 0.25, "eval_masks": 2, "trackers": ()}
    settings["near_duplicates"] = False
    config = FitConfig(data=data_folder, out=root / "disc", base=str(base_folder), classes=("disc",), **settings)
    return fit(config, store=EmbeddingCache(root / "cache")).folder
