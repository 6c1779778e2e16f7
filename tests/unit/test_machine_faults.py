"""Full disks, missing permissions, too little memory, names that cannot be written, second processes, leftovers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from safetensors import SafetensorError

import samtailor
from samtailor.cache.folder import CacheFolder
from samtailor.data import writing
from samtailor.data.folder_lock import NAME, locked
from samtailor.data.writing import replacing, sweep, write_json
from samtailor.errors import DataError, InputError, fault_in_words
from samtailor.predict.files import new_folder
from samtailor.workbench.settings import Class
from workbench import ids, images_folder, objects_of, open_project


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "no space"),
        (OSError(errno.EFBIG, "File too large"), "larger"),
        (OSError(errno.EROFS, "Read-only file system", "x"), "read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "permission"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.ENOTDIR, "Not a directory", "x"), "x: "),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "no space"),
        (MemoryError(), "memory"),
        (RuntimeError("could not create a primitive"), "memory"),
        (RuntimeError("can't start new thread"), "memory"),
        (ImportError("x.so: failed to map segment from shared object"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "UTF-8"),
        (BrokenProcessPool("x"), "worker"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_faults_have_words(error, word):
    assert word in fault_in_words(error).lower() or word in fault_in_words(error)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RuntimeError("x"), ImportError("x"), OSError("x")])
def test_other_errors_keep_their_traceback(error):
    assert fault_in_words(error) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize(
    "command",
    [
        ("info", "nano", "--json", "out.json"),
        ("synth", "scenes", "--out", "made", "--count", "1"),
        ("check", "data", "--json", "out.json"),
    ],
    ids=lambda command: command[0],
)
def test_commands_end_with_a_message_and_code_2(run, monkeypatch, data_folder, number, command):
    def refuse(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    words = [str(data_folder) if word == "data" else word for word in command]
    monkeypatch.setattr(os, "replace", lambda a, b: refuse(b))
    monkeypatch.setattr(writing.os, "replace", lambda a, b: refuse(b))
    monkeypatch.setattr(Path, "mkdir", lambda path, *args, **kwargs: refuse(path))
    result = run(*words, code=2)
    assert "Error" in result.output
    assert "Traceback" not in result.output


def test_too_little_memory_ends_with_a_message(run, monkeypatch, data_folder):
    def check(*args, **options):
        raise MemoryError

    monkeypatch.setattr("samtailor.data.check.check", check)
    assert "memory" in run("check", data_folder, code=2).output


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_not_skipped(data_folder, tmp_path):
    import shutil

    shutil.copytree(data_folder, tmp_path / "d")
    (tmp_path / "d" / "images" / "inner").mkdir(mode=0o000)
    with pytest.raises(DataError, match="cannot be read"):
        samtailor.open_dataset(tmp_path / "d")


# memory and disk of the page


@pytest.fixture
def project(tmp_path):
    opened = open_project(images_folder(tmp_path / "images", 3))
    for i, id in enumerate(ids(opened)):
        opened.put(id, 0, "accepted", objects_of(i))
    yield opened
    opened.close()


def full(monkeypatch, after: int = 0) -> None:
    """The disk is full after some more files."""
    real, left = os.replace, [after]

    def replace(a, b):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(b))
        real(a, b)

    monkeypatch.setattr(os, "replace", replace)


def seen(project) -> list:
    objects = [[o.class_ for o in project.read(id).objects] for id in ids(project)]
    return [project.classes, dict(project.labels()), objects]


def test_renaming_on_a_full_disk_changes_nothing(project, monkeypatch, tmp_path):
    before = seen(project)
    with monkeypatch.context() as patched:
        full(patched)
        with pytest.raises(OSError, match="space"):
            project.set_classes([Class(name="ring"), Class(name="square")], {"disc": "ring"})
        with pytest.raises(OSError, match="space"):
            project.add_classes(["more"])
        with pytest.raises(OSError, match="space"):
            project.put(ids(project)[0], 1, "open", [])
    assert seen(project) == before
    project.close()
    again = open_project(tmp_path / "images")
    assert seen(again) == before
    again.close()


@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_renaming_that_the_disk_interrupts_looks_complete_and_becomes_complete(project, monkeypatch, tmp_path, files):
    with monkeypatch.context() as patched:
        full(patched, after=files)
        project.set_classes([Class(name="ring"), Class(name="square")], {"disc": "ring"})
        during = seen(project)
    assert during[0] == ["ring", "square"]
    assert all("disc" not in labels and "ring" in labels for labels in during[2])
    assert "disc" not in during[1]
    project.set_classes([Class(name="circle"), Class(name="square")], {"ring": "circle"})  # completes the first one
    assert all("circle" in labels for labels in seen(project)[2])
    after = seen(project)
    project.close()
    again = open_project(tmp_path / "images", classes=())
    assert seen(again) == after
    again.close()


def test_a_thumbnail_does_not_need_the_disk(project, monkeypatch):
    full(monkeypatch)
    assert project.images.thumbnail(ids(project)[0])[:2] == b"\xff\xd8"


# locks


def test_a_second_process_is_refused(tmp_path):
    code = (
        "import sys, pathlib; from samtailor.data.folder_lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'a fit'):\n    print('held', flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(samtailor.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=environment) as other:  # fmt: skip
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="Another process is writing a fit"), locked(tmp_path / "out", "a fit"):
            pass
        other.kill()
        other.wait()
    with locked(tmp_path / "out", "a fit"):  # the lock died with its process
        (tmp_path / "out" / "x").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]


def test_a_lock_leaves_no_empty_folder(tmp_path):
    with locked(tmp_path / "a" / "b", "a fit"):
        assert (tmp_path / "a" / "b" / NAME).exists()
    assert not (tmp_path / "a").exists()


def test_two_fits_into_one_folder(base_folder, data_folder, run, tmp_path):
    with locked(tmp_path / "out", "a fit"):
        fit = ("fit", data_folder, "--method", "tailor", "--base", base_folder, "--out", "out", "--steps", "1")
        code = f"from samtailor.cli import main; main({[str(word) for word in fit]!r})"
        environment = os.environ | {"PYTHONPATH": str(Path(samtailor.__file__).parents[1])}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert "Another process is writing a fit" in done.stderr


# leftovers


def dead() -> int:
    """Number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        return child.pid


