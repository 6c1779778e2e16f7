"""Actions of a user on the page. Positions are given in pixels of the image."""

from __future__ import annotations

import json
import time
import urllib.request

import cv2
import numpy as np
from pycocotools import mask as coco


def opened(page) -> None:
    """Wait until the image is shown and encoded."""
    page.wait_for_selector("#stage[data-ready=true]")
    page.wait_for_selector("#stage canvas[data-view]")
    page.wait_for_timeout(100)


def go(page, server, sample=None) -> None:
    """Open the page and the image of a sample."""
    page.goto(server.url)
    opened(page)
    if sample is not None:
        row = page.locator(".row", has_text=sample.id)
        row.click()
        page.locator(".current-image b", has_text=sample.id).wait_for()
        opened(page)


def screen(page, at) -> tuple[float, float]:
    """Position on the screen of a position in the image."""
    scale, x, y = map(float, page.locator("#stage canvas").get_attribute("data-view").split())
    box = page.locator("#stage").bounding_box()
    return box["x"] + x + at[0] * scale, box["y"] + y + at[1] * scale


def click(page, at, **options) -> None:
    """Click and wait for the mask."""
    page.mouse.click(*screen(page, at), **options)
    settled(page)


def settled(page) -> None:
    """Wait until no request is running."""
    page.wait_for_timeout(60)
    page.wait_for_selector("#stage[data-busy=false]")


def wait_until(page, condition, seconds: float = 120.0) -> None:
    """Wait until a function returns true, while the page goes on."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "The condition did not become true."
        page.wait_for_timeout(20)


def drag(page, start, end, **options) -> None:
    """Drag from one position in the image to another."""
    page.mouse.move(*screen(page, start))
    page.mouse.down(**options)
    middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
    for at in (middle, end):
        page.mouse.move(*screen(page, at), steps=3)
    page.mouse.up(**options)
    settled(page)


def middle(rle) -> tuple[float, float]:
    """The pixel of a mask that is furthest from its edge."""
    distance = cv2.distanceTransform(np.pad(coco.decode(rle), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return float(x) + 0.5, float(y) + 0.5


def box_of(rle) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two opposite corners of a mask's box."""
    x, y, w, h = coco.toBbox(rle)
    return (float(x), float(y)), (float(x + w), float(y + h))


def fetch(url: str, path: str):
    """JSON of the server, GET /api/PATH."""
    with urllib.request.urlopen(f"{url}api{path}", timeout=120) as response:
        return json.load(response)


def annotations(page, url: str) -> dict:
    """Annotations of the open image on the server."""
    return fetch(url, f"/images/{page.url.partition('#')[2]}/annotations")


def saved(page) -> None:
    """Wait until everything is saved."""
    page.wait_for_timeout(60)
    page.wait_for_selector("#save-state[data-state=saved]")


def iou(one, other) -> float:
    """IoU of two run-length encoded masks."""
    return float(coco.iou([one], [other], [0])[0][0])


def objects(page, server) -> list[dict]:
    """Saved objects of the image that is open."""
    saved(page)
    return annotations(page, server.url)["objects"]
