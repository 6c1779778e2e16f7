"""The folder of a fit: its files, and the checks before a fit starts, resumes or overwrites.

OUT/config.yaml and OUT/split.json are written first, OUT/checkpoint.safetensors during the fit, and the three files of
the adapter last: a folder with adapter.json is finished, one without can be resumed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor import artefact
from samtailor.data import folder_lock
from samtailor.data.writing import sweep
from samtailor.errors import InputError
from samtailor.fitting.plan import FILE as RESOURCES
from samtailor.train.config import FitConfig, changed, load

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.data.split import Split

CONFIG, CHECKPOINT, HISTORY = "config.yaml", "checkpoint.safetensors", "history.json"
OF_CONTEST = PLAN, WORST, OUT_OF_FOLD = ("plan.json", "worst.png", "out_of_fold.json")
"""Files of a contest (method auto)."""
CONTEST = "contest"
"""Folder of the fits of a running contest; it is deleted at the end."""
SNAPSHOTS = "snapshots"
"""Folder of the states after the epochs of `FitConfig.snapshots`, each an adapter."""


def of(config: FitConfig) -> Path:
    """The folder for the result.

    Raises:
        InputError: `config.out` is not set.
    """
    if config.out is None:
        raise InputError("A fit needs a folder for its result. Set out (--out).")
    return config.out


def of_classes(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """OUT/CLASS for each class, with characters that file systems do not allow replaced."""
    safe = {name: "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ") or "_" for name in names}
    if len({folder.lower() for folder in safe.values()}) != len(safe):
        raise InputError(f"The classes {', '.join(names)} have the same folder names. Fit them one by one.")
    return {name: out / folder for name, folder in safe.items()}


def present_of(present: Path | None, name: str) -> Path | None:
    """The present adapter of a class: that of the class, where the folder has one for each class; None without one."""
    if present is None or (present / artefact.METADATA).is_file() or not present.is_dir():
        return present
    inside = map(Path, artefact.members(present).values())
    return next((one for one in inside if name in artefact.read_meta(one).classes), None)


def prepare(config: FitConfig, out: Path, resume: bool, overwrite: bool) -> None:
    """Check that the folder is empty or contains this fit, and empty it with `overwrite`.

    Raises:
        InputError: the folder contains another fit or other files.
    """
    # with several processes only the first checks: the others would see the files that it has written
    if int(os.environ.get("RANK", "0")) != 0:
        return
    sweep(out)
    refuse_other_content(out)
    if not (out / CONFIG).exists():
        return
    if resume:
        before = load(out / CONFIG, quiet=True)
        if differing := changed(config, before):
            raise InputError(
                f"The fit in {out} was started with other settings and cannot be resumed: "
                f"{'; '.join(differing)}. Use the same settings, another folder, or --overwrite."
            )
    elif overwrite:
        for name in (artefact.METADATA, artefact.TENSORS, artefact.CARD, artefact.SPLIT, CHECKPOINT, HISTORY, CONFIG,
                     RESOURCES, *OF_CONTEST):  # fmt: skip
            (out / name).unlink(missing_ok=True)
        from samtailor.proposals import disk  # with torch

        disk.remove(out)
        for name in ("logs", SNAPSHOTS, CONTEST):
            shutil.rmtree(out / name, ignore_errors=True)
    else:
        what = "a finished" if (out / artefact.METADATA).exists() else "an unfinished"
        raise InputError(
            f"{out} contains {what} fit. Continue it with --resume, replace it with --overwrite, or use another folder."
        )


def candidate(out: Path, resume: bool) -> Path | None:
    """The folder for a new adapter beside a finished one in `out`; None if `out` has none, or is only read again.

    With `resume`, a fit that was interrupted there is continued; otherwise the finished fit in `out` is the result.
    """
    new = beside(out)
    if not (out / artefact.METADATA).is_file() or not (out / CONFIG).is_file():
        return None
    if resume and not ((new / CONFIG).is_file() and not (new / artefact.METADATA).is_file()):
        return None
    return new


def beside(out: Path) -> Path:
    """The folder of a new adapter beside the present one in `out`."""
    return out.with_name(out.name + ".new")


def refuse_other_adapter(out: Path, classes: Sequence[str], base: Base) -> None:
    """Raise an `InputError` if the adapter in `out` is of other classes or another base, hence cannot be compared."""
    meta, other = artefact.read_meta(out), []
    if sorted(classes) != sorted(meta.classes):
        other.append(f"of {', '.join(meta.classes)}, not of {', '.join(classes)},")
    if base.fingerprint != meta.base.fingerprint:
        other.append(f"on another base model ({meta.base.name}, fingerprint {meta.base.fingerprint})")
    if other:
        raise InputError(
            f"{out} contains a finished fit {' and '.join(other)}, which cannot be compared. Replace it with "
            "--overwrite, or use another folder."
        )


def move_into(new: Path, out: Path, config: FitConfig) -> None:
    """Move the files of a finished fit into another folder, adapter.json last, and delete its own folder.

    A process that is killed meanwhile leaves a folder that does not load, and the new adapter beside it.
    """
    from samtailor.data.image import replacing
    from samtailor.proposals import disk  # with torch

    (out / artefact.METADATA).unlink(missing_ok=True)
    shutil.rmtree(out / "logs", ignore_errors=True)
    for name in (artefact.SPLIT, HISTORY, artefact.CARD, artefact.TENSORS):
        (new / name).replace(out / name)
    for name in (*OF_CONTEST, disk.TENSORS, disk.METADATA):  # those of the present adapter do not suit the new one
        (out / name).unlink(missing_ok=True)
        if (new / name).exists():
            (new / name).replace(out / name)
    with replacing(out / CONFIG) as temporary:
        temporary.write_text(config.to_yaml(), encoding="utf-8")
    (new / artefact.METADATA).replace(out / artefact.METADATA)
    shutil.rmtree(new)


def refuse_other_content(out: Path) -> None:
    """Raise an `InputError` for a folder with files but without a fit."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a fit needs a folder.")
    content = sorted(path for path in out.iterdir() if path.name != folder_lock.NAME) if out.is_dir() else []
    if content and not any((folder / CONFIG).exists() for folder in (out, *content)):
        names = ", ".join(f.name for f in content[:3])
        raise InputError(f"{out} is not empty and contains no fit ({names}{', ...' if content[3:] else ''}).")


def begin(config: FitConfig, out: Path, split: Split) -> None:
    """Write settings and split at the start of a fit."""
    from samtailor.data.image import replacing

    split.write(out / artefact.SPLIT)
    with replacing(out / CONFIG) as temporary:
        temporary.write_text(config.to_yaml(), encoding="utf-8")


__all__ = ["CHECKPOINT", "CONFIG", "CONTEST", "HISTORY", "OF_CONTEST", "OUT_OF_FOLD", "PLAN", "SNAPSHOTS", "WORST",
           "begin", "beside", "candidate", "move_into", "of", "of_classes", "prepare", "present_of",
           "refuse_other_adapter", "refuse_other_content"]  # fmt: skip
