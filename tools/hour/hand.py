"""What a person's hand does on the page, counted. Everything goes through mouse and keys of a real browser."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from typing import Any

import numpy as np
from pycocotools import mask as coco

Place = tuple[float, float]


class Hand:
    """One person before one page; `tally` says what was done, `waited` how many seconds the machine took to answer."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.tally: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()
        self.answers: list[float] = []

    def image(self, after: str = "") -> str:
        """Wait until another image than `after` is there and prepared; its name."""
        start = time.monotonic()
        other = "name => ![name, undefined, ''].includes(document.querySelector('.current-image')?.title)"
        self.page.wait_for_function(other, arg=after)
        self.page.wait_for_selector("#stage[data-ready=true]")
        self.page.wait_for_selector("#stage canvas[data-view]")
        self.waited["open"] += time.monotonic() - start
        self.page.wait_for_timeout(100)
        self.tally["images"] += 1
        return self.page.locator(".current-image").get_attribute("title")

    def objects(self) -> dict[str, np.ndarray]:
        """The masks that are seen, by id, once the page has saved them."""
        self.page.wait_for_timeout(60)
        self.page.wait_for_selector("#save-state[data-state=saved]")
        image = self.page.url.partition("#")[2]
        with urllib.request.urlopen(f"{self.url}api/images/{image}/annotations", timeout=30) as answer:
            return {one["id"]: coco.decode(one["rle"]).astype(bool) for one in json.load(answer)["objects"]}

    def selected(self) -> str | None:
        """Which object is under work."""
        row = self.page.locator("li.object.selected")
        return row.get_attribute("data-object") if row.count() else None

    def key(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(name)
        self.tally["keys"] += times
        if name in "zf":
            self.page.wait_for_timeout(100)  # drawn anew

    def click(self, at: Place, kind: str = "clicks", **options: Any) -> None:
        """A click that only selects, or sets a corner."""
        self._show([at])
        self.page.mouse.click(*self._screen(at), **options)
        self.tally[kind] += 1

    def prompt(self, at: Place, *, negative: bool = False, shift: bool = False) -> list[np.ndarray]:
        """A click that asks for masks: what the model offers, the one taken first."""
        self._show([at])  # its key means something else once Shift is held
        start = time.monotonic()
        if shift:
            self.page.keyboard.down("Shift")
        with self.page.expect_response(lambda one: one.url.endswith("/segment")) as response:
            self.click(at, button="right" if negative else "left")
        if shift:
            self.page.keyboard.up("Shift")
        offered = response.value.json()["masks"]
        self.page.wait_for_selector("#stage[data-busy=false]")
        self.answers.append(time.monotonic() - start)
        self.waited["clicks"] += self.answers[-1]
        return [coco.decode(one["rle"]).astype(bool) for one in offered if one["area"]]

    def stroke(self, path: list[Place], width: float, *, erase: bool) -> None:
        """One stroke of the brush or eraser of about that width in pixels of the image."""
        self.key("e" if erase else "b")
        while (now := self._brush()) > 2 and now / width > 1.25:
            self.key("[")
        while (now := self._brush()) and width / now > 1.25:
            self.key("]")
        self._show(path)
        self.page.mouse.move(*self._screen(path[0]))
        self.page.mouse.down()
        for at in path[1:] or path:
            self.page.mouse.move(*self._screen(at), steps=4)
        self.page.mouse.up()
        self.tally["strokes"] += 1
        self.key("s")

    def polygon(self, corners: list[Place]) -> None:
        """A new object by its corners."""
        self._show(corners)
        self.key("p")
        for at in corners:
            self.click(at, "corners")
            self.page.wait_for_timeout(30)
        self.key("Enter")
        self.page.locator("li.object.selected[data-source=polygon]").wait_for()
        self.key("s")

    def job(self, button: str, kind: str, result: str) -> None:
        """Press a button of a job and wait until its result is shown."""
        start = time.monotonic()
        self.button(button)
        self.page.locator(f"#job[data-kind={kind}]").wait_for(state="attached")
        self.page.locator("#job").wait_for(state="detached", timeout=1_500_000)
        self.page.locator(result).wait_for()
        self.waited[kind] += time.monotonic() - start

    def button(self, name: str) -> None:
        self.page.locator(name).click()
        self.tally["clicks"] += 1

    def _show(self, places: list[Place]) -> None:
        """The whole image again where one of the places is out of view: a click there would hit something else."""
        box = self.page.locator("#stage").bounding_box()
        (left, top), (right, bottom) = (box["x"], box["y"]), (box["x"] + box["width"], box["y"] + box["height"])
        if not all(left < x < right and top < y < bottom for x, y in map(self._screen, places)):
            self.key("f")

    def _brush(self) -> float:
        """Width of the brush that the page shows, pixels of the image."""
        return float(self.page.locator("label[title^='Brush size'] output").inner_text().split()[0])

    def _screen(self, at: Place) -> Place:
        scale, x, y = map(float, self.page.locator("#stage canvas").get_attribute("data-view").split())
        box = self.page.locator("#stage").bounding_box()
        return box["x"] + x + at[0] * scale, box["y"] + y + at[1] * scale
