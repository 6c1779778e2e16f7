"""The whole loop on the bundled base: mark four images, fit, label the rest, correct one, export, read it back."""

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


def mark(page, sample) -> None:
    """Every banner of an image: by click and, where that is not enough, by box."""
    for truth in sample.of(None):
        page.keyboard.press("n")
        hand.drag(page, *hand.box_of(truth.rle))


def test_mark_fit_label_correct_export(page, workbench, scenes, tmp_path):
    bench = workbench(scenes, "--classes", "banner")
    page.goto(bench.url)
    for index, sample in enumerate(scenes[:4]):
        hand.opened(page)
        assert sample.id in page.locator(".current-image b").inner_text()
        mark(page, sample)
        assert page.locator(".object").count() == len(sample.of(None))
        if index == 1:  # the tab is reloaded before the wait for the save is over
            page.reload()
            hand.opened(page)
            assert page.locator(".object").count() == len(sample.of(None))
        page.keyboard.press("Enter")
    page.locator("summary", has_text="Fit options").click()
    page.get_by_label("Steps").fill(str(STEPS))
    page.locator("#fit").click()
    page.locator("#job[data-kind=fit]").wait_for()
    page.locator("#fit-panel .result").wait_for(timeout=300_000)
    assert "bad" not in page.locator("#fit-panel .result").get_attribute("class")
    page.locator("#gallery").click()
    page.locator("dialog .gallery figure").first.wait_for()
    page.keyboard.press("Escape")

    page.locator("#label-rest").click()
    page.locator("#review").wait_for(timeout=120_000)
    rows = hand.ask(bench.url, "/images")
    assert [row["state"] for row in rows].count("proposed") == 5
    page.locator("#review").click()
    hand.opened(page)
    doubt = {row["id"]: row["uncertainty"] for row in rows if row["state"] == "proposed"}
    assert doubt[page.url.partition("#")[2]] == max(doubt.values())

    before = page.locator(".object").count()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    hand.drag(page, (20, 220), (80, 225))
    assert page.locator(".object").count() == before + 1
    corrected = page.url.partition("#")[2]
    page.keyboard.press("Enter")
    hand.opened(page)
    hand.saved(page)
    record = hand.ask(bench.url, f"/images/{corrected}/annotations")
    assert record["state"] == "accepted"
    assert record["objects"][-1]["source"] == "brush"

    check_export(page, bench, tmp_path / "export.zip")


def check_export(page, bench, path: Path) -> None:
    from pycocotools.coco import COCO

    page.locator("#export").click()
    page.locator("#format").select_option("coco")
    page.get_by_text("Accepted and proposed").click()
    page.locator("#make-export").click()
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(path)
    page.keyboard.press("Escape")
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".json"))
        (path.parent / "coco.json").write_bytes(archive.read(name))
    data = COCO(str(path.parent / "coco.json"))
    exported = {data.imgs[i]["file_name"].rpartition("/")[2]: data.imgToAnns[i] for i in data.getImgIds()}
    for row in hand.ask(bench.url, "/images"):
        kept = hand.ask(bench.url, f"/images/{row['id']}/annotations")["objects"]
        surest_first = sorted(((sureness(one), one) for one in kept), key=lambda pair: -pair[0])
        for one, (score, other) in zip(exported[row["name"]], surest_first, strict=True):
            assert hand.iou(data.annToRLE(one), other["rle"]) == 1, json.dumps(row)
            assert data.cats[one["category_id"]]["name"] == other["class"]
            assert one["score"] == pytest.approx(score, abs=1e-6)


def sureness(one: dict) -> float:
    """What an export says of an object: 1 of all that a person made, else the score of the proposal."""
    return one["score"] if one["source"] == "auto" else 1.0
