"""Labelling: answers as the predictor's, tiles without seams or doubles, resume, unreadable images."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from samtailor import labelling
from samtailor.data.transform import Frame
from samtailor.data.writers import Destination
from samtailor.errors import InputError
from samtailor.labelling import Source, Tiling, find_objects, label
from samtailor.labelling._ahead import Cut, Share, ahead
from samtailor.labelling._answers import MultiAdapterPredictor, Windows
from samtailor.labelling._journal import Journal
from samtailor.labelling._tiles import Piece, merged, tiles
from samtailor.masks import interior
from samtailor.masks import polygons as outlines
from samtailor.masks.metrics import iou
from samtailor.predict.files import find_images
from samtailor.predict.instances import objects
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.registry import find
from tiny import disc_sample

ASKS = [
    ObjectPrompt(clicks=((30.0, 20.0, 1),), label="disc", score=0.9),
    ObjectPrompt(clicks=((60.0, 30.0, 1),), label="square", score=0.8),
    ObjectPrompt(box=(10.0, 5.0, 60.0, 40.0), label="slab"),
]


def moved(base, method="plm", **options):
    torch.manual_seed(3)
    return find("methods", method).build(base, **{"head": "paper_plain", **options})[0]


def asking(*asks):
    return lambda predictor, image: list(asks)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(4):
        Image.fromarray(disc_sample(index).image).save(tmp_path / "in" / f"p{index}.png")
    return tmp_path / "in"


def test_answers_are_the_predictors(tiny_base):
    predictor = Predictor(tiny_base, {"a": moved(tiny_base)})
    image = disc_sample(2, 70, 110).image
    predictor.set_image(image)
    (found,) = MultiAdapterPredictor(predictor, [Source("a", asking(*ASKS))]).pieces(image)
    expected = []
    for ask in ASKS:
        points = [c[:2] for c in ask.clicks] or None
        masks, scores, _ = predictor.predict(points, None, ask.box, adapter="a")
        expected.append((masks[int(scores.argmax())], ask.score or float(np.clip(scores.max(), 0, 1)), ask.label))
    expected = [row for row in expected if row[0].any()]
    assert len(found) == len(expected) > 0
    by_label = sorted(found, key=lambda one: one.label), sorted(expected, key=lambda row: row[2])
    for one, (mask, score, name) in zip(*by_label, strict=True):
        assert (one.within((0, 0, 110, 70)) != mask).sum() <= 2  # sums in another order
        assert one.score == pytest.approx(score, abs=1e-5)
        assert one.label == name


def test_a_mask_that_is_given_is_the_answer(tiny_sam):
    image = disc_sample(2, 70, 110).image
    drawn = np.zeros((70, 110), bool)
    drawn[20:30, 40:60] = True
    drawn[25, 65] = True
    rle = coco.encode(np.asfortranarray(drawn.astype(np.uint8)))
    given = ObjectPrompt(clicks=((50.0, 25.0, 1),), label="disc", score=0.7, mask_rle=rle)
    predictor = Predictor(tiny_sam, {"a": moved(tiny_sam)})
    (found,) = MultiAdapterPredictor(predictor, [Source("a", asking(given, ASKS[0]))]).pieces(image)
    one = next(piece for piece in found if piece.score == 0.7)
    assert np.array_equal(one.within((0, 0, 110, 70)), drawn)
    assert (one.label, len(found)) == ("disc", 2)


@pytest.mark.parametrize(("height", "width", "squash"), [(48, 80, False), (90, 31, False), (20, 200, True)])
def test_windows_are_cut_out_of_the_whole_answer(height, width, squash):
    frame = Frame(height, width, 64, squash, 16)
    low = torch.randn(16, 16, generator=torch.Generator().manual_seed(1)) - 1.5
    whole = (frame.logits(low[None, None])[0, 0] > 0).numpy()
    mask, x, y = Windows().mask(low, frame)
    full = np.zeros_like(whole)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    assert np.array_equal(full, whole)
    assert not Windows().mask(low - 99, frame)[0].size


@pytest.mark.parametrize("seed", range(6))
def test_run_lengths_of_a_window_are_those_of_the_image(seed):
    rng = np.random.default_rng(seed)
    x, y = (0, 0) if seed == 0 else rng.integers(0, 9, 2)
    mask = np.ones((7, 5), bool) if seed < 2 else rng.random((7, 5)) > 0.5
    height, width = (y + 7 + seed % 2, x + 5 + seed % 3)
    piece = Piece(mask, int(x), int(y), "a", 1.0, None)
    full = np.zeros((height, width), bool)
    full[y : y + 7, x : x + 5] = mask
    rle = piece.encoded((int(height), int(width)))
    assert np.array_equal(coco.decode(rle).astype(bool), full)
    assert rle["counts"] == coco.encode(np.asfortranarray(full.astype(np.uint8)))["counts"]


def shapes(seed, height, width):
    """Objects of one class that do not touch, some longer than a tile."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    taken, found = np.zeros((height, width), bool), []
    for _ in range(40):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(5, 40, 2)
        mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        if mask.sum() > 60 and not (mask & taken).any():
            taken |= ((y - cy) / (ry + 3)) ** 2 + ((x - cx) / (rx + 3)) ** 2 <= 1
            found.append(mask)
    return found


