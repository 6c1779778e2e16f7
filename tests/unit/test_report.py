"""Reports: self-contained pages, images by rank."""

from __future__ import annotations

import re

import numpy as np
import pytest

from samtailor import report
from samtailor.compare import learning
from samtailor.evaluation.masks import evaluate_many
from samtailor.masks.overlay import around, close_up, fit, overlay
from samtailor.registry import find
from samtailor.report import plots
from samtailor.report.predictions import Predictions, history_of
from samtailor.report.tables import comparison_cells


@pytest.fixture
def shown(tiny_sam, tiny_samples):
    segmenters = {"SAM": tiny_sam, "SAM+PLM+PMM": find("methods", "plm-pmm").build(tiny_sam)[0]}
    return Predictions(tiny_sam, segmenters, tiny_samples[:4], None), evaluate_many(segmenters, tiny_samples[:4])


def test_the_page_is_complete_and_self_contained(shown, tmp_path):
    show, evaluations = shown
    history = {
        "train": [{"step": s, "loss": 1 / (s + 1)} for s in range(30)],
        "held_out": [{"step": 5, "miou": 0.4, "oracle_miou": 0.5}],
    }
    sections = [
        report.headline(evaluations),
        report.class_table(evaluations),
        show.overlays(evaluations),
        show.iou_map(evaluations["SAM+PLM+PMM"], ["SAM", "SAM+PLM+PMM"], cells=6),
        show.refinement(evaluations["SAM+PLM+PMM"], "SAM+PLM+PMM"),
        report.curves({"fit": history}),
        None,
        report.settings("Settings", {"data": "a <b>", "lr": 1e-4, "none": None}, {"ids": ["p1", "p2"]}),
    ]
    report.write_page(tmp_path / "page.html", "A title & more", "lead", sections)
    html = (tmp_path / "page.html").read_text()
    assert [f.name for f in tmp_path.iterdir()] == ["page.html"]
    assert "A title &amp; more" in html
    assert "a &lt;b&gt;" in html
    sources = re.findall(r'(?:src|srcset|href)="([^"]{0,20})', html)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://|<script|@import|url\(", html)
    assert html.count("<picture><source srcset=") == html.count("</picture>") == 2  # a plot for dark and light pages
    for word in ("Before and after", "Per class", "worst", "median", "best", "IoU by click position", "Refinement"):
        assert word in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_images_are_chosen_by_rank(shown):
    _, evaluations = shown
    ious = evaluations["SAM"].values("miou")
    ranks = dict((name, ious[row]) for name, row in report.cases(evaluations["SAM"]))
    assert ranks["worst"] == ious.min()
    assert ranks["best"] == ious.max()
    assert ious.min() <= ranks["median"] <= ious.max()


def test_figures_hold_paired_differences(shown):
    _, evaluations = shown
    figures = report.figures(evaluations)
    assert figures["differences"]["SAM+PLM+PMM"]["miou"] == 0.0  # a fresh PLM starts at the base


def test_nothing_to_show_is_left_out(shown, tmp_path):
    show, evaluations = shown
    assert show.refinement(evaluations["SAM"], "SAM") is None
    assert report.curves({"fit": {}}) is None
    assert history_of(tmp_path) == {}


def test_many_curves_have_their_names_below_and_one_style_each(monkeypatch):
    """Fifteen names inside the first plot hid it; a fit without Dice shifted the colours of those after it."""
    monkeypatch.setattr(plots, "figure", lambda title, text, draw, alt: draw())
    steps = [{"step": s, "loss": 1.0, "dice": 0.5} for s in range(30)]
    bare = [{"step": s, "loss": 1.0} for s in range(30)]
    names = [f"fit {i}" for i in range(15)]
    made = plots.curves({name: {"train": steps if i else bare} for i, name in enumerate(names)})
    assert [text.get_text() for text in made.legends[0].get_texts()] == names
    assert not any(axis.get_legend() for axis in made.axes)
    styles_of = {}
    for axis in made.axes:
        for line in axis.lines:
            styles_of.setdefault(line.get_label(), set()).add((line.get_color(), line.get_linestyle()))
    assert all(len(styles) == 1 for styles in styles_of.values())
    assert len(set.union(*styles_of.values())) == len(names)
    few = plots.curves({name: {"train": steps} for name in names[:3]})
    assert not few.legends
    assert few.axes[0].get_legend()


def test_seed_table_and_matrix():
    seeds = report.seed_table({"SAM": {"seeds": {"0": 0.5, "1": 0.7}}})
    assert [cell["text"] for cell in seeds["rows"][0]["cells"]] == ["SAM", "50.0", "70.0", "60.0"]
    assert seeds["rows"][0]["cells"][-1]["small"] == "± 14.1"
    cross = report.matrix("PLM", {"rows": ["nose"], "columns": ["nose", "hat"], "miou": [[0.8, None]]})
    assert [cell["text"] for cell in cross["rows"][0]["cells"]] == ["nose", "80.0", "-"]


