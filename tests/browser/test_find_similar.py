"""Find similar, image stacks, and a fit that is ended with its best result so far."""

from __future__ import annotations

import hand
import numpy as np
from PIL import Image

from samtailor.data.synth.samples import samples


def annotate(page, sample) -> None:
    """Annotate every banner of an image with a box."""
    for truth in sample.of(None):
        page.keyboard.press("n")
        hand.drag(page, *hand.box_of(truth.rle))


def search(page) -> str:
    """Start the search of the open dialog and wait for its end; what the page says about it."""
    page.locator("#find-start").click()
    page.locator("#job[data-kind=find]").wait_for(state="attached")
    page.locator("#find-result").wait_for(state="attached", timeout=600_000)
    return page.locator("#find-result p").inner_text()


def test_similar_objects_are_found_and_ranked(page, workbench):
    scenes = list(samples(4, 5, kind="banners", size=(240, 320)))
    server = workbench(scenes, "--classes", "banner")
    page.goto(server.url)
    hand.opened(page)
    assert page.locator("#find-similar").count() == 0  # nothing to look for yet
    annotate(page, scenes[0])
    page.keyboard.press("Enter")
    hand.opened(page)
    page.locator("#find-similar").click()
    (reference,) = page.locator("[data-reference]").all()
    assert reference.get_attribute("aria-pressed") == "true"
    said = search(page)
    rows = {row["name"]: row for row in hand.fetch(server.url, "/images")}
    proposed = sorted((row["match"], row["name"]) for row in rows.values() if row["state"] == "proposed")
    assert proposed, said
    assert f"in {len(proposed)} image" in said
    assert page.locator("#find-results .tile").count() == len(proposed)
    assert f"{proposed[-1][0]:.2f}" in page.locator("#find-results .tile").first.inner_text()
    assert rows[f"{scenes[0].id}.png"]["state"] == "accepted"
    page.locator("#find-results .tile").first.click()
    hand.opened(page)
    assert page.locator(".current-image").get_attribute("title") == proposed[-1][1]
    assert {found["source"] for found in hand.objects(page, server)} == {"find"}

    # what was found becomes a reference of what not to find; the open image alone is searched, and nothing is saved
    page.locator("li.object .pick").first.click()
    page.keyboard.press("Shift+A")
    page.locator("#chosen-objects [data-alike=true] button.chip").click()
    page.locator("#chosen-objects [data-alike=false]").wait_for()
    assert page.locator("#find-start").is_disabled()
    page.locator("[data-reference]").click()
    page.locator("#find-here").check()
    before = len(hand.fetch(server.url, f"/images/{page.url.partition('#')[2]}/annotations")["objects"])
    page.locator("#find-start").click()
    page.locator("dialog").wait_for(state="detached", timeout=600_000)
    hand.saved(page)
    assert len(hand.objects(page, server)) >= before
    assert {row["state"] for row in hand.fetch(server.url, "/images")} <= {"accepted", "proposed", "open"}


def test_pages_of_a_stack_are_turned(page, workbench, tmp_path):
    pages = [Image.fromarray(np.full((60, 80, 3), level, np.uint8)) for level in (40, 120, 200)]
    (tmp_path / "images").mkdir()
    pages[0].save(tmp_path / "images" / "scan.tif", save_all=True, append_images=pages[1:])
    server = workbench([], "--classes", "banner")
    page.goto(server.url)
    hand.opened(page)
    assert page.locator("#pager span").inner_text() == "1/3"
    page.keyboard.press("PageDown")
    page.locator("#pager span", has_text="2/3").wait_for()
    hand.opened(page)
    hand.drag(page, (20, 20), (60, 50))
    page.locator("#pager").get_by_role("button").last.click()
    page.locator("#pager span", has_text="3/3").wait_for()
    hand.opened(page)
    assert page.locator(".object").count() == 0
    assert page.locator("#pager").get_by_role("button").last.is_disabled()
    page.keyboard.press("PageUp")
    page.locator(".object").wait_for()
    assert page.locator(".current-image").get_attribute("title") == "scan.tif#2"


def test_fit_is_ended_with_its_best_result_so_far(page, workbench):
    scenes = list(samples(5, 5, kind="banners", size=(240, 320)))
    server = workbench(scenes, "--classes", "banner")
    page.goto(server.url)
    for sample in scenes[:4]:
        hand.opened(page)
        annotate(page, sample)
        page.keyboard.press("Enter")
    page.locator("summary", has_text="Fit options").click()
    page.get_by_label("Steps", exact=True).fill("100000")
    page.locator("label", has_text="Method").locator("select").select_option("plm")
    page.locator("#fit").click()
    page.locator("#job-stage", has_text="Training · 1").wait_for(timeout=600_000)
    page.locator("#keep-best").click()
    page.locator("#fit-panel .result.good").wait_for(timeout=600_000)
    assert "best result so far" in page.locator("#fit-panel .result").inner_text()
    (adapter,) = hand.fetch(server.url, "/project")["adapters"]
    assert adapter["name"] == "fit-1"
    assert hand.fetch(server.url, "/project")["unfinished"] == []