def seen(mask, tile, noise=0):
    """What a tile shows of a mask."""
    x0, y0, x1, y1 = tile.box
    return Piece(mask[y0:y1, x0:x1], x0, y0, "a", 0.5 + noise, "x", tile)


@pytest.mark.parametrize(("height", "width", "side"), [(150, 200, 64), (64, 300, 64), (40, 130, 64), (129, 128, 128)])
def test_tiles_give_every_object_once_and_whole(height, width, side):
    made = tiles(height, width, side, 0.25)
    covered = np.zeros((height, width), int)
    for tile in made:
        x0, y0, x1, y1 = tile.box
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1
    for seed in range(4):
        objects = shapes(seed, height, width)
        parts = [seen(mask, tile, i / 999) for i, tile in enumerate(made) for mask in objects]
        found = [one.within((0, 0, width, height)) for one in merged(p for p in parts if p.mask.any())]
        assert len(found) == len(objects)
        for mask in objects:
            assert max(iou(mask, other) for other in found) >= 0.9
        exact = sum(any(np.array_equal(mask, other) for other in found) for mask in objects)
        assert exact >= 0.9 * len(objects)


def test_a_small_object_in_a_large_one_of_its_class_stays_apart():
    large, small = np.zeros((100, 160), bool), np.zeros((100, 160), bool)
    large[10:90, 5:155], small[40:55, 70:85] = True, True
    made = tiles(100, 160, 100, 0.4)
    found = merged(piece for tile in made for mask in (large, small) if (piece := seen(mask, tile)).mask.any())
    assert sorted(int(one.mask.sum()) for one in found) == [small.sum(), large.sum()]


def test_regions_are_joined_whatever_lies_between():
    mask = np.zeros((64, 200), bool)
    mask[20:30, 5:15], mask[20:30, 180:190] = True, True
    parts = [piece for tile in tiles(64, 200, 64, 0.25) if (piece := seen(mask, tile)).mask.any()]
    (one,) = merged(parts, regions=True)
    assert np.array_equal(one.within((0, 0, 200, 64)), mask)


def test_tiles_are_full_squares_of_the_images_own_pixels(tiny_sam2, folder):
    sides = []
    source = Source(None, lambda predictor, image: sides.append(image.shape) or [ASKS[2]])
    for side in (64, 80):
        find_objects(Predictor(tiny_sam2), [source], "p0", folder / "p0.png", tiling=Tiling(side))
    assert sides == [(64, 64, 3), (64, 64, 3), (48, 80, 3)]  # not larger than a tile: whole, as in training
    with pytest.raises(InputError, match="at least 32"):
        tiles(100, 100, 16, 0.2)


def test_one_embedding_an_image_for_three_adapters(tiny_sam, folder, tmp_path, monkeypatch):
    calls = []
    encode = tiny_sam.encode_image
    monkeypatch.setattr(tiny_sam, "encode_image", lambda images: calls.append(1) or encode(images))
    predictor = Predictor(tiny_sam, {name: moved(tiny_sam) for name in "abc"})
    sources = [Source(name, asking(*ASKS), label=f"class {name}") for name in "abc"]
    done = label(predictor, sources, find_images([folder]), tmp_path / "out", format="coco")
    assert len(calls) == 4
    assert set(done.objects) == {"class a", "class b", "class c"}


