"""An object store behind the cache, and a cache folder that several machines write to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from safetensors.torch import load
from test_embeddings import CountingBase, entries, image, same

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.folder import CacheFolder
from samtailor.cache.store import VARIABLE, ObjectStore
from samtailor.data.writing import temporary_beside
from samtailor.errors import InputError, MissingExtraError


@pytest.fixture(params=["memory://bucket/folder", "{}/drive"])
def store(request, tmp_path):
    """Address of an empty store: objects in memory, or a folder."""
    address = request.param.format(tmp_path)
    yield address
    fsspec.filesystem("memory").store.clear()


def cache(root: Path, address: str, **more) -> EmbeddingCache:
    return EmbeddingCache(root, store=ObjectStore(address), **more)


def test_what_one_machine_made_is_downloaded_by_the_other(tmp_path, store):
    one, other = CountingBase(), CountingBase()
    made = cache(tmp_path / "one", store).features(one, [image(0), image(1)])
    downloaded = cache(tmp_path / "other", store)
    assert same(downloaded.features(other, [image(0), image(1)]), made)
    assert other.encoded == 0
    assert len(entries(downloaded)) == 2
    assert same(cache(tmp_path / "third", store, precision="8bit").features(other, image(0)), made) is False
    assert other.encoded == 1


def test_prepare_downloads_what_is_there_and_makes_the_rest(tmp_path, store):
    images = [image(seed) for seed in range(5)]
    cache(tmp_path / "one", store).prepare(CountingBase(), images[:3])
    base = CountingBase()
    assert cache(tmp_path / "other", store).prepare(base, images) == 2
    assert base.encoded == 2
    assert cache(tmp_path / "third", store).prepare(base, images) == 0


def test_a_damaged_object_is_made_anew_with_a_warning(tmp_path, caplog):
    address = f"{tmp_path}/drive"
    made = cache(tmp_path / "one", address).features(CountingBase(), image(0))
    (file,) = (tmp_path / "drive").rglob("*.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\0\1\2\3")
    base = CountingBase()
    assert same(cache(tmp_path / "other", address).features(base, image(0)), made)
    assert base.encoded == 1
    assert "damaged" in caplog.text
    # the order of the entries in the header of a file is not fixed
    whole = {name: bytes(tensor.numpy()) for name, tensor in load(content).items()}
    assert {name: bytes(tensor.numpy()) for name, tensor in load(file.read_bytes()).items()} == whole
    assert not list((tmp_path / "drive").rglob("*.part"))


def test_a_fault_of_the_store_is_one_warning(tmp_path, caplog):
    base, store = CountingBase(), ObjectStore("memory://bucket")

    class Broken:
        protocol = "s3"

        def get_file(self, *_):
            raise ConnectionError("no route")

    store._files = Broken()
    broken = EmbeddingCache(tmp_path, store=store)
    for seed in (0, 1):
        broken.features(base, image(seed))
    assert base.encoded == 2
    assert len(entries(broken)) == 2
    assert caplog.text.count("no route") == 1
    assert "cannot be read" in caplog.text


def test_the_address_comes_from_the_environment(tmp_path, monkeypatch, store):
    monkeypatch.setenv(VARIABLE, store)
    EmbeddingCache(tmp_path / "one").features(CountingBase(), image(0))
    base = CountingBase()
    EmbeddingCache(tmp_path / "other").features(base, image(0))
    assert base.encoded == 0
    monkeypatch.setenv(VARIABLE, "nowhere://bucket")
    with pytest.raises(InputError, match="nowhere"):
        EmbeddingCache(tmp_path)


def test_a_store_whose_library_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"samtailor\[store\]"):
        ObjectStore("s3://bucket")


def test_a_file_that_another_machine_is_writing_is_not_a_leftover(tmp_path):
    folder = CacheFolder(tmp_path, 10**6)
    path = folder.place("a", ".bin")
    path.parent.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    # its number is that of no process on this machine, as that of a process elsewhere
    writing = temporary_beside(path)
    writing = writing.with_name(writing.name.replace(f".{os.getpid()}.", f".{ended.pid}."))
    writing.write_bytes(b"half")
    CacheFolder(tmp_path, 10**6).write(path, lambda temporary: temporary.write_bytes(b"x"))
    assert writing.exists()
    old = time.time() - 120
    os.utime(writing, (old, old))
    CacheFolder(tmp_path, 10**6).write(path, lambda temporary: temporary.write_bytes(b"x"))
    assert not writing.exists()
