"""The complete workflow on the bundled base model: annotate four images, fit, label, correct, export, read back."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import hand
import pytest

from samtailor.data.synth.samples import samples

STEPS = 12


@pytest.fixture
def scenes():
    return list(samples(9, 5, kind="banners", size=(240, 320)))


def annotate(page, sample) -> None:
    """Annotate every banner of an image with a box."""
    for truth in sample.of(None):
        page.keyboard.press("n")
        hand.drag(page, *hand.box_of(truth.rle))


def test_annotate_fit_label_correct_export(page, workbench, scenes, tmp_path):
    server = workbench(scenes, "--classes", "banner")
    page.goto(server.url)
    for index, sample in enumerate(scenes[:4]):
        hand.opened(page)
        assert sample.id in page.locator(".current-image b").inner_text()
        annotate(page, sample)
        assert page.locator(".object").count() == len(sample.of(None))
        if index == 1:  # reload before the delayed save
            page.reload()
            hand.opened(page)
            assert page.locator(".object").count() == len(sample.of(None))
        page.keyboard.press("Enter")
    page.locator("summary", has_text="Fit options").click()
    page.get_by_label("Steps", exact=True).fill(str(STEPS))
    page.locator("#fit").click()
    page.locator("#job[data-kind=fit]").wait_for()
    page.locator("#fit-panel .result").wait_for(timeout=600_000)
    assert "bad" not in page.locator("#fit-panel .result").get_attribute("class")
    page.locator("#gallery").click()
    page.locator("dialog .gallery figure").first.wait_for()
    page.keyboard.press("Escape")

    page.locator("#label-rest").click()
    page.locator("#review").wait_for(timeout=600_000)
    rows = hand.fetch(server.url, "/images")
    assert [row["state"] for row in rows].count("proposed") == 5
    page.locator("#review").click()
    hand.opened(page)
    uncertainty = {row["id"]: row["uncertainty"] for row in rows if row["state"] == "proposed"}
    assert uncertainty[page.url.partition("#")[2]] == max(uncertainty.values())

    before = page.locator(".object").count()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    hand.drag(page, (20, 220), (80, 225))
    assert page.locator(".object").count() == before + 1
    corrected = page.url.partition("#")[2]
    page.keyboard.press("Enter")
    hand.opened(page)
    hand.saved(page)
    record = hand.fetch(server.url, f"/images/{corrected}/annotations")
    assert record["state"] == "accepted"
    assert record["objects"][-1]["source"] == "brush"

    check_export(page, server, tmp_path / "export.zip")


def check_export(page, server, path: Path) -> None:
    from pycocotools.coco import COCO

    page.locator("#export").click()
    page.locator("#format").select_option("coco")
    page.locator("dialog [data-state=proposed]").check()
    page.locator("#make-export").click()
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(path)
    page.keyboard.press("Escape")
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".json"))
        (path.parent / "coco.json").write_bytes(archive.read(name))
    data = COCO(str(path.parent / "coco.json"))
    exported = {data.imgs[i]["file_name"].rpartition("/")[2]: data.imgToAnns[i] for i in data.getImgIds()}
    for row in hand.fetch(server.url, "/images"):
        objects = hand.fetch(server.url, f"/images/{row['id']}/annotations")["objects"]
        by_score = sorted(((exported_score(o), o) for o in objects), key=lambda pair: -pair[0])
        for annotation, (score, saved) in zip(exported[row["name"]], by_score, strict=True):
            assert hand.iou(data.annToRLE(annotation), saved["rle"]) == 1, json.dumps(row)
            assert data.cats[annotation["category_id"]]["name"] == saved["class"]
            assert annotation["score"] == pytest.approx(score, abs=1e-6)


def exported_score(saved: dict) -> float:
    """Score of an object in an export: 1 if the user made it, else the score of the proposal."""
    return saved["score"] if saved["source"] in ("auto", "find") else 1.0
