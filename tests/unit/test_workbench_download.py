"""Progress of the download of a base model."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi, constants

from samtailor.workbench.work.downloading import download_progress

SOURCE = "org/model-x"


@pytest.fixture
def blobs(tmp_path, monkeypatch):
    """The cache of the hub, and a hub that states the sizes of the files of a model."""
    folder = tmp_path / "models--org--model-x" / "blobs"
    folder.mkdir(parents=True)
    sizes = {"config.json": 1_000_000, "model.safetensors": 9_000_000, "pytorch_model.bin": 99_000_000}
    files = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(HfApi, "model_info", lambda self, name, **options: SimpleNamespace(siblings=files))
    return folder


def wait_for(reports: list, last: tuple[int, int]) -> None:
    end = time.monotonic() + 30
    while not reports or reports[-1] != last:
        assert time.monotonic() < end, reports
        time.sleep(0.005)


def test_download_is_reported_in_megabytes(blobs):
    reports: list[tuple[int, int]] = []
    with download_progress(f"{SOURCE}@256", lambda *at: reports.append(at), every=0.001):
        (blobs / "a").write_bytes(bytes(1_000_000))
        (blobs / "b.incomplete").write_bytes(bytes(4_000_000))
        wait_for(reports, (5, 10))
        (blobs / "b.incomplete").rename(blobs / "b")
        (blobs / "b").write_bytes(bytes(9_000_000))
        wait_for(reports, (10, 10))


def test_model_in_the_cache_and_folders_are_not_reported(blobs, tmp_path):
    (blobs / "a").write_bytes(bytes(10_000_000))
    reports: list[tuple[int, int]] = []  # the callback runs in a thread, in which a failure would not be seen
    for source in (SOURCE, "lite", str(tmp_path)):
        with download_progress(source, lambda *at: reports.append(at), every=0.0001):
            time.sleep(0.01)
    assert reports == []


def test_hub_out_of_reach_is_left_to_the_loading_of_the_model(blobs, monkeypatch):
    def fail(self, name, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr(HfApi, "model_info", fail)
    reports: list[tuple[int, int]] = []
    with download_progress(SOURCE, lambda *at: reports.append(at), every=0.0001):
        time.sleep(0.01)
    assert reports == []
