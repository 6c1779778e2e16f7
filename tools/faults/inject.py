"""Run an operation in a forked process and let one of its writes fail in a named way.

A write is a file or folder that takes its final name (`os.replace`, `os.rename`, `os.link`): every file of the package
is written under a temporary name first.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULTS = {
    "no_space": "the disk is full from this write on",
    "killed_here": "the process is killed before or after this write",
    "torn_write": "power is lost; of a file that was not flushed only a part is on disk",
    "lost_write": "power is lost later; the write never reached the disk unless its folder was flushed",
    "bit_rot": "one bit of the file flips after the operation",
}
"""Faults by name."""
DEAD = 77
"""Exit code of a process that a fault has ended."""


@dataclass(frozen=True)
class Fault:
    """A fault at one write.

    Args:
        name: key of `FAULTS`.
        write: number of the write, from 0.
        seed: of the details (where a file is torn, which bit flips).
    """

    name: str
    write: int
    seed: int


@dataclass(frozen=True)
class Ending:
    """How an operation ended: exit code (0 done, `DEAD`, 2 refused in words, 1 a traceback), writes, and output."""

    code: int
    writes: int
    text: str


class _Disk:
    """Stands in for the functions of `os` that give files their names."""

    def __init__(self, root: Path, fault: Fault | None) -> None:
        self.root, self.fault, self.writes = str(root), fault, 0
        self.rng = random.Random(f"{fault}")
        self.flushed: set[int] = set()
        self.start = time.time()
        self.folders: set[str] = set()
        self.full = False
        self.until: int | None = None
        self.undo: Callable[[], None] | None = None
        self.undo_folder = ""
        self.real = {name: getattr(os, name) for name in ("replace", "rename", "link", "fsync")}

    def install(self) -> None:
        for name in ("replace", "rename", "link"):
            setattr(os, name, lambda src, dst, name=name, **more: self._named(name, src, dst, **more))
        os.fsync = self._fsync

    def _fsync(self, number: Any) -> None:
        self.real["fsync"](number)
        handle = number if isinstance(number, int) else number.fileno()
        status = os.fstat(handle)
        self.flushed.add(status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            self.folders.add(os.readlink(f"/proc/self/fd/{handle}"))
            if self.undo is not None and os.readlink(f"/proc/self/fd/{handle}") == self.undo_folder:
                self.undo = None  # it is on disk for good

    def _named(self, name: str, src: Any, dst: Any, **more: Any) -> None:
        target = os.path.abspath(os.fspath(dst))
        if not target.startswith(self.root + os.sep):
            return self.real[name](src, dst, **more)
        number, self.writes = self.writes, self.writes + 1
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(dst))
        if self.until is not None and number >= self.until:
            self._die()
        if self.fault is None or number != self.fault.write or self.fault.name == "bit_rot":
            return self.real[name](src, dst, **more)
        return getattr(self, f"_{self.fault.name}")(name, src, target, **more)

    def _no_space(self, name: str, src: Any, target: str, **more: Any) -> None:
        self.full = True
        if os.path.isfile(src) and name != "link":
            os.truncate(src, self.rng.randrange(os.path.getsize(src) + 1))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    def _killed_here(self, name: str, src: Any, target: str, **more: Any) -> None:
        if self.rng.random() < 0.5:
            self.real[name](src, target, **more)
        self._die()

    def _torn_write(self, name: str, src: Any, target: str, **more: Any) -> None:
        torn = [] if name == "link" else [path for path in _files(src) if self._unflushed(os.stat(path))]
        whole = not torn
        for path in torn[:1]:
            os.truncate(path, self.rng.randrange(os.path.getsize(path) + 1))
        if not whole or self.rng.random() < 0.5:
            self.real[name](src, target, **more)
        self._die()

    def _unflushed(self, status: os.stat_result) -> bool:
        """Whether a file was written by this process and not flushed since."""
        return status.st_ino not in self.flushed and status.st_mtime >= self.start - 1

    def _lost_write(self, name: str, src: Any, target: str, **more: Any) -> None:
        if os.path.isdir(src) or name == "link":
            self._die()
        before = Path(target).read_bytes() if os.path.exists(target) else None
        self.real[name](src, target, **more)

        def undo() -> None:
            if before is None:
                Path(target).unlink(missing_ok=True)
            else:
                Path(target).write_bytes(before)

        self.undo, self.undo_folder = undo, os.path.dirname(target)
        self.until = self.writes + self.rng.randrange(4)

    def _die(self) -> None:
        if self.undo is not None:
            self.undo()
        os._exit(DEAD)


def _files(path: Any) -> list[str]:
    """A file, or all files of a folder."""
    if os.path.isfile(path):
        return [os.fspath(path)]
    return [str(file) for file in sorted(Path(path).rglob("*")) if file.is_file() and not file.is_symlink()]


def run(operation: Callable[[], object], root: Path, fault: Fault | None = None) -> Ending:
    """Run an operation in a fork of this process.

    Args:
        operation: what to do.
        root: only writes below this folder count.
        fault: None: no fault.
    """
    from samtailor.errors import SamtailorError, fault_in_words

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code, text = 0, ""
        disk = _Disk(root.resolve(), fault)
        try:
            disk.install()
            operation()
        except SamtailorError as error:
            code, text = 2, str(error)
        except BaseException as error:
            words = fault_in_words(error)
            code, text = (1, traceback.format_exc()) if words is None else (2, words)
        finally:
            if disk.undo is not None:  # power is lost after the end
                disk.undo()
            os.write(writer, f"{disk.writes}\n{text[-3000:]}".encode())
            sys.stdout.flush()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        out = stream.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    number, _, text = out.partition("\n")
    return Ending(os.waitstatus_to_exitcode(status), int(number or 0), text)


def flip_bit(files: list[Path], seed: int) -> Path | None:
    """Flip one random bit of one of the files; returns the file, None if all are empty."""
    rng = random.Random(seed)
    for file in rng.sample(files, len(files)):
        data = bytearray(file.read_bytes())
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            file.write_bytes(data)
            return file
    return None
