"""Fits in processes of their own give what the same fits give one after another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from safetensors.torch import load_file

from samtailor.artefact import TENSORS
from samtailor.bases import load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import compare, variants
from samtailor.compare.cost import Cost
from samtailor.compare.entries import make_entry
from samtailor.compare.parallel import Job, parallel_fits
from samtailor.data.split import Split
from samtailor.data.synth.samples import samples
from samtailor.errors import DataError
from samtailor.train.config import load

SETTINGS = {"base": "lite", "steps": 2, "batch_size": 2, "trackers": ()}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return EmbeddingCache(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def images():
    return samples(4, 0, size=(96, 128)), samples(2, 0, size=(96, 128), side="test")


def test_parallel_fits_equal_sequential_ones(tmp_path, store, images):
    base, (train, test) = load_base("lite"), images
    runs = variants(load(None, SETTINGS), ["sam", "plm", "sam-f"])
    made = [
        compare(runs, tmp_path / str(workers), base, train, test, classes=["banner"], store=store, workers=workers)
        for workers in (1, 2)
    ]
    assert made[0].summary() == made[1].summary()
    for name in ("SAM+PLM/0/all", "SAM-F/0/all"):
        alone, beside = (load_file(found.folders[name] / TENSORS) for found in made)
        assert alone.keys() == beside.keys()
        assert all((alone[key] == beside[key]).all() for key in alone)


def test_progress_of_each_fit_is_reported_and_an_error_is_raised(tmp_path, store, images):
    base, train = load_base("lite"), images[0]
    good = load(None, {**SETTINGS, "method": "plm", "steps": 1, "classes": ("banner",), "out": tmp_path / "good"})
    row = make_entry(good, base, ["banner"])
    bad = replace(row, config=row.config.model_copy(update={"classes": ("none such",), "out": tmp_path / "bad"}))
    parts, updates = Split(tuple(sample.id for sample in train)), []
    with pytest.raises(DataError, match="none such"):
        parallel_fits(
            {"good": Job(row, train, parts), "bad": Job(bad, train, parts)},
            store,
            watch=lambda name, progress: updates.append(name),
        )
    assert "good" in updates
    assert not (tmp_path / "bad").exists()
    assert Cost.read(tmp_path / "good").peak_memory_mib > 100
