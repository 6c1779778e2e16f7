"""Clean-up of masks, many images at once, export, help, and a page that fits its window."""

from __future__ import annotations

import json
import re
from pathlib import Path

import hand

from samtailor.data.synth.samples import samples


def area(found: dict) -> int:
    from pycocotools import mask as coco

    return int(coco.area({**found["rle"], "counts": found["rle"]["counts"].encode()}))


def test_masks_are_filled_split_joined_and_copied(page, place):
    server, _ = place
    page.keyboard.press("b")
    for start, end in (((40, 40), (120, 40)), ((120, 40), (120, 100)), ((120, 100), (40, 100)), ((40, 100), (40, 40))):
        hand.drag(page, start, end)
    before = area(hand.objects(page, server)[0])
    page.keyboard.press("Shift+F")
    hand.wait_until(page, lambda: area(hand.objects(page, server)[0]) > 2 * before)
    hand.drag(page, (200, 150), (240, 150))
    page.keyboard.press("Shift+P")
    page.locator(".object").nth(1).wait_for()
    assert len(hand.objects(page, server)) == 2
    total = sum(map(area, hand.objects(page, server)))
    page.keyboard.press("Shift+J")
    page.mouse.click(*hand.screen(page, (220, 150)))
    page.locator(".object").nth(1).wait_for(state="detached")
    (one,) = hand.objects(page, server)
    assert area(one) == total
    page.keyboard.press("Control+z")
    assert len(hand.objects(page, server)) == 2
    assert page.locator(".object.selected").count() == 1
    name = page.locator(".current-image b").inner_text()
    page.keyboard.press("Shift+C")
    page.wait_for_function("name => document.querySelector('.current-image b').innerText !== name", arg=name)
    hand.opened(page)
    page.locator(".object").first.wait_for()
    hand.saved(page)
    assert one["class"] in {found["class"] for found in hand.objects(page, server)}


def test_page_of_800_pixels_holds_five_adapters(page, place):
    server, _ = place
    project = hand.fetch(server.url, "/project")
    figures = {"start_miou": 0.5, "held_out_miou": 0.6, "held_out_region_miou": 0.55}
    project["adapters"] = [
        {
            "name": f"adapter-with-a-long-name-{i}",
            "classes": ["banner"],
            "method": "tailor",
            "auto": True,
            "promptless": False,
            "figures": figures if i else None,
            "interval": [0.5, 0.7] if i else None,
            "held_out_images": 2,
            "held_out_masks": 8 if i else 3,
            "deletable": True,
            "created": None,
            "comparison": [],
            "replaces": None,
        }
        for i in range(5)
    ]
    page.route(re.compile(r"/api/(project|events)$"), lambda route: route.fulfill(json=project))
    page.goto(server.url)
    hand.opened(page)
    right = page.locator(".right")
    assert right.evaluate("one => one.scrollHeight - one.clientHeight") == 0
    assert page.locator("#fit").is_visible()
    few, *judged = page.locator(".model .about small:first-of-type").all_inner_texts()[1:]
    assert few == "Too few to say (n 3)"
    assert judged == ["60.0% (50.0\N{EN DASH}70.0), n 8"] * 4
    toolbar = page.locator(".toolbar").bounding_box()
    assert toolbar["height"] < 70
    shown = page.locator(".model .middle-ellipsis").last.inner_text()
    assert shown.endswith("-name-4") or "…" not in shown


def test_tools_have_names_and_the_help_is_searched(page, place):
    for name in ("Click", "Brush", "Eraser", "Polygon", "Select"):
        assert page.locator(".tool", has_text=name).is_visible()
    page.keyboard.press("?")
    rows = page.locator(".help tr")
    every = rows.count()
    page.fill("#help-search", "smooth outline")
    assert rows.count() == 1
    page.fill("#help-search", "")
    assert rows.count() == every > 30
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")


