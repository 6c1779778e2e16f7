"""What is done so far, on disk: one JSON file an image below OUT/.label/, each written whole.

A run that is stopped goes on where it was: an image whose file is unchanged is not asked again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.listing import read_json
from samtailor.data.writers import LabelledImage, LabelledObject
from samtailor.data.writing import replacing, write_json
from samtailor.errors import InputError
from samtailor.masks.rle import to_json

HOME, SETTINGS = ".label", "settings.json"


class Journal:
    """The state of a run.

    Args:
        out: folder of the result.
        settings: everything that the answers depend on.
        overwrite: start anew where there is an earlier result.

    Raises:
        InputError: the folder holds something else, or a run with other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.home = out / HOME
        plain = json.loads(json.dumps(settings))
        if (self.home / SETTINGS).is_file() and overwrite:
            shutil.rmtree(out)
        elif (self.home / SETTINGS).is_file():
            _refuse_other(out, read_json(self.home / SETTINGS), plain)
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is there already and holds no earlier labelling. Choose another folder.")
        write_json(self.home / SETTINGS, plain)

    def done(self, name: str, source: Path) -> bool:
        """Whether the image was finished, and its file is the same since."""
        try:
            return json.loads(self._file(name).read_text(encoding="utf-8"))["stamp"] == _stamp(source)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def add(self, image: LabelledImage) -> None:
        """Keep the answers for an image."""
        content = {
            "name": image.name,
            "stamp": _stamp(image.source),
            "size": [image.height, image.width],
            "objects": [
                {
                    "label": one.label,
                    "adapter": one.adapter,
                    "score": one.score,
                    **to_json(one.rle),
                    **({} if one.polygons is None else {"outlines": [_packed(ring) for ring in one.polygons]}),
                }
                for one in image.objects
            ],
        }
        with replacing(self._file(image.name)) as file:
            file.write_text(json.dumps(content), encoding="utf-8")

    def images(self, sources: Mapping[str, Path]) -> Iterator[LabelledImage]:
        """What is kept for these images, in their order; those that are not done are left out."""
        for name, source in sources.items():
            if self._file(name).is_file():
                content = read_json(self._file(name))
                objects = tuple(_object(row) for row in content["objects"])
                yield LabelledImage(name, source, *content["size"], objects)

    def forget(self, name: str) -> None:
        """Drop an image."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.home / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _object(row: Mapping[str, Any]) -> LabelledObject:
    rle = {"size": row["size"], "counts": row["counts"].encode("ascii")}
    drawn = None
    if "outlines" in row:
        drawn = tuple(_unpacked(ring) for ring in row["outlines"])
    return LabelledObject(row["label"], rle, row["score"], row["adapter"], drawn)


def _packed(ring: np.ndarray) -> str:
    """A polygon as base64: thousands of numbers as text would take longer than finding them."""
    return base64.b64encode(ring.astype("<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, 2).astype(np.float32)


def _stamp(source: Path) -> list[int]:
    stat = source.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _refuse_other(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    other = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if other:
        raise InputError(
            f"{out} was begun with other settings: {other[0]} was {old.get(other[0])!r}, now it is "
            f"{new.get(other[0])!r}. Give the same to go on, another --out, or --overwrite to begin anew."
        )


__all__ = ["HOME", "Journal"]
