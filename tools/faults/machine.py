"""Faults of the machine, applied to a forked process that then runs a command: disks, permissions, memory, names.

Needs Linux and root: disks are tmpfs mounts in a mount namespace of the process, and the permission of root to read and
write everything is dropped.
"""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_NEWNS, _PRIVATE, _READ_ONLY = 0x20000, 0x44000, 1
_SPACE = 16_384  # bytes of a nearly full disk
_LARGEST = 200  # bytes of a file under `too_large`
_HEADROOM = 2_000_000  # bytes of memory that a command gets beyond what is there


@dataclass(frozen=True)
class Place:
    """Folders of a command.

    Args:
        inputs: files that it reads.
        out: folder in which it writes.
        result: name of what it writes in `out`.
    """

    inputs: Path
    out: Path
    result: str = "result"


@dataclass(frozen=True)
class MachineFault:
    """A fault: a sentence, what is done in the process, the name of the result, and whether inputs are concerned."""

    label: str
    apply: Callable[[Place], None]
    result: str = "result"
    reads: bool = False


def _mounted(place: Place, options: str, flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for failed in (
        libc.unshare(_NEWNS),
        libc.mount(b"none", b"/", None, _PRIVATE, None),
        libc.mount(b"tmpfs", os.fsencode(place.out), b"tmpfs", flags, options.encode()),
    ):
        if failed:
            raise SystemExit(f"cannot mount: {os.strerror(ctypes.get_errno())} (root is needed)")


def _full(place: Place) -> None:
    _mounted(place, f"size={_SPACE}")
    with (place.out / "other").open("wb") as stream:
        try:
            stream.write(b"\0" * _SPACE)
            stream.flush()
        except OSError:
            pass


def _without_privileges(place: Place) -> None:
    """Drop the capabilities with which root ignores permissions (DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise SystemExit("cannot read the capabilities of the process")
    data[0] &= ~0b1110
    if libc.capset(header, data):
        raise SystemExit("cannot drop capabilities (root is needed)")


def _locked(place: Place) -> None:
    place.out.chmod(0o555)
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


FAULTS = {
    "no-space": MachineFault("full disk", _full),
    "too-large": MachineFault("limit of the file size", _too_large),
    "read-only": MachineFault("read-only disk", lambda place: _mounted(place, "", _READ_ONLY)),
    "no-permission": MachineFault("folder not writable", _locked),
    "not-a-folder": MachineFault("a file instead of the folder", lambda place: _replaced(place)),
    "long-name": MachineFault("name too long", lambda place: None, "x" * 300),
    "not-utf8": MachineFault("name not in UTF-8", lambda place: None, os.fsdecode(b"caf\xe9")),
    "unreadable": MachineFault("input not readable", _unreadable, reads=True),
    "unreadable-folder": MachineFault("input folder not readable", _unreadable_folders, reads=True),
    "no-memory": MachineFault("no memory", _no_memory, reads=True),
    "no-files": MachineFault("too many open files", _no_files, reads=True),
}
"""Faults by name."""


def _replaced(place: Place) -> None:
    place.out.rmdir()
    place.out.touch()


@dataclass(frozen=True)
class Ending:
    """Exit code of a command, its output, and files that it left incomplete."""

    code: int
    text: str
    broken: tuple[str, ...] = ()


def run(command: Sequence[str], place: Place, fault: MachineFault) -> Ending:
    """Run a command line in a fork of this process under a fault."""
    log = place.inputs.parent / "log"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            reader, writer = os.pipe()
            if os.fork() == 0:  # copies the output to the log, outside of the fault
                os.close(writer)
                while part := os.read(reader, 65536):
                    os.write(stream, part)
                os._exit(0)
            os.close(reader)
            os.close(stream)
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            os.close(writer)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            code = _ended(command, place, fault)
        except BaseException:
            traceback.print_exc()
        finally:
            for one in (sys.stdout, sys.stderr):
                try:
                    one.flush()
                except Exception:
                    code = code or 70
            os._exit(code)
    _, status = os.waitpid(child, 0)
    for path in (place.inputs, *place.inputs.rglob("*"), place.out):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o755 if path.is_dir() else 0o644))
    code = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace") if log.exists() else ""
    return Ending(code, text, tuple(_broken(place.out)))


def _ended(command: Sequence[str], place: Place, fault: MachineFault) -> int:
    from samtailor.cli import main

    fault.apply(place)
    try:
        main(command)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def _broken(folder: Path) -> list[str]:
    """Files of a result that are cut: JSON, images and weights that cannot be opened."""
    import json

    from PIL import Image
    from safetensors import safe_open

    broken = []
    for file in folder.rglob("*") if folder.is_dir() else ():
        if not file.is_file() or file.name.startswith("."):
            continue
        try:
            if file.suffix == ".json":
                json.loads(file.read_text())
            elif file.suffix == ".png":
                with Image.open(file) as image:
                    image.load()
            elif file.suffix == ".safetensors":
                with safe_open(file, "np"):
                    pass
        except Exception as error:
            broken.append(f"{file.name}: {error}")
    return broken
