"""Progress of a labeling run on disk: one JSON file per image in OUT/.label/, each written atomically.

A run that was stopped continues where it was: an image whose file has not changed is not predicted again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.folder_lock import NAME
from samtailor.data.listing import read_json
from samtailor.data.writers import LabelledImage, LabelledObject
from samtailor.data.writing import check_seal, replacing, sealed, sweep, write_json
from samtailor.errors import InputError
from samtailor.limits import MALFORMED
from samtailor.masks.rle import from_json, to_json

HOME, SETTINGS = ".label", "settings.json"


class Journal:
    """The state of a run.

    Args:
        out: folder of the result.
        settings: everything that the predictions depend on.
        overwrite: delete an earlier result and start again.

    Raises:
        InputError: the folder contains something else, or a run with other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.home = out / HOME
        plain = json.loads(json.dumps(settings))
        if (self.home / SETTINGS).is_file() and overwrite:
            for path in out.iterdir():
                if path.name != NAME:  # held by this process
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif (self.home / SETTINGS).is_file():
            _check_settings(out, read_json(self.home / SETTINGS), plain)
        elif out.exists() and (not out.is_dir() or any(path.name != NAME for path in out.iterdir())):
            raise InputError(f"{out} exists already and contains no earlier labeling. Choose another folder.")
        sweep(out, *(Path(parent, name) for parent, folders, _ in os.walk(out) for name in folders))
        write_json(self.home / SETTINGS, plain)

    def done(self, name: str, source: Path) -> bool:
        """Whether the image was predicted and its file has not changed since."""
        try:
            content = json.loads(self._file(name).read_text(encoding="utf-8"))
            check_seal(content, self._file(name))
            return content["stamp"] == _stamp(source)
        except (OSError, *MALFORMED):  # a damaged file: the image is predicted again
            return False

    def add(self, image: LabelledImage) -> None:
        """Save the objects of an image."""
        content = {
            "name": image.name,
            "stamp": _stamp(image.source),
            "size": [image.height, image.width],
            "objects": [_plain(one) for one in image.objects],
            "empty": image.empty,
        }
        with replacing(self._file(image.name)) as file:
            file.write_text(json.dumps(sealed(content)), encoding="utf-8")

    def images(self, sources: Mapping[str, Path]) -> Iterator[LabelledImage]:
        """The saved images among these, in their order."""
        for name, source in sources.items():
            if self._file(name).is_file():
                content = read_json(self._file(name))
                check_seal(content, self._file(name))
                height, width = content["size"]
                objects = tuple(_object(row) for row in content["objects"])
                yield LabelledImage(name, source, height, width, objects, content.get("empty", 0))

    def forget(self, name: str) -> None:
        """Delete the objects of an image."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.home / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _plain(one: LabelledObject) -> dict[str, Any]:
    """An object as JSON."""
    row = {"label": one.label, "adapter": one.adapter, "score": one.score, **to_json(one.rle)}
    return row if one.polygons is None else row | {"outlines": [_packed(ring) for ring in one.polygons]}


def _object(row: Mapping[str, Any]) -> LabelledObject:
    rle = from_json(row)
    polygons = tuple(_unpacked(ring) for ring in row["outlines"]) if "outlines" in row else None
    return LabelledObject(row["label"], rle, row["score"], row["adapter"], polygons)


def _packed(ring: np.ndarray) -> str:
    """A polygon as base64: thousands of numbers as text would take longer than computing them."""
    return base64.b64encode(ring.astype("<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, 2).astype(np.float32)


def _stamp(source: Path) -> list[int]:
    """Size and modification time of a file."""
    stat = source.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _check_settings(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        raise InputError(
            f"{out} contains a run with other settings: {changed[0]} was {old.get(changed[0])!r}, now it is "
            f"{new.get(changed[0])!r}. Use the same settings to continue, another --out, or --overwrite to start again."
        )


__all__ = ["HOME", "Journal"]
