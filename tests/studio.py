"""Requests of Label Studio, and a backend with small images."""

from __future__ import annotations

import numpy as np
from PIL import Image

from samtailor.serve.annotators.backend import Backend
from samtailor.serve.annotators.collection import Collection
from samtailor.serve.annotators.fetch import ImageFetcher
from samtailor.serve.engine import Engine

BRUSH = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="tag" toName="image"><Label value="plate"/><Label value="disc" background="#f00"/></BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true"><Label value="disc" smart="true"/></KeyPointLabels>
  <RectangleLabels name="tag3" toName="image" smart="true"><Label value="disc"/></RectangleLabels>
</View>"""
POLYGON = BRUSH.replace("BrushLabels", "PolygonLabels")
SIZE = (48, 80)


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def disc(x: float = 30, y: float = 20, radius: float = 9) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


class Idle:
    """A training that only records that it was started."""

    def __init__(self, folder):
        self.folder, self.started, self.running, self.current, self.error = folder, 0, False, None, None
        self.outcome = ()

    def in_use(self):
        return None

    def start(self):
        self.started += 1
        self.current = self.folder / f"{self.started:04d}"
        return self.current

    def close(self):
        pass


def open_backend(base, folder) -> Backend:
    """A backend with three images p0.png, p1.png, p2.png in `folder`/files; every two annotations start a fit."""
    files = folder / "files"
    files.mkdir()
    for i in range(3):
        Image.fromarray(np.roll(image(), i, axis=1)).save(files / f"p{i}.png")
    return Backend(
        Engine(base), ImageFetcher(None, None, files), Collection(folder / "project"), Idle(folder / "fits"), every=2
    )


def task(number: int = 0):
    return {"id": 10 + number, "data": {"image": f"/data/local-files/?d=p{number}.png"}, "annotations": []}


def keypoint(x: float, y: float, positive: int = 1):
    return {
        "original_width": 80, "original_height": 48, "image_rotation": 0, "id": "vlUl", "from_name": "tag2",
        "to_name": "image", "type": "keypointlabels", "origin": "manual", "is_positive": positive,
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["disc"]},
    }  # fmt: skip


def rectangle(x: float, y: float, width: float, height: float):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["disc"]}
    return {**keypoint(0, 0), "type": "rectanglelabels", "from_name": "tag3", "value": value}


def predict(client, *context, config=BRUSH, tasks=None, status=200):
    params = {"login": None, "password": None, "context": {"result": list(context)} if context else None}
    given = {"tasks": tasks or [task()], "model_version": "x", "project": "1.1690000000", "label_config": config}
    response = client.post("/predict", json=given | {"params": params})
    assert response.status_code == status, response.text
    return response.json()
