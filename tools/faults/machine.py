"""Faults of the machine, applied to a process that then runs a command: disks, permissions, memory, names.

Needs Linux and root: disks are tmpfs mounts in a mount namespace of the process, and the permission of root to read and
write everything is dropped.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
FILLER = "other"
"""File that fills a full disk."""
_NEWNS, _PRIVATE, _READ_ONLY, _REMOUNT = 0x20000, 0x44000, 1, 32
_SPACE = 16_384  # bytes of a nearly full disk, which are then filled
_LARGEST = 200  # bytes of a file under `too_large`
_HEADROOM = 2_000_000  # bytes of memory that a command gets beyond what is there


@dataclass(frozen=True)
class Place:
    """Folders of a command.

    Args:
        inputs: files that it reads.
        out: folder in which it writes. May contain files that the command changes.
        result: name of what it writes in `out`.
        port: of a service.
    """

    inputs: Path
    out: Path
    result: str = "result"
    port: int = 0


@dataclass(frozen=True)
class MachineFault:
    """A fault: a sentence, what is done in the process, and the name of the result."""

    label: str
    apply: Callable[[Place], None]
    result: str = "result"


def _mounted(place: Place) -> None:
    """Put a disk in memory at `place.out`, with the files that are there; only this process sees it."""
    files = {file.relative_to(place.out): file.read_bytes() for file in place.out.rglob("*") if file.is_file()}
    _mount(libc.unshare(_NEWNS), libc.mount(b"none", b"/", None, _PRIVATE, None))
    _mount(libc.mount(b"tmpfs", os.fsencode(place.out), b"tmpfs", 0, None))
    for name, content in files.items():
        (place.out / name).parent.mkdir(parents=True, exist_ok=True)
        (place.out / name).write_bytes(content)


def _changed(place: Place, flags: int, options: str = "") -> None:
    """Change the flags and options of the disk."""
    _mount(libc.mount(b"tmpfs", os.fsencode(place.out), b"tmpfs", _REMOUNT | flags, options.encode()))


def _mount(*failed: int) -> None:
    if any(failed):
        raise SystemExit(f"cannot mount: {os.strerror(ctypes.get_errno())} (root is needed)")


def _full(place: Place) -> None:
    _mounted(place)
    used = os.statvfs(place.out)
    _changed(place, 0, f"size={(used.f_blocks - used.f_bfree) * used.f_frsize + _SPACE}")
    with (place.out / FILLER).open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"\0" * 4096)


def _read_only(place: Place) -> None:
    _mounted(place)
    _changed(place, _READ_ONLY)


def _without_privileges(place: Place) -> None:
    """Drop the capabilities with which root ignores permissions (DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise SystemExit("cannot read the capabilities of the process")
    data[0] &= ~0b1110
    if libc.capset(header, data):
        raise SystemExit("cannot drop capabilities (root is needed)")


def _locked(place: Place) -> None:
    for folder in (place.out, *(one for one in place.out.rglob("*") if one.is_dir())):
        folder.chmod(0o555)
    _without_privileges(place)


def _unreadable(place: Place) -> None:
    for file in place.inputs.rglob("*"):
        if file.is_file():
            file.chmod(0)
    _without_privileges(place)


def _unreadable_folders(place: Place) -> None:
    for folder in sorted((one for one in place.inputs.rglob("*") if one.is_dir()), reverse=True):
        folder.chmod(0)
    _without_privileges(place)


def _too_large(place: Place) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST, _LARGEST))


def _no_memory(place: Place) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _no_files(place: Place) -> None:
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, used + 1))


def _replaced(place: Place) -> None:
    shutil.rmtree(place.out)
    place.out.touch()


FAULTS = {
    "no-space": MachineFault("full disk", _full),
    "too-large": MachineFault("limit of the file size", _too_large),
    "read-only": MachineFault("read-only disk", _read_only),
    "no-permission": MachineFault("folder not writable", _locked),
    "not-a-folder": MachineFault("a file instead of the folder", _replaced),
    "long-name": MachineFault("name too long", lambda place: None, "x" * 300),
    "not-utf8": MachineFault("name not in UTF-8", lambda place: None, os.fsdecode(b"caf\xe9")),
    "unreadable": MachineFault("input not readable", _unreadable),
    "unreadable-folder": MachineFault("input folder not readable", _unreadable_folders),
    "no-memory": MachineFault("no memory", _no_memory),
    "no-files": MachineFault("too many open files", _no_files),
}
"""Faults by name."""
