"""The folder of a fit: what stands in it, and whether a fit may begin there, go on there or start over.

OUT/config.yaml and OUT/split.json come first, OUT/checkpoint.safetensors during the fit, the adapter's three files
last: a folder with adapter.json is finished, one without can be resumed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor import artefact
from samtailor.errors import InputError
from samtailor.train.config import FitConfig, changed, load

if TYPE_CHECKING:
    from samtailor.data.split import Split

CONFIG, CHECKPOINT, HISTORY = "config.yaml", "checkpoint.safetensors", "history.json"


def of(config: FitConfig) -> Path:
    """The folder for the result.

    Raises:
        InputError: the config names none.
    """
    if config.out is None:
        raise InputError("A fit needs a folder for its result: out (--out).")
    return config.out


def of_classes(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """OUT/CLASS, with what file systems do not take replaced."""
    safe = {name: "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ") or "_" for name in names}
    if len({folder.lower() for folder in safe.values()}) != len(safe):
        raise InputError(f"The classes {', '.join(names)} do not make different folder names; fit them one by one.")
    return {name: out / folder for name, folder in safe.items()}


def prepare(config: FitConfig, out: Path, resume: bool, overwrite: bool) -> None:
    """Make sure that the folder is empty, or of this very fit.

    In a launch of several processes only the first looks: the others would find what it has written.
    """
    if int(os.environ.get("RANK", "0")) != 0:
        return
    refuse_other_content(out)
    if not (out / CONFIG).exists():
        return
    if resume:
        before = load(out / CONFIG)
        if differing := changed(config, before):
            raise InputError(
                f"The fit in {out} was started with other settings, so it cannot be resumed with these: "
                f"{'; '.join(differing)}. Give the same settings, another folder, or --overwrite."
            )
    elif overwrite:
        for name in (artefact.METADATA, artefact.TENSORS, artefact.CARD, artefact.SPLIT, CHECKPOINT, HISTORY, CONFIG):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / "logs", ignore_errors=True)
    else:
        what = "finished" if (out / artefact.METADATA).exists() else "unfinished"
        raise InputError(
            f"{out} holds a {what} fit. Go on with --resume, replace it with --overwrite, or choose another."
        )


def refuse_other_content(out: Path) -> None:
    """A folder with something else in it is not ours to write to."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a fit writes into a folder.")
    content = sorted(out.iterdir()) if out.is_dir() else []
    if content and not any((folder / CONFIG).exists() for folder in (out, *content)):
        names = ", ".join(f.name for f in content[:3])
        raise InputError(f"{out} is not empty and holds no fit ({names}{', ...' if content[3:] else ''}).")


def begin(config: FitConfig, out: Path, split: Split) -> None:
    """Settings and split, beside the result to come."""
    from samtailor.data.image import replacing

    split.write(out / artefact.SPLIT)
    with replacing(out / CONFIG) as temporary:
        temporary.write_text(config.to_yaml(), encoding="utf-8")


__all__ = ["CHECKPOINT", "CONFIG", "HISTORY", "begin", "of", "of_classes", "prepare", "refuse_other_content"]