def test_leftovers_of_dead_processes_are_deleted(tmp_path):
    gone, alive = dead(), os.getpid()
    kept = [f".a.{alive}.01234567.json", ".a.json", "a.1.01234567.json"]
    for name in (f".a.{gone}.01234567.json", f".b.c.{gone}.01234567", *kept):
        (tmp_path / name).touch()
    (tmp_path / f".folder.{gone}.0123abcd").mkdir()
    (tmp_path / f".folder.{gone}.0123abcd" / "x").touch()
    assert len(sweep(tmp_path, tmp_path / "missing")) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_the_cache_deletes_them_at_its_first_write(tmp_path):
    cache = CacheFolder(tmp_path, 10**9)
    place = cache.place("key", ".x")
    place.parent.mkdir(parents=True)
    left = place.with_name(f".x.{dead()}.01234567.x")
    left.write_bytes(b"1" * 1000)
    os.utime(left, (0, 0))  # a recent one may be of a process on another machine
    cache.write(place, lambda temporary: temporary.write_bytes(b"2"))
    assert not left.exists()
    assert place.read_bytes() == b"2"


def test_a_result_that_is_being_replaced_survives(tmp_path):
    def make(text: str) -> None:
        with new_folder(tmp_path / "out", "mark") as folder:
            (folder / "mark").write_text(text)

    make("1")
    os.rename(tmp_path / "out", tmp_path / ".out.earlier")  # a process was killed between its two renamings
    (tmp_path / f".out.{dead()}.01234567").mkdir()
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out", "mark"):
        raise RuntimeError
    assert (tmp_path / "out" / "mark").read_text() == "1"
    make("2")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "mark").read_text() == "2"


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.json") as temporary:
        temporary.write_text((tmp_path / "missing").read_text())
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


# checksums


def test_an_edited_file_is_named(tmp_path):
    values = writing.sealed({"a": 1, "b": [0.1, "é"]})
    writing.check_seal(values, "x")
    writing.check_seal({"a": 1}, "x")  # without a checksum
    for changed in (values | {"a": 2}, {**values, "c": 1}, {"crc32": values["crc32"]}, values | {"crc32": None}):
        with pytest.raises(DataError, match="crc32"):
            writing.check_seal(changed, "x")
    assert writing.sealed(values) == values