def test_an_adapter_inside_the_encoder_answers_on_its_own_embedding(tiny_sam, folder):
    segmenter = find("methods", "samed").build(tiny_sam)[0]
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    segmenter.inference = replace(segmenter.inference, prompt="none")
    predictor = Predictor(tiny_sam, {"own": segmenter, "a": moved(tiny_sam)})
    whole = ObjectPrompt(promptless=True)
    sources = [Source("own", asking(whole), label="x"), Source("a", asking(*ASKS), label="y")]
    found = find_objects(predictor, sources, "p0", folder / "p0.png").objects
    predictor.set_image(folder / "p0.png")
    masks, scores, _ = predictor.predict(adapter="own")
    expected = masks[int(scores.argmax())]
    own = [o.mask for o in found if o.label == "x"]
    assert len(own) == 1
    assert (own[0] != expected).sum() <= 2
    assert any(o.label == "y" for o in found)


def test_two_adapters_that_find_the_same_object_of_a_class_give_it_once(tiny_sam, folder):
    predictor = Predictor(tiny_sam, {name: moved(tiny_sam) for name in "ab"})
    path = folder / "p0.png"
    one, both = (
        find_objects(predictor, [Source(name, asking(*ASKS), label="x") for name in names], "p0", path).objects
        for names in ("a", "ab")
    )
    assert [o.rle for o in one] == [o.rle for o in both]
    apart = find_objects(predictor, [Source(n, asking(*ASKS), label=n) for n in "ab"], "p0", path).objects
    assert len(apart) == 2 * len(one)


def test_a_stopped_run_goes_on_and_asks_nothing_twice(tiny_sam, folder, tmp_path):
    asked = []
    third = disc_sample(2).image

    def ask(predictor, image):
        asked.append(image.tobytes())
        if np.array_equal(image, third) and asked.count(third.tobytes()) == 1:
            raise KeyboardInterrupt
        return ASKS

    predictor = Predictor(tiny_sam, {"a": moved(tiny_sam)})
    run = {"predictor": predictor, "sources": [Source("a", ask)], "images": find_images([folder])}
    with pytest.raises(KeyboardInterrupt):
        label(**run, out=tmp_path / "out")
    asked[:] = [third.tobytes()]  # of the first run
    done = label(**run, out=tmp_path / "out")
    assert sorted(asked[1:]) == sorted([third.tobytes(), disc_sample(3).image.tobytes()])
    assert (done.images, done.earlier) == (4, 2)
    label(**run, out=tmp_path / "whole")
    one, other = ((tmp_path / name / "annotations" / "instances.json").read_bytes() for name in ("out", "whole"))
    assert one == other
    Image.fromarray(disc_sample(9).image).save(folder / "p1.png")  # another image of that name
    assert label(**run, out=tmp_path / "out").earlier == 3
    with pytest.raises(InputError, match="vertices was None, now it is 9"):
        label(**run, out=tmp_path / "out", vertices=9)
    assert label(**run, out=tmp_path / "out", vertices=9, overwrite=True).earlier == 0


def test_answers_come_in_order_whoever_is_first(folder):
    threads, done = torch.get_num_threads(), []

    def answer(view):
        while view.name == "p0" and "p1" not in done:  # the first waits for the second
            time.sleep(0.001)
        done.append(view.name)
        return torch.get_num_threads()

    found = list(ahead(find_images([folder]).items(), Cut(None, 0.0, (0, 0, 0)), answer, Share(2, 1)))
    assert [view.name for view, _ in found] == ["p0", "p1", "p2", "p3"]
    assert done[0] == "p1"
    assert [own for _, own in found] == [1] * 4
    assert torch.get_num_threads() == threads


def test_after_a_failure_nothing_new_is_begun(folder):
    begun = []

    def answer(view):
        begun.append(view.name)
        raise MemoryError(view.name)

    with pytest.raises(MemoryError, match="p0"):
        list(ahead(find_images([folder]).items(), Cut(None, 0.0, (0, 0, 0)), answer, Share(1, None)))
    assert begun == ["p0"]


