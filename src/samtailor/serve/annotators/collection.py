"""Accepted annotations as a COCO data set on disk, updated task by task.

FOLDER/data/images/NAME is the image file of a task, FOLDER/tasks/ID.json its objects; `write_dataset` joins the objects
to FOLDER/data/annotations.json. Every file is written atomically, so that nothing is lost if the server is killed.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samtailor.data.writing import replacing, write_json
from samtailor.errors import DataError
from samtailor.masks import rle as rle_masks

_SUFFIX = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif",
           "PPM": ".ppm"}  # fmt: skip


ANNOTATIONS = "annotations.json"
"""File of the data set below `Collection.data`."""


class Collection:
    """See the module docstring.

    Args:
        folder: created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self._tasks, self._images = folder / "tasks", self.data / "images"
        self._lock = threading.Lock()
        for place in (self._tasks, self._images):
            place.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        """Number of tasks with at least one object."""
        return sum(bool(task["objects"]) for task in self._all())

    def put(
        self, task: int, annotation: int, data: bytes, size: tuple[int, int], objects: Sequence[tuple[str, np.ndarray]]
    ) -> bool:
        """Save the annotation of a task, replacing an earlier one.

        Args:
            task, annotation: their ids in Label Studio.
            data: content of the image file.
            size: (height, width) after the EXIF rotation.
            objects: label and mask (height, width) of each.

        Returns:
            False if the annotation has not changed.
        """
        with Image.open(io.BytesIO(data)) as image:
            name = f"task-{int(task)}{_SUFFIX.get(image.format or '', '.png')}"
        rows = [{"label": label, "segmentation": rle_masks.to_json(rle_masks.encode(mask))} for label, mask in objects]
        with self._lock:
            with replacing(self._images / name) as temporary:
                temporary.write_bytes(data)
            file = self._tasks / f"{int(task)}.json"
            content = {"image": name, "size": list(size), "annotation": int(annotation), "objects": rows}
            before = file.read_bytes() if file.exists() else b""
            write_json(file, content)
            return file.read_bytes() != before

    def remove(self, *, task: int | None = None, annotation: int | None = None) -> bool:
        """Delete a task, or the task of an annotation; False if it does not exist."""
        with self._lock:
            for file in self._files():
                known = _read(file)
                if int(file.stem) == task or (annotation is not None and known.get("annotation") == annotation):
                    file.unlink(missing_ok=True)
                    return True
        return False

    def write_dataset(self) -> int:
        """Write data/annotations.json and return the number of images with objects."""
        with self._lock:
            tasks = [task for task in self._all() if task["objects"]]
        labels = dict.fromkeys(one["label"] for task in tasks for one in task["objects"])
        ids = {label: i for i, label in enumerate(sorted(labels), 1)}
        images = [
            {"id": i, "file_name": task["image"], "height": task["size"][0], "width": task["size"][1]}
            for i, task in enumerate(tasks, 1)
        ]
        rows = [(i, one) for i, task in enumerate(tasks, 1) for one in task["objects"]]
        annotations = [
            {"id": n, "image_id": i, "category_id": ids[one["label"]], "iscrowd": 0, **_measured(one["segmentation"])}
            for n, (i, one) in enumerate(rows, 1)
        ]
        categories = [{"id": i, "name": label} for label, i in ids.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        write_json(self.data / ANNOTATIONS, content)
        return len(tasks)

    def _all(self) -> list[dict[str, Any]]:
        return [_read(file) for file in self._files()]

    def _files(self) -> list[Path]:
        files = (file for file in self._tasks.glob("*.json") if file.stem.isdecimal())
        return sorted(files, key=lambda file: int(file.stem))


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}). Delete it and submit the task again.") from error


def _measured(rle: dict[str, Any]) -> dict[str, Any]:
    from pycocotools import mask as coco

    packed = rle_masks.from_json(rle)
    return {
        "segmentation": rle,
        "area": int(coco.area(packed)),
        "bbox": [float(v) for v in coco.toBbox(packed)],
    }


__all__ = ["ANNOTATIONS", "Collection"]