def test_first_steps_count_images_with_objects_and_broken_images_cannot_be_accepted(page, workbench):
    scenes = list(samples(3, 5, kind="banners", size=(240, 320)))
    server = workbench(scenes, "--classes", "banner")
    whole = Path(server.folder / f"{scenes[0].id}.png").read_bytes()
    (server.folder / "a-broken.png").write_bytes(whole[: len(whole) // 2])
    page.goto(server.url)
    page.locator(".row[data-state=failed]", has_text="broken").wait_for()
    page.locator(".row", has_text="broken").click()
    page.locator(".notice", has_text="truncated").wait_for()
    assert page.locator("#accept").is_disabled()
    assert "truncated" in page.locator(".row[data-state=failed]").inner_text()
    page.locator(".row", has_text=scenes[0].id).click()
    page.locator(".current-image b", has_text=scenes[0].id).wait_for()
    hand.opened(page)
    steps = page.locator(".first-steps li")
    assert "0 of 4 images with objects" in steps.nth(1).inner_text()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # accepted without objects
    page.locator(".row[data-state=accepted]").wait_for()
    assert "0 of 4 images with objects" in steps.nth(1).inner_text()
    assert "do not count" in page.locator("#fit-panel").inner_text().replace("does not count", "do not count")


def test_export_asks_for_drafts_classes_and_validation(page, workbench):
    scenes = list(samples(3, 5, kind="banners", size=(240, 320)))
    server = workbench(scenes, "--classes", "banner,plate")
    page.goto(server.url)
    hand.opened(page)
    for _ in range(2):
        page.keyboard.press("b")
        hand.drag(page, (40, 40), (90, 60))
        hand.saved(page)
        name = page.locator(".current-image b").inner_text()
        page.keyboard.press("Enter")
        page.wait_for_function("name => document.querySelector('.current-image b').innerText !== name", arg=name)
        hand.opened(page)
    hand.drag(page, (40, 40), (90, 60))
    hand.saved(page)
    page.click("#export")
    page.locator("dialog [data-state=open]").check()
    page.select_option("#val", "0.3")
    page.select_option("#rle", "rle")
    page.click("#make-export")
    result = page.locator("dialog .result")
    result.wait_for()
    assert "Exported 3 images with 3 objects" in result.inner_text()
    assert "annotations/instances.json" in page.locator("#loading").inner_text()
    (folder,) = (server.folder / ".samtailor" / "exports").glob("coco-*")
    content = json.loads((folder / "train" / "annotations" / "instances.json").read_text())
    assert isinstance(content["annotations"][0]["segmentation"], dict)
    assert (folder / "val" / "annotations" / "instances.json").is_file()


def test_many_images_are_accepted_after_a_look_at_them(page, workbench):
    from samtailor.data.writing import sealed, write_json
    from samtailor.masks.rle import to_json

    scenes = list(samples(3, 5, kind="banners", size=(240, 320)))
    server = workbench(scenes, "--classes", "banner")
    rows = {row["name"]: row["id"] for row in hand.fetch(server.url, "/images")}
    server.process.terminate()
    server.process.wait()
    for scene, uncertainty in zip(scenes, (0.05, 0.1, 0.6), strict=True):
        one = {"id": "a1", "class": "banner", "rle": to_json(scene.of(None)[0].rle), "source": "auto", "score": 0.9}
        record = {
            "revision": 1,
            "state": "proposed",
            "size": [240, 320],
            "image": f"{scene.id}.png",
            "objects": [one | {"uncertainty": uncertainty}],
            "uncertainty": uncertainty,
            "by": "x",
        }
        write_json(server.folder / ".samtailor" / "annotations" / f"{rows[f'{scene.id}.png']}.json", sealed(record))
    server.start()
    page.goto(server.url)
    hand.opened(page)
    page.click("#accept-many")
    page.locator(".tile").nth(1).wait_for()
    assert page.locator(".tile").count() == 2
    page.wait_for_function("() => [...document.querySelectorAll('.tile img')].every(one => one.naturalWidth > 0)")
    page.locator(".tile").first.click()
    page.locator("#accept-chosen", has_text="Accept 1 image").click()
    page.locator("#take-back").wait_for()
    assert hand.fetch(server.url, "/project")["counts"]["accepted"] == 1
    page.click("#take-back")
    hand.wait_until(page, lambda: hand.fetch(server.url, "/project")["counts"]["proposed"] == 3)


def test_worse_adapter_is_offered_and_not_taken(page, place):
    server, _ = place
    project = hand.fetch(server.url, "/project")
    comparison = ["On the same 8 objects: fit-1 70.0 %, this adapter 61.0 %.", "The new adapter is worse for clicks."]
    figures = {"start_miou": 0.5, "held_out_miou": 0.61, "held_out_region_miou": None}
    shared = {"classes": ["banner"], "method": "tailor", "auto": False, "promptless": False, "figures": figures,
              "deletable": True, "created": None}  # fmt: skip
    project["adapters"] = [
        {"name": "fit-1", "comparison": [], "replaces": None, **shared},
        {"name": "fit-2", "comparison": comparison, "replaces": False, **shared},
    ]
    project["job"] = {
        "id": "x",
        "kind": "fit",
        "adapter": "fit-2",
        "state": "done",
        "done": 1,
        "total": 1,
        "stage": "fit",
        "loss": 0.1,
        "miou": 0.61,
        "start_miou": 0.5,
        "automatic_miou": None,
        "held_out_images": 2,
        "seconds_left": None,
        "images_per_second": None,
        "message": None,
        "comparison": comparison,
        "replaces": False,
        "report": None,
        "held_out_objects": 8,
        "interval": [0.5, 0.7],
    }
    page.route(re.compile(r"/api/(project|events)$"), lambda route: route.fulfill(json=project))
    page.goto(server.url)
    hand.opened(page)
    assert page.locator(".model.selected").inner_text().startswith("fit-1")
    assert "worse for clicks" in page.locator("#comparison").inner_text()
    page.locator("#comparison summary").click()
    assert "On the same 8 objects" in page.locator("#comparison").inner_text()
    page.click("#use-worse")
    assert page.locator(".model.selected").inner_text().startswith("fit-2")
