"""What a person does on the page: positions of the image become positions on the screen."""

from __future__ import annotations

import json
import urllib.request

import cv2
import numpy as np
from pycocotools import mask as coco


def opened(page) -> None:
    """Wait until the image is there and prepared."""
    page.wait_for_selector("#stage[data-ready=true]")
    page.wait_for_selector("#stage canvas[data-view]")
    page.wait_for_timeout(100)


def go(page, bench, sample=None) -> None:
    """To the page, and there to the image of a sample."""
    page.goto(bench.url)
    opened(page)
    if sample is not None:
        row = page.locator(".row", has_text=sample.id)
        row.click()
        page.locator(".current-image b", has_text=sample.id).wait_for()
        opened(page)


def screen(page, at) -> tuple[float, float]:
    """Where a position of the image lies now."""
    scale, x, y = map(float, page.locator("#stage canvas").get_attribute("data-view").split())
    box = page.locator("#stage").bounding_box()
    return box["x"] + x + at[0] * scale, box["y"] + y + at[1] * scale


def click(page, at, **options) -> None:
    """Click and wait for the answer."""
    page.mouse.click(*screen(page, at), **options)
    settled(page)


def settled(page) -> None:
    """Nothing is asked any more."""
    page.wait_for_timeout(60)
    page.wait_for_selector("#stage[data-busy=false]")


def drag(page, start, end, **options) -> None:
    """Drag from one position of the image to another."""
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
    """Two corners around a mask."""
    x, y, w, h = coco.toBbox(rle)
    return (float(x), float(y)), (float(x + w), float(y + h))


def ask(url: str, path: str):
    """What the server has on disk."""
    with urllib.request.urlopen(f"{url}api{path}", timeout=30) as answer:
        return json.load(answer)


def annotations(page, url: str) -> dict:
    """Of the open image, as the server has them."""
    return ask(url, f"/images/{page.url.partition('#')[2]}/annotations")


def saved(page) -> None:
    """Wait until everything is on disk."""
    page.wait_for_timeout(60)
    page.wait_for_selector("#save-state[data-state=saved]")


def iou(one, other) -> float:
    """Of two run-length encoded masks."""
    return float(coco.iou([one], [other], [0])[0][0])
