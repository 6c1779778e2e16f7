"""A user's hour: a scripted person labels images in the workbench (`samtailor ui`), without and with a fit.

    python tools/users_hour.py DATA OUT [--images 40] [--most 15] [--fewest 3] [--mark 8] [--again 20] [--find 3]
                               [--class N] [--ways a,b,c]

DATA holds images/ and labels/, either NAME.png (16-bit instance ids) or NAME.txt (boxes as YOLO writes them; --class is
the number of the class). Way a: the base model alone, every object is marked. Way b: some images are marked, then Fit
and Label the rest, then errors are corrected in the order of the queue, with another fit after --again accepted images.
Way c: after --find marked images, Find similar, then errors are corrected. All input is mouse and keys of Chromium;
masks are compared with the truth as a person would do by eye. OUT/WAY.json gets counts and figures, OUT/WAY.zip the
COCO export, OUT/shots screenshots, and results/users-hour.json the figures of all ways. The person's time is a model,
not a measurement (see SECONDS); the machine's time is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import results
from hour import truth
from hour.annotator import Annotator
from hour.hand import Hand
from hour.judge import judge
from results import Cell, Column, Table
from workbench_page import workbench_page

SECONDS = {"images": 2.0, "clicks": 1.5, "keys": 0.5, "strokes": 4.0, "corners": 1.0, "glances": 0.5}
"""Seconds of a person for a look at an image, a click (with a look at its mask), a key, a stroke of the brush, a corner
of a polygon, a look at one proposed object or candidate."""

_COUNTS = {"clicks": "Clicks", "strokes": "Strokes of brush or eraser", "corners": "Corners of polygons"}
_COUNTS |= {"keys": "Keys", "glances": "Looks at a candidate or a proposed object"}
_PROPOSALS = {"objects": "Objects on these images", "proposed": "proposed", "found": "proposed and correct (IoU 0.5)"}
_PROPOSALS |= {"good": "as good as the person wanted"}
_QUALITY = {"ap50": "mask AP50", "f1": "F1 at IoU 0.5", "iou_matched": "mean IoU of the objects found"}
COLUMNS = (
    Column(key="what", label=""),
    Column(key="without", label="Without a fit", digits=None),
    Column(key="with", label="With a fit", digits=None),
    Column(key="find", label="With Find similar", digits=None),
)


def main() -> None:
    options = _options()
    images = truth.Truth(options.data, options.number).choose(options.most, options.fewest, options.images)
    options.out.mkdir(parents=True, exist_ok=True)
    for way in options.ways.split(","):
        if (options.out / f"{way}.json").is_file():
            continue
        folder = options.out / f"images-{way}"
        truth.copy(images, folder)
        with _page(folder, options.out) as (page, url):
            figures = Hour(page, url, way, len(images), options).run()
        (options.out / f"{way}.json").write_text(json.dumps(figures, indent=1))
        print(json.dumps({key: value for key, value in figures.items() if key != "rows"}, indent=1), flush=True)
    _save(options)


def _save(options: argparse.Namespace) -> None:
    """The figures of the ways that were run."""
    files = {key: options.out / f"{way}.json" for key, way in (("without", "a"), ("with", "b"), ("find", "c"))}
    ways = {key: json.loads(file.read_text()) for key, file in files.items() if file.is_file()}
    first = options.mark if "with" in ways else options.find
    cells = {key: _cells(figures, first) for key, figures in ways.items()}
    names = dict.fromkeys(name for one in cells.values() for name in one)
    rows: dict[str, dict[str, Cell]] = {}
    for key, label in names:
        rows[key] = {"what": label} | {way: one.get((key, label)) for way, one in cells.items()}
    columns = tuple(column for column in COLUMNS if column.key in ("what", *ways))
    images = max((one["images"] for one in ways.values()), default=0)
    model = ", ".join(f"{seconds:g} s per {deed}" for deed, seconds in SECONDS.items())
    results.save(
        "users-hour",
        {options.table: Table(title=f"{images} images of {options.data.name}", columns=columns, rows=rows)},
        title="A user's hour: a scripted person labels images in the page",
        units="counts, minutes of a model of the person, seconds of the machine",
        notes=[
            f"The model: {model}. It is an assumption: no person was timed.",
            "One run of each way, on two cores that other work kept busy, which shows in the seconds of the machine.",
        ],
        base=results.bundled(),
        seeds=[0],
        file=options.results,
    )


def _cells(figures: dict[str, Any], first: int) -> dict[tuple[str, str], Cell]:
    """The cells of one way by key and label of their row; `first`: images before the fit."""
    rest = figures["rows"][first:]
    tally, waited = figures["tally"], figures["machine_seconds"]
    of_these = f"of these on the images after the first {first}"
    cells: dict[tuple[str, str], Cell] = {("clicks", "Clicks"): tally.get("clicks", 0)}
    cells[("rest-clicks", of_these)] = sum(row.get("clicks", 0) for row in rest)
    cells |= {(key, label): tally.get(key, 0) for key, label in _COUNTS.items()}
    cells |= {(f"rest-{key}", label): sum(row[key] for row in rest) for key, label in _PROPOSALS.items()}
    cells[("minutes", "The person's minutes, by the model")] = round(figures["human_minutes"], 1)
    cells[("rest-minutes", of_these)] = round(sum(row["minutes"] for row in rest), 1)
    cells |= {(f"{key}-seconds", f"Machine: {key}, s"): round(value) for key, value in waited.items()}
    cells[("click-ms", "Click until the mask is shown, median, ms")] = figures["click_median_ms"]
    for name in (name for name in figures if name.startswith("quality")):
        kind = "Export" if name == "quality" else f"Labelled images, uncorrected ({name.rpartition('-')[2]} accepted)"
        for key, label in _QUALITY.items():
            cells[(f"{name}-{key}".replace("_", "-"), f"{kind}: {label}")] = round(figures[name][key], 3)
    return cells


class Hour:
    """One way through all images."""

    def __init__(self, page: Any, url: str, way: str, images: int, options: argparse.Namespace) -> None:
        self.page, self.way, self.images, self.options = page, way, images, options
        self.hand = Hand(page, url)
        self.annotator = Annotator(self.hand, good=options.good)
        self.truth = truth.Truth(options.data, options.number)
        self.rows: list[dict[str, Any]] = []
        self.figures: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """The figures."""
        start = time.monotonic()
        self.page.goto(self.hand.url)
        self.hand.image()
        self.hand.tally["images"] -= 1
        self.hand.key("o")  # each click a new object
        fits = [self.options.mark, self.options.again] if self.way == "b" else []
        for done in range(self.images):
            if done in fits:
                self._fit(done)
            if self.way == "c" and done == self.options.find:
                self._find(done)
            self._image(done)
        self._export("")
        return {
            "way": self.way, "images": self.images, "human_minutes": self._minutes(self.hand.tally),
            "tally": self.hand.tally, "machine_seconds": {k: round(v, 1) for k, v in self.hand.waited.items()},
            "click_median_ms": round(1000 * statistics.median(self.hand.answers)),
            "wall_minutes": round((time.monotonic() - start) / 60, 1), **self.figures, "rows": self.rows,
        }  # fmt: skip

    def _image(self, done: int) -> None:
        name = self.hand.image(self.rows[-1]["name"] if self.rows else "")
        before = Counter(self.hand.tally)
        if done % 8 == 0 or done == self.options.mark + 2:
            self._shot(f"{done:02}-before")
        masks = self.truth.masks(Path(name).stem)
        count = self.annotator.label(masks)
        spent = Counter(self.hand.tally)
        spent.subtract(before)
        spent["images"] += 1
        minutes = self._minutes(spent)
        self.rows.append({"name": name, "objects": len(masks), **count, **spent, "minutes": minutes})
        print(self.way, done + 1, self.rows[-1], flush=True)

    def _find(self, done: int) -> None:
        """Find objects like those of the accepted images, look at what that is worth untouched, and go to the queue."""
        self.hand.button("#find-similar")
        self.hand.job("#find-start", "find", "#find-result")
        self.figures["find"] = self.page.locator("#find-result").inner_text()
        self._shot(f"{done:02}-found")
        self.hand.key("Escape")
        self._export(f"-untouched-{done}", everything=True)
        self.hand.button("#review-found")
        self.page.wait_for_timeout(300)

    def _fit(self, done: int) -> None:
        """Fit on what is accepted, then label the rest, look at what that is worth untouched, and go to the queue."""
        self._shot(f"{done:02}-fit")
        self.hand.job("#fit", "fit", "#fit-panel .result")
        self.figures[f"fit_{done}"] = self.page.locator("#fit-panel .result").inner_text()
        self._shot(f"{done:02}-fitted")
        self.hand.job("#label-rest", "label", "#review")
        self._export(f"-untouched-{done}", everything=True)
        self.hand.button("#review")
        self.page.wait_for_timeout(300)

    def _export(self, name: str, *, everything: bool = False) -> None:
        path = self.options.out / f"{self.way}{name}.zip"
        before = Counter(self.hand.tally)
        self.hand.button("#export")
        self.page.locator("#format").select_option("coco")
        if everything:
            proposed = self.page.locator("dialog [data-state=proposed]")
            if proposed.count():  # the choice is there only if images are proposed
                proposed.check()
        self.hand.button("#make-export")
        with self.page.expect_download() as download:
            self.hand.button("#download")
        download.value.save_as(path)
        self.page.keyboard.press("Escape")
        if everything:  # a look of the judge, not the person's work
            self.hand.tally = before
        self.figures[f"quality{name}"] = judge(path, self.truth, only=None if not everything else self._waiting())

    def _waiting(self) -> set[str]:
        """Stems of the images that the person has not been at."""
        done = {row["name"] for row in self.rows}
        return {path.stem for path in (self.options.out / f"images-{self.way}").glob("*.*") if path.name not in done}

    def _minutes(self, tally: Counter[str]) -> float:
        return round(sum(SECONDS[deed] * times for deed, times in tally.items()) / 60, 2)

    def _shot(self, name: str) -> None:
        folder = self.options.out / "shots"
        folder.mkdir(exist_ok=True)
        self.page.screenshot(path=folder / f"{self.way}-{name}.png")


@contextmanager
def _page(folder: Path, out: Path) -> Iterator[tuple[Any, str]]:
    """A server of its own on the folder, and a browser before it."""
    with (out / "log").open("ab") as log, workbench_page([str(folder), "--classes", "object"], log) as (page, url):
        page.set_default_timeout(120_000)
        try:
            yield page, url
        except BaseException:
            page.screenshot(path=out / "failed.png")
            raise


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--most", type=int, default=15, help="objects per image")
    parser.add_argument("--fewest", type=int, default=3)
    parser.add_argument("--mark", type=int, default=8, help="images before the first fit")
    parser.add_argument("--again", type=int, default=20, help="accepted images before the second fit")
    parser.add_argument("--good", type=float, default=0.7, help="IoU from which the person accepts a mask")
    parser.add_argument("--find", type=int, default=3, help="images before Find similar")
    parser.add_argument("--class", type=int, dest="number", help="number of the class, for boxes")
    parser.add_argument("--ways", default="a,b,c", help="a way with OUT/WAY.json is not run again")
    parser.add_argument("--table", default="hour", help="name of the table in the result")
    results.add_option(parser, "users-hour")
    return parser.parse_args()


if __name__ == "__main__":
    main()
