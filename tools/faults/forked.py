"""Run a command line in a fork of this process under a fault, and look at what it made."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.machine import FILLER, MachineFault, Place
from faults.visits import Reply, Visit, Visitor


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Args:
        code: exit code, negative for a signal.
        text: what it printed.
        files: what is in the folder of the result, relative paths.
        broken: files that it left incomplete.
        replies: to the requests that a service got.
        wrong: what went wrong with these requests, or an empty text.
    """

    code: int
    text: str
    files: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    replies: tuple[Reply, ...] = ()
    wrong: str = ""


def run(command: Sequence[str], place: Place, fault: MachineFault, visit: Visit | None = None) -> Ending:
    """Run a command line in a fork of this process under a fault.

    Args:
        command: its words.
        place: its folders.
        fault: applied in the fork.
        visit: requests to send once the port of `place` is open; the command is then stopped with Ctrl-C.
    """
    log = place.inputs.parent / "log"
    ended, looked = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended[0])
        os.close(looked[1])
        _run_here(command, place, fault, log, ended[1], looked[0])
    os.close(ended[1])
    os.close(looked[0])
    visitor = Visitor(child, place.port, visit, place) if visit else None
    if visitor:
        visitor.start()
    said = os.read(ended[0], 8)  # nothing if the process was killed
    out = Path(f"/proc/{child}/root{place.out}") if said else place.out  # as the process sees it
    files, broken = tuple(_files(out)), tuple(_broken(out))
    os.close(looked[1])
    os.close(ended[0])
    _, status = os.waitpid(child, 0)
    if visitor:
        visitor.ended.set()
        visitor.join()
    for path in (place.inputs, *place.inputs.rglob("*"), place.out, *place.out.rglob("*")):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o755 if path.is_dir() else 0o644))
    text = log.read_text(errors="replace") if log.exists() else ""
    replies, wrong = (tuple(visitor.replies), visitor.wrong) if visitor else ((), "")
    return Ending(os.waitstatus_to_exitcode(status), text, files, broken, replies, wrong)


def _run_here(command: Sequence[str], place: Place, fault: MachineFault, log: Path, ended: int, looked: int) -> None:
    """Run the command in this process with its output in `log`, wait until its result was looked at, and exit."""
    code = 70
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        reader, writer = os.pipe()
        if os.fork() == 0:  # copies the output to the log, outside of the fault
            for one in (writer, ended, looked):
                os.close(one)
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
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a visitor that comes too late
        for one in (sys.stdout, sys.stderr):
            try:
                one.flush()
            except Exception:
                code = code or 70
        os.write(ended, b"x")
        os.read(looked, 1)  # until the other side is closed
        os._exit(code)


def _ended(command: Sequence[str], place: Place, fault: MachineFault) -> int:
    from samtailor.cli import main

    fault.apply(place)
    try:
        main(command)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def _files(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*") if folder.is_dir() else ():
        if file.is_file() and file.name != FILLER:
            yield str(file.relative_to(folder))


def _broken(folder: Path) -> Iterator[str]:
    """Files of a result that are cut: JSON, images and weights that cannot be opened."""
    from PIL import Image
    from safetensors import safe_open

    for name in _files(folder):
        file = folder / name
        if file.name.startswith("."):
            continue
        try:
            if file.suffix == ".json":
                json.loads(file.read_text())
            elif file.suffix in (".png", ".jpg"):
                with Image.open(file) as image:
                    image.load()
            elif file.suffix == ".safetensors":
                with safe_open(file, "np"):
                    pass
        except Exception as error:
            yield f"{name}: {error}"