def test_unreadable_images_are_listed_and_the_rest_is_done(tiny_sam, folder, tmp_path):
    (folder / "broken.png").write_bytes((folder / "p0.png").read_bytes()[:100])
    predictor = Predictor(tiny_sam, {"a": moved(tiny_sam)})
    run = {"predictor": predictor, "sources": [Source("a", asking(*ASKS))], "images": find_images([folder])}
    done = label(**run, out=tmp_path / "out", format="yolo")
    assert list(done.unreadable) == [str(folder / "broken.png")]
    assert done.images == 4
    assert json.loads((tmp_path / "out" / "label.json").read_text())["unreadable"] == done.unreadable
    Image.fromarray(disc_sample(1).image).save(folder / "broken.png")
    again = label(**run, out=tmp_path / "out", format="yolo")
    assert (again.images, again.earlier, again.unreadable) == (5, 4, {})


def test_an_image_without_finds_is_named_and_kept(tiny_sam, folder, tmp_path):
    predictor = Predictor(tiny_sam)
    done = label(predictor, [Source(None, asking())], find_images([folder]), tmp_path / "out", classes=["disc"])
    assert len(done.empty) == 4
    assert len(json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())["images"]) == 4


def test_refinement_goes_through_the_pmm(tiny_sam, folder, monkeypatch):
    segmenter = moved(tiny_sam, "plm-pmm")
    predictor = Predictor(tiny_sam, {"a": segmenter})
    calls = []
    monkeypatch.setattr(
        labelling._answers.pmm, "refine", lambda mask, keys, frame, pmm: calls.append((keys.shape, pmm)) or mask
    )
    plain, refined = (
        find_objects(predictor, [Source("a", asking(*ASKS), refine=on)], "p0", folder / "p0.png").objects
        for on in (False, True)
    )
    assert [o.rle for o in plain] == [o.rle for o in refined]
    assert calls
    assert calls[0] == ((tiny_sam.dim, tiny_sam.grid, tiny_sam.grid), segmenter.adapter("pmm"))


def test_another_folder_is_never_written_into(tiny_sam, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    run = (Predictor(tiny_sam), [Source(None, asking())], find_images([folder]), tmp_path / "mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="no earlier labelling"):
            label(*run, overwrite=overwrite)
    with pytest.raises(InputError, match="Known: coco"):
        label(*run[:3], tmp_path / "new", format="pascal")
    assert not (tmp_path / "new").exists()


def bright(predictor, image):
    """Proposes the box of every bright piece that it sees."""
    _, pieces = cv2.connectedComponents((image.max(axis=2) > 150).astype(np.uint8))
    boxes = (interior.box(pieces == i) for i in range(1, pieces.max() + 1))
    return [
        ObjectPrompt(box=(x0, y0, x1 + 1.0, y1 + 1.0), label="a", score=0.5 + y0 / 1000) for x0, y0, x1, y1 in boxes
    ]


@pytest.mark.parametrize("tiles_a_side", [1, 2, 3])
def test_what_a_source_sees_in_tiles_is_what_objects_sees(tiny_base, tiles_a_side):
    image = np.zeros((96, 128, 3), np.uint8)
    for x, y, side in ((5, 5, 12), (60, 8, 20), (100, 70, 14), (40, 40, 50), (12, 75, 10)):
        image[y : y + side, x : x + side] = 200
    predictor = Predictor(tiny_base)
    wanted = objects(predictor, image, bright, None, tiles=tiles_a_side)
    for other in (1, 2):  # beside a source that looks otherwise
        sources = [Source(None, bright, tiles=tiles_a_side), Source(None, bright, tiles=other)]
        found, _ = MultiAdapterPredictor(predictor, sources).pieces(image)
        assert len(found) == len(wanted) > 0
        for piece, one in zip(found, wanted, strict=True):
            assert piece.rank == pytest.approx(one.rank, abs=1e-4)
            assert (piece.within((0, 0, 128, 96)) != one.mask).sum() <= 4  # sums in another order
            assert np.array_equal(coco.decode(piece.rle).astype(bool), piece.within((0, 0, 128, 96)))


def test_polygons_are_drawn_once_and_kept(tiny_sam, folder, tmp_path):
    predictor, images = Predictor(tiny_sam), find_images([folder])
    label(predictor, [Source(None, asking(*ASKS))], images, tmp_path / "out", format="yolo")
    journal = Journal(tmp_path / "out", json.loads((tmp_path / "out" / "label.json").read_text())["settings"])
    plain = Destination(tmp_path)
    for image in journal.images(images):
        for one in image.objects:
            assert np.array_equal(one.polygons[0], plain.whole(replace(one, polygons=None)))
            full = outlines.polygon(one.mask)
            assert np.array_equal(one.polygons[0], full)