def _row(title: str, dice: float, masks: int, shots: int | None = None) -> dict:
    """A row of `compare.rows_of`, of one seed."""
    scores = {key: dice for key in ("dice", "iou")}
    scores |= {f"{key}_{part}": None for key in ("dice", "iou") for part in ("interval", "deviation")}
    scores |= {f"{key}_masks_interval": [dice - 0.1, dice + 0.1] for key in ("dice", "iou")}
    cost = {"parameters": 3, "seconds": 1.0, "encode_seconds": 1.0, "peak_memory_mib": 10.0, "encoder_cached": True}
    row = {"title": title, "shots": shots, "masks": masks, "images": masks, "prompt": "none", "weights": None}
    row |= {"seeds": {"0": {"dice": dice, "iou": dice}}, "cost": cost, **scores}
    return row | {"difference": {"to": "SAM", **scores}}


@pytest.mark.parametrize(("masks", "shown"), [(4, False), (5, True)])
def test_a_comparison_of_fewer_than_five_masks_shows_no_percentage(masks, shown):
    """Neither in the table, nor as a plot, nor as a learning curve."""
    rows = [_row("SAM", 0.625, masks), _row("PLM", 0.75, masks)]
    _, cells = comparison_cells(rows)
    assert any("75.0" in cell for cell in cells[1]) == shown
    assert ("too few to say" in cells[1]) != shown
    assert len({len(line) for line in cells}) == 1
    assert (report.learning_curve(rows, "") is not None) == shown
    over_shots = [_row("PLM", 0.5, masks, 4), _row("PLM", 0.75, masks, 8)]
    assert (report.learning_curve(over_shots, "") is not None) == shown
    assert (learning(over_shots) != {}) == shown


def test_one_number_of_shots_is_drawn_as_bars(monkeypatch):
    made = []
    monkeypatch.setattr(plots, "figure", lambda title, text, draw, alt: made.append((title, draw())))
    for shots in (None, 4):
        report.learning_curve([_row("SAM", 0.625, 9, shots), _row("PLM", 0.75, 9, shots)], "")
        title, figure = made[-1]
        assert title == "Dice of each method"
        (axis,) = figure.axes
        assert [bar.get_width() for bar in axis.patches] == [62.5, 75.0]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["SAM", "PLM"]
    report.learning_curve([_row("SAM", 0.625, 9, 4), _row("SAM", 0.75, 9, 8)], "")
    assert made[-1][0] == "Learning curve"
    assert report.learning_curve([_row("SAM", 0.625, 9)], "") is None


def test_overlays_leave_the_image_alone_and_show_the_mask():
    image = np.full((60, 80, 3), 100, np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    drawn = overlay(image, [mask], outlines=[mask], points=[(5, 5, 1), (70, 50, 0)], boxes=[(1, 1, 79, 59)])
    assert (image == 100).all()
    assert (drawn[30, 40] != 100).any()
    assert (drawn[10, 60] == 100).all()
    assert (drawn[5, 5] != 100).any()
    assert fit(image, 40).shape == (30, 40, 3)
    assert fit(image, 160).shape == (120, 160, 3)
    rows, columns = around((30, 20, 50, 40), 60, 80)
    assert rows.start <= 20
    assert rows.stop >= 40
    assert columns.start <= 30
    assert columns.stop >= 50


def test_a_detail_is_drawn_after_it_is_resized():
    image = np.full((60, 80, 3), 100, np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    view = slice(10, 50), slice(20, 60)
    shown = close_up(image, view, [mask], side=400, points=[(25, 15, 1)], boxes=[(20, 10, 30, 20)])
    assert shown.shape == (400, 400, 3)
    filled = (shown == shown[200, 200]).all(-1)
    assert filled.sum() == pytest.approx(200 * 200, rel=0.05), "the mask is ten times as large"
    assert filled[110:290, 110:290].all()
    assert (shown[50, 50] != 100).any(), "the click"
    assert (shown[2, 98] != 100).any(), "the box"
    assert (shown[350, 350] == 100).all()


def test_a_grid_in_the_page_and_as_one_image(tmp_path):
    wide, tall = np.full((20, 40, 3), 80, np.uint8), np.full((40, 20, 3), 160, np.uint8)
    rows = [[(wide, "one & all"), (wide, "")], [(tall, ""), (wide, "last")]]
    report.write_page(tmp_path / "page.html", "t", "lead", [report.grid("Grid", "text", ["A", "B"], rows, "credit")])
    html = (tmp_path / "page.html").read_text()
    assert html.count("<img") == 4
    assert html.count("<figcaption>") == 2
    assert 'alt="A: one &amp; all"' in html
    assert html.index('<div class="head">A</div>') < html.index('<div class="head">B</div>') < html.index("<img")
    assert "--columns: 2" in html
    assert "credit" in html
    sheet = report.contact_sheet(["A", "B"], rows, "credit")
    assert sheet.dtype == np.uint8
    left, right = (np.flatnonzero((sheet == value).all(axis=(1, 2)) | (sheet[:, column] == value).all(axis=1))
                   for value, column in ((160, 20), (80, 600)))  # fmt: skip
    assert len(left) == 400  # the tall image has its longer side, and the row is as high
    assert len(right) == 2 * 200
    assert sheet.shape[1] == 2 * 410 + 10
