"""The tool that measures presets: the recipes read its data, and every row is there with both settings."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samtailor.compare.recipes import read
from samtailor.data.dataset import open_dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import measure_presets
from measure_presets import TRIALS

XML = """<annotation><size><width>40</width><height>30</height><depth>3</depth></size><object><name>licence</name>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>15</ymax></bndbox></object></annotation>"""


@pytest.fixture
def sources(tmp_path) -> Path:
    """Ten images in the layouts of the sources."""
    rng = np.random.default_rng(0)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:20] = 255
    for name in ("face_parts", "plates", "humans", "lesions"):
        for number in range(1, 11):
            stem = f"frontal_{number}" if name == "face_parts" else str(number)
            files = {"images": f"{stem}.jpg"}
            files |= {f"masks/{p}": f"{stem}.png" for p in measure_presets.PARTS} if name == "face_parts" else {}
            files |= {"masks": f"{stem}.png"} if name in ("humans", "lesions") else {}
            for folder, file in files.items():
                path = tmp_path / name / folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8) if folder == "images" else mask
                Image.fromarray(pixels).save(path)
        if name == "plates":
            (tmp_path / name / "annotations").mkdir()
            for number in range(1, 11):
                (tmp_path / name / "annotations" / f"{number}.xml").write_text(XML)
    Image.new("RGB", (40, 30)).save(tmp_path / "face_parts" / "images" / "profile_1.jpg")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("faces", 7, 2), ("plates", 8, 2), ("people", 7, 3), ("dancers", 2, 8), ("lesions", 7, 3)],
)
def test_the_data_of_a_trial_have_the_layout_of_its_recipe(sources, name, train, test):
    trial = TRIALS[name]
    recipe = read(trial.recipe)
    trial.write(sources / trial.source, sources / "out")
    given = dict(zip(trial.options[::2], trial.options[1::2], strict=True))
    classes = given.get("--classes", ",".join(recipe.columns)).split(",")
    counts = []
    for part in (recipe.train, recipe.held_out):
        samples = open_dataset(sources / "out", format=recipe.format, classes=classes, **part)
        assert {a.label for sample in samples for a in sample.annotations} == set(classes)
        counts.append(len(samples))
    assert counts == [train, test]


def test_every_row_is_shown_with_both_settings_and_the_base_once():
    def row(title: str, iou: float, seconds: float) -> dict:
        figures = {"iou": iou, "iou_masks_interval": [iou - 0.1, iou + 0.1], "seeds": {"0": {"iou": iou}}}
        return {"title": title, "shots": None, "masks": 9, "cost": {"cpu_seconds": seconds}, **figures}

    def content(iou: float) -> dict:
        rows = [{"title": "SAM", "published": [63.79]}, {"title": "SAM+PLM", "published": [74.24]}]
        return {"measured": [row("SAM", 0.5, 0), row("SAM+PLM", iou, 3.21)], "rows": rows, "seeds": [0]}

    table = measure_presets.table_of("plates", {"kim-2024": content(0.25), "defaults": content(0.75)})
    assert list(table.rows) == ["sam-kim-2024", "sam-plm-kim-2024", "sam-plm-defaults"]
    sam, preset, defaults = table.rows.values()
    assert (sam["settings"], sam["measured"].value, sam["published"]) == ("both", 50.0, 63.79)
    assert (preset["settings"], preset["measured"].value, preset["seconds"]) == ("kim-2024", 25.0, 3.2)
    assert (defaults["settings"], defaults["measured"].low) == ("defaults", 65.0)
    assert [column.key for column in table.columns] == ["row", "settings", "measured", "published", "masks", "seconds"]
    assert "60 steps instead of 20,000" in table.note
