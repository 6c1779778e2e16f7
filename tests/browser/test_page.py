"""The page with a running server: nothing is lost; tools, keyboard, touch."""

from __future__ import annotations

import re

import hand
import pytest

from samtailor.data.synth.samples import samples


@pytest.fixture
def server(workbench):
    """A workbench that the test may kill."""
    return workbench(samples(2, 5, kind="banners", size=(240, 320)), "--classes", "banner")


def test_clicks_undo_candidates_and_classes(page, place):
    server, sample = place
    hand.click(page, hand.middle(sample.of(None)[0].rle))
    first = hand_saved(page, server)[0]
    assert first["clicks"] == 1
    assert first["prompts"]["labels"] == [1]
    hand.click(page, (5, 5), button="right")
    second = hand_saved(page, server)[0]
    assert second["prompts"]["labels"] == [1, 0]
    page.keyboard.press("Control+z")
    assert hand_saved(page, server)[0]["rle"] == first["rle"]
    page.keyboard.press("Control+Shift+z")
    assert hand_saved(page, server)[0]["rle"] == second["rle"]
    page.keyboard.press("Tab")
    assert hand_saved(page, server)[0]["rle"] != second["rle"]
    page.keyboard.press("2")
    assert hand_saved(page, server)[0]["class"] == "plate"
    page.keyboard.press("Delete")
    assert hand_saved(page, server) == []


def hand_saved(page, server) -> list[dict]:
    hand.saved(page)
    return hand.annotations(page, server.url)["objects"]


def test_slow_response_does_not_replace_a_newer_one(page, place):
    server, sample = place
    pending = []
    page.route(re.compile(r"/segment$"), lambda route: pending.append(route) if not pending else route.continue_())
    inside = hand.middle(sample.of(None)[0].rle)
    page.mouse.click(*hand.screen(page, inside))
    hand.wait_until(page, lambda: pending)
    hand.click(page, (inside[0] + 4, inside[1] + 4))
    objects = hand_saved(page, server)
    assert len(objects[0]["prompts"]["points"]) == 2
    pending[0].fulfill(json={"masks": [], "milliseconds": 1})
    page.wait_for_timeout(200)
    assert hand_saved(page, server) == objects


def test_accept_waits_for_a_running_request(page, workbench):
    scenes = list(samples(3, 5, kind="banners", size=(240, 320)))
    server = workbench(scenes, "--classes", "banner")
    hand.go(page, server, scenes[0])
    pending = []
    page.route(re.compile(r"/(segment|rasterize)$"), lambda route: pending.append(route))
    name, address = page.locator(".current-image b").inner_text(), page.url.partition("#")[2]
    page.mouse.click(*hand.screen(page, hand.middle(scenes[0].of(None)[0].rle)))
    hand.wait_until(page, lambda: pending)
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert page.locator(".current-image b").inner_text() == name
    pending.pop().continue_()
    page.wait_for_function("name => document.querySelector('.current-image b').innerText !== name", arg=name)
    hand.opened(page)
    record = hand.fetch(server.url, f"/images/{address}/annotations")
    assert (record["state"], [one["source"] for one in record["objects"]]) == ("accepted", ["click"])

    name, address = page.locator(".current-image b").inner_text(), page.url.partition("#")[2]
    page.keyboard.press("p")
    for at in ((50, 50), (150, 50), (150, 130), (51, 51)):  # the last one closes the polygon, directly before Enter
        page.mouse.click(*hand.screen(page, at))
    page.keyboard.press("Enter")
    hand.wait_until(page, lambda: pending)
    pending.pop().continue_()
    page.wait_for_function("name => document.querySelector('.current-image b').innerText !== name", arg=name)
    hand.opened(page)
    record = hand.fetch(server.url, f"/images/{address}/annotations")
    assert (record["state"], [one["source"] for one in record["objects"]]) == ("accepted", ["polygon"])


def test_controls_do_not_cover_the_image(page, place):
    _, sample = place
    hand.click(page, hand.middle(sample.of(None)[0].rle))
    page.locator("#candidate").wait_for()
    right, _ = hand.screen(page, (320, 0))
    for one in page.locator(".canvas-control").all():
        assert one.bounding_box()["x"] >= right


def test_killed_server_and_closed_tab_lose_nothing(page, server):
    page.goto(server.url)
    hand.opened(page)
    page.keyboard.press("b")
    hand.drag(page, (40, 40), (90, 60))
    hand.saved(page)
    server.kill()
    page.keyboard.press("n")
    hand.drag(page, (140, 140), (190, 160))
    page.wait_for_selector("#save-state[data-state=offline]")
    context = page.context
    address = page.url
    page.close(run_before_unload=False)
    server.start()
    again = context.new_page()
    again.goto(address)
    hand.opened(again)
    assert again.locator(".object").count() == 2
    assert len(hand_saved(again, server)) == 2


def test_saving_continues_when_the_server_is_back(page, server):
    page.goto(server.url)
    hand.opened(page)
    server.kill()
    page.keyboard.press("b")
    hand.drag(page, (40, 40), (90, 60))
    page.wait_for_selector("#save-state[data-state=offline]")
    server.start()
    assert len(hand_saved(page, server)) == 1


