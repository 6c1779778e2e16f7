"""What the page forgives: acceptances, clicks, removed classes; clicks in a zoomed view; imported annotations."""

from __future__ import annotations

import json
import re

import hand
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from samtailor.data.synth.samples import samples


def name(page) -> str:
    return page.locator(".current-image b").inner_text()


def test_acceptance_is_undone_and_the_last_image_is_found_again(page, place):
    server, sample = place
    hand.click(page, hand.middle(sample.of(None)[0].rle))
    first, address = name(page), page.url
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.current-image b').innerText !== name", arg=first)
    hand.opened(page)
    page.keyboard.press("Control+z")
    page.wait_for_function("name => document.querySelector('.current-image b').innerText === name", arg=first)
    hand.opened(page)
    hand.saved(page)
    record = hand.annotations(page, server.url)
    assert (page.url, record["state"], len(record["objects"])) == (address, "open", 1)
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.current-image b').innerText !== name", arg=first)
    hand.opened(page)
    second = name(page)
    page.keyboard.press(",")
    page.wait_for_function("name => document.querySelector('.current-image b').innerText === name", arg=first)
    hand.opened(page)
    assert page.locator("#state").inner_text() == "Accepted"
    page.keyboard.press(".")
    page.wait_for_function("name => document.querySelector('.current-image b').innerText === name", arg=second)


def test_undone_click_keeps_the_candidates_of_the_click_before(page, place):
    server, sample = place
    inside = hand.middle(sample.of(None)[0].rle)
    hand.click(page, inside)
    before, chosen = page.locator("#candidate b").inner_text(), hand.objects(page, server)[0]["rle"]
    hand.click(page, (inside[0] + 3, inside[1] + 3))
    page.keyboard.press("Control+z")
    assert page.locator("#candidate b").inner_text() == before
    page.keyboard.press("Tab")
    assert hand.objects(page, server)[0]["rle"] != chosen
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert hand.objects(page, server) == []
    page.keyboard.press("Control+Shift+z")
    assert page.locator("#candidate b").inner_text() == before


def test_right_click_takes_out_of_the_mask_under_the_pointer(page, place):
    server, _ = place
    page.keyboard.press("b")
    hand.drag(page, (40, 40), (100, 60))
    page.keyboard.press("n")
    hand.drag(page, (200, 150), (260, 170))
    page.keyboard.press("s")
    page.keyboard.press("n")
    hand.click(page, (70, 50), button="right")
    first, second = hand.objects(page, server)
    assert page.locator(".object.selected").get_attribute("data-object") == first["id"]
    assert first["prompts"]["labels"][-1] == 0
    assert second["prompts"] is None


def test_a_click_sends_what_is_on_the_screen_and_the_mask_to_refine(page, place):
    _, sample = place
    inside = hand.middle(sample.of(None)[0].rle)
    sent = []
    page.on("request", lambda r: sent.append(json.loads(r.post_data)) if re.search(r"/segment$", r.url) else None)
    hand.click(page, inside)
    assert sent[0]["refine"] is None
    x, y = hand.screen(page, inside)
    page.mouse.move(x, y)
    for _ in range(6):
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(50)
    page.wait_for_timeout(400)
    hand.click(page, (inside[0] + 1, inside[1] + 1))
    x0, y0, x1, y1 = sent[1]["view"]
    assert 0 <= x0 < inside[0] < x1 <= 320
    assert 0 <= y0 < inside[1] < y1 <= 240
    assert x1 - x0 < 240
    assert sent[1]["refine"]["size"] == [240, 320]
    assert sent[1]["answer"]
    page.locator("#candidate", has_text="zoomed").wait_for()


def test_small_object_is_found_when_zoomed_in(page, workbench):
    """A disc of 9 px in an image of 1200 px: the mask of a click in the zoomed view must not flood it."""
    (scene,) = samples(1, 3, kind="banners", size=(240, 320))
    server = workbench([scene], "--classes", "dot")
    image = np.full((800, 1200, 3), 150, np.uint8)
    rows, columns = np.mgrid[:800, :1200]
    disc = (rows - 500) ** 2 + (columns - 900) ** 2 <= 4.5**2
    image[disc] = (30, 30, 40)
    file = server.folder / "dot.png"
    Image.fromarray(image).save(file)
    page.goto(server.url)
    hand.opened(page)
    page.locator(".row", has_text="dot").click()
    page.locator(".current-image b", has_text="dot").wait_for()
    hand.opened(page)
    x, y = hand.screen(page, (900, 500))
    page.mouse.move(x, y)
    for _ in range(7):
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(50)
    page.wait_for_timeout(400)
    hand.click(page, (900, 500))
    (found,) = hand.objects(page, server)
    truth = coco.encode(np.asfortranarray(disc.astype(np.uint8)))
    assert hand.iou({**found["rle"], "counts": found["rle"]["counts"].encode()}, truth) > 0.5


def test_removed_class_offers_to_move_its_objects(page, workbench):
    server = workbench(samples(1, 5, kind="banners", size=(240, 320)), "--classes", "banner,plate")
    page.goto(server.url)
    hand.opened(page)
    page.keyboard.press("b")
    hand.drag(page, (40, 40), (90, 60))
    hand.saved(page)
    page.get_by_label("Edit class banner").click()
    page.get_by_label("Remove class banner").click()
    page.locator("#move-objects").click()
    page.locator(".class", has_text="banner").wait_for(state="detached")
    assert hand.fetch(server.url, "/project")["classes"][0]["name"] == "plate"
    assert [one["class"] for one in hand.objects(page, server)] == ["plate"]


def test_import_from_the_page_shows_the_account(page, workbench, tmp_path):
    scenes = list(samples(3, 7, kind="banners", size=(240, 320)))
    server = workbench(scenes, "--classes", "object")
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "masks").mkdir()
    for scene in scenes:
        Image.fromarray(scene.image).save(data / "images" / f"{scene.id}.png")
        mask = np.any([one.mask for one in scene.of(None)], axis=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(data / "masks" / f"{scene.id}.png")
    Image.fromarray(scenes[0].image).save(data / "images" / "without a mask.png")
    page.goto(server.url)
    hand.opened(page)
    page.click("#import")
    page.fill("#import-data", str(data))
    page.click("#check-data")
    page.locator("#account", has_text="An import would save").wait_for()
    assert hand.fetch(server.url, "/project")["counts"]["accepted"] == 0
    cells = page.locator("#account tr[data-name=Images] td").all_inner_texts()
    assert cells == ["4", "3", "1"]  # found, read, left out
    assert "without a mask" in page.locator("#account").inner_text()
    page.click("#import-now")
    page.locator("#account .result b", has_text=re.compile(r"^Imported \d+ objects? in 3 images")).wait_for()
    assert hand.fetch(server.url, "/project")["counts"]["accepted"] == 3
    page.keyboard.press("Escape")
    page.locator(".object[data-source=import]").first.wait_for()
    page.click("#import")
    page.fill("#import-data", str(data / "nowhere"))
    page.click("#import-now")
    page.locator(".toast.bad", has_text="There is no folder").wait_for()
