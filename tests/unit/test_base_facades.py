"""Facades as a data source of the bundled base, whose masks are boxes; where prompts on nothing are allowed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from bundled_base import cache, compose, evaluation, facades, losses, network, prompting, sources
from bundled_base.images import Labelled, view

LINES = [
    "5 0.25 0.5 0.3 0.6",  # a window
    "3 0.25 0.5 0.1 0.1",  # a signboard within it
    "2 0.8 0.75 0.2 0.5",  # a door that reaches the lower border
    "0 0.6 0.2 0.1 0.1",  # an arch: no object
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Twenty facades of 120 x 160 pixels."""
    folder = tmp_path_factory.mktemp("data") / "facades"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(20):
        cv2.imwrite(str(folder / "images" / f"{number:02d}.png"), rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
        (folder / "labels" / f"{number:02d}.txt").write_text("\n".join(LINES))
    return folder


@pytest.fixture
def source(folder) -> facades.Facades:
    return facades.Facades(folder, sources.training_images(folder))


def test_boxes_of_windows_doors_and_signboards_are_objects_and_parts(source):
    read = source.read(source.paths[0])
    assert not read.complete
    assert read.boxed == {1, 2}
    assert read.owner == {1: 1}
    rows, columns = np.nonzero(read.objects == 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (24, 95, 16, 63)
    assert (read.objects == 1).sum() == 72 * 48
    assert (read.parts == 1).sum() == 12 * 16
    assert read.objects[24, 96] == 0  # the arch
    assert (read.objects == 2).sum() == 60 * 32


def test_a_line_that_is_no_box_is_refused(folder, tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("5 0.1 0.1 0.2 0.1 0.2 0.2")
    with pytest.raises(ValueError, match="expected a class number and four numbers"):
        facades.read_boxes(file, (10, 10))


def test_views_and_pasting_keep_which_masks_are_boxes(source):
    item = compose.cut_out(_one_object(), 1)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        behind = source.crop(rng)
        assert not behind.complete
        pasted = compose.paste(rng, behind, [item])
        assert not pasted.complete
        assert pasted.boxed == {1, 2}
        seen = view(rng, pasted, 128)
        of_facade = {int(i) for i in np.unique(seen.objects)} - {0}
        assert seen.boxed <= of_facade
        levels = prompting.Levels(seen)
        found = prompting.prompts(rng, seen, 4, 2, "box") if levels.ids else None
        if found is not None:
            assert found["present"].all()  # no prompt on nothing on a facade
            assert found["bands"].any() <= bool(seen.boxed)


def test_the_losses_ignore_the_band_along_the_border_of_a_box(source):
    rng = np.random.default_rng(0)
    read = source.read(source.paths[0])
    seen = view(rng, read, 128, close=0)
    row = prompting.prompts(rng, seen, 6, 2, "box")
    assert row["bands"].any()
    batch = {key: torch.from_numpy(np.asarray(value))[None] for key, value in row.items()}
    logits = torch.zeros(1, 8, 4, 32, 32, requires_grad=True)
    found = losses.prompt_losses(logits, torch.zeros(1, 8, 4), torch.zeros(1, 8), batch, 0.5)
    found["mask"].backward()
    bands = batch["bands"][0][batch["targets"][0]].bool()
    assert bands.any(dim=(-2, -1)).all()
    assert (logits.grad[0][bands] == 0).all()
    assert (logits.grad[0][~bands] != 0).all()


def test_a_band_is_along_the_border_but_not_along_that_of_the_image():
    mask = np.zeros((40, 40), bool)
    mask[:20, 10:30] = True
    found = prompting.band(mask)
    assert found[19:21, 15].all()
    assert found[5, 9:11].all()
    assert not found[0, 15:25].any()
    assert not found[10, 15:25].any()


def _one_object() -> Labelled:
    objects = np.zeros((64, 64), np.uint16)
    objects[16:48, 16:48] = 1
    return Labelled(np.full((64, 64, 3), 90, np.uint8), objects, np.zeros_like(objects))


@pytest.mark.parametrize(("complete", "objects"), [(False, False), (True, True), (True, False)])
def test_an_image_on_a_photograph_or_a_scene_is_not_complete(complete, objects):
    drawn = _one_object()
    ids = drawn.objects if objects else np.zeros_like(drawn.objects)
    behind = Labelled(drawn.image, ids, np.zeros_like(ids), complete=complete)
    assert sources._onto(drawn, behind).complete == (complete and not objects)


def test_every_background_but_procedural_ones_forbids_prompts_on_nothing(folder, monkeypatch):
    photo = Labelled(*[getattr(_one_object(), name) for name in ("image", "objects", "parts")], complete=False)
    every = sources.Sources.__new__(sources.Sources)
    every.facades = facades.Facades(folder, sources.training_images(folder))
    every.fashion = type("Photos", (), {"draw": lambda self, rng: photo})()
    monkeypatch.setattr(every, "_instances", lambda rng: photo)
    monkeypatch.setattr(sources, "scene", lambda rng: _one_object())
    kinds = set()
    for seed in range(40):
        behind = every._background(np.random.default_rng(seed))
        kinds.add((behind.sources, behind.complete))
        if behind.sources == ("facades",):
            assert not behind.complete
    assert {(("facades",), False), ((), True), ((), False)} <= kinds
    assert every.draw(np.random.default_rng(0), "facades").boxed


def test_a_cache_keeps_which_masks_are_boxes(source, tmp_path):
    trunk = network.build(0, size=64).eval().vision_encoder.backbone.trunk

    def stream():
        rng = np.random.default_rng(0)
        while True:
            yield rng, source.draw(rng)

    cache.write(tmp_path / "0001-0000", *cache.make(trunk, stream(), 2, 64))
    shard = cache.Shard(tmp_path / "0001-0000")
    assert shard.labelled(0).boxed
    meta = [{k: v for k, v in one.items() if k != "boxed"} for one in shard.meta]
    (tmp_path / "0001-0000" / "meta.json").write_text(json.dumps(meta))
    assert cache.Shard(tmp_path / "0001-0000").labelled(0).boxed == frozenset()


def test_held_out_facades_are_measured_with_their_boxes(folder):
    items = list(evaluation.facade_items(folder, 20))
    assert [len(item.masks) for item in items] == [3, 3]  # every tenth of twenty images
    assert {p.name for p in sources.held_out_images(folder)} == {"09.png", "19.png"}
    assert items[0].masks[0].sum() == 72 * 48