def test_conflicting_changes_in_two_tabs(page, place):
    server, _ = place
    other = page.context.new_page()
    other.route(re.compile("/api/events"), lambda route: route.abort())  # the tab receives no updates
    other.goto(page.url)
    hand.opened(other)
    page.keyboard.press("b")
    hand.drag(page, (40, 40), (90, 60))
    assert len(hand_saved(page, server)) == 1
    other.keyboard.press("b")
    hand.drag(other, (140, 140), (190, 160))
    hand.drag(other, (140, 180), (190, 190))
    other.locator("dialog").wait_for()
    assert len(hand.annotations(page, server.url)["objects"]) == 1
    other.get_by_role("button", name="Use theirs").click()
    assert other.locator(".object").count() == 1
    other.keyboard.press("Control+z")
    assert [one["source"] for one in hand_saved(other, server)] == ["brush"]
    hand.wait_until(page, lambda: page.locator(".object").count() == 1)


def test_brush_eraser_and_polygon(page, place):
    server, _ = place
    page.keyboard.press("p")
    for at in ((50, 50), (150, 50), (150, 130)):
        page.mouse.click(*hand.screen(page, at))
        page.wait_for_timeout(350)
    page.keyboard.press("Enter")
    page.locator(".object[data-source=polygon]").wait_for()
    triangle = hand_saved(page, server)[0]
    hand.drag(page, (50, 50), (50, 130))
    hand.wait_until(page, lambda: hand_saved(page, server)[0]["rle"] != triangle["rle"])
    moved = hand_saved(page, server)[0]
    page.keyboard.press("e")
    hand.drag(page, (90, 115), (125, 115))
    erased = hand_saved(page, server)[0]
    assert area(erased) < area(moved)
    page.keyboard.press("b")
    hand.drag(page, (90, 115), (125, 115))
    assert area(erased) < area(hand_saved(page, server)[0]) <= area(moved) + 50


def test_mask_edited_by_hand_has_no_score(page, place):
    server, sample = place
    (x0, y0), (x1, y1) = hand.box_of(sample.of(None)[0].rle)
    hand.drag(page, (x0, y0), (x1, y1))
    assert hand_saved(page, server)[0]["score"] is not None
    page.keyboard.press("b")
    hand.drag(page, (x0, y0), (x1, y1))
    one = hand_saved(page, server)[0]
    assert (one["source"], one["score"], one["uncertainty"]) == ("brush", None, None)
    page.keyboard.press("Control+z")
    assert hand_saved(page, server)[0]["score"] is not None


def test_selected_object_is_visible_in_a_long_list(page, place):
    page.keyboard.press("b")
    for i in range(12):
        page.keyboard.press("n")
        hand.drag(page, (20, 10 + 15 * i), (60, 10 + 15 * i))
    assert page.locator(".object").count() == 12
    for number in ("12", "1"):  # the last object, then back to the first
        row, sight = page.locator(".object.selected"), page.locator(".objects").bounding_box()
        assert row.locator(".pick").inner_text() == number
        page.wait_for_timeout(100)
        box = row.bounding_box()
        assert sight["y"] <= box["y"] + 1
        assert box["y"] + box["height"] <= sight["y"] + sight["height"] + 1
        page.keyboard.press("j")


def area(one: dict) -> int:
    from pycocotools import mask

    return int(mask.area(one["rle"]))


def test_keyboard_only(page, place):
    server, _ = place
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    page.locator(".object").wait_for()
    hand.settled(page)
    name = page.locator(".current-image b").inner_text()
    page.keyboard.press("?")
    page.locator("dialog").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector('.current-image b').innerText !== name", arg=name)
    hand.saved(page)
    rows = {row["name"]: row["state"] for row in hand.fetch(server.url, "/images")}
    assert rows[name] == "accepted"


def test_key_directly_after_closing_a_dialog_reaches_the_page(page, place):
    """The browser closes a dialog immediately but sends the close event later."""
    name = page.locator(".current-image b").inner_text()
    page.keyboard.press("?")
    page.locator("dialog").wait_for()
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '.', bubbles: true}));"
    page.evaluate(press)
    page.evaluate(f"document.querySelector('dialog').close(); {press}")
    page.locator("dialog").wait_for(state="detached")
    hand.opened(page)
    rows = [row["name"] for row in hand.fetch(place[0].url, "/images")]
    assert page.locator(".current-image b").inner_text() == rows[rows.index(name) + 1], (
        "expected one step: the first key goes to the dialog"
    )


def test_compare_map_and_dark(page, place):
    _, sample = place
    page.emulate_media(color_scheme="dark")
    hand.click(page, hand.middle(sample.of(None)[0].rle))
    page.keyboard.press("c")
    page.locator(".compared-mask").first.wait_for()
    page.keyboard.press("m")
    page.mouse.move(*hand.screen(page, hand.middle(sample.of(None)[0].rle)))
    page.locator(".tip").wait_for()
    assert "IoU" in page.locator(".tip").inner_text()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 24)"


def test_touch(chromium, shared):
    server, scenes = shared
    sample = next(scenes)
    context = chromium.new_context(viewport={"width": 1024, "height": 768}, has_touch=True)
    page = context.new_page()
    hand.go(page, server, sample)
    x, y = hand.screen(page, hand.middle(sample.of(None)[0].rle))
    page.touchscreen.tap(x, y)
    page.locator(".object").wait_for()
    hand.settled(page)
    session = context.new_cdp_session(page)
    touch = {"x": x - 60, "y": y - 40}
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [touch]})
    page.wait_for_timeout(700)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    hand.settled(page)
    assert hand_saved(page, server)[0]["prompts"]["labels"] == [1, 0]
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1024
    context.close()


def test_nothing_is_loaded_from_other_hosts(page, shared):
    server, _ = shared
    urls = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto(server.url)
    hand.opened(page)
    assert urls
    assert all(url.startswith((server.url, "data:", "blob:")) for url in urls)
