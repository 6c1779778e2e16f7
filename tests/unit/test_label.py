"""Labeling: the same masks as the predictor, tiles without seams or duplicates, continuing, unreadable images."""

from __future__ import annotations

import json
import time
from collections import Counter
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
from samtailor.errors import DataError, InputError
from samtailor.labelling import AdapterSource, Tiling, find_objects, label
from samtailor.labelling._journal import Journal
from samtailor.labelling._objects import objects_of
from samtailor.labelling._pipeline import Cut, Workers, predict_ahead
from samtailor.labelling._predict import MultiAdapterPredictor
from samtailor.labelling._tiles import Piece, merged, tiles
from samtailor.masks import interior
from samtailor.masks import polygons as outlines
from samtailor.masks.metrics import iou
from samtailor.predict.files import find_images
from samtailor.predict.instances import predict_instances
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.windows import Windows
from samtailor.registry import find
from tiny import disc_sample

PROMPTS = [
    ObjectPrompt(clicks=((30.0, 20.0, 1),), label="disc", score=0.9),
    ObjectPrompt(clicks=((60.0, 30.0, 1),), label="square", score=0.8),
    ObjectPrompt(box=(10.0, 5.0, 60.0, 40.0), label="slab"),
]


def moved(base, method="plm", **options):
    torch.manual_seed(3)
    return find("methods", method).build(base, **{"head": "paper_plain", **options})[0]


def proposing(*prompts):
    return lambda predictor, image: list(prompts)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(4):
        Image.fromarray(disc_sample(index).image).save(tmp_path / "in" / f"p{index}.png")
    return tmp_path / "in"


def test_predictions_equal_those_of_the_predictor(tiny_base):
    predictor = Predictor(tiny_base, {"a": moved(tiny_base)})
    image = disc_sample(2, 70, 110).image
    predictor.set_image(image)
    (pieces,), _ = MultiAdapterPredictor(predictor, [AdapterSource("a", proposing(*PROMPTS))]).predict(image)
    expected = []
    for prompt in PROMPTS:
        points = [c[:2] for c in prompt.clicks] or None
        masks, scores, _ = predictor.predict(points, None, prompt.box, adapter="a")
        expected.append((masks[int(scores.argmax())], prompt.score or float(np.clip(scores.max(), 0, 1)), prompt.label))
    expected = [row for row in expected if row[0].any()]
    assert len(pieces) == len(expected) > 0
    by_label = sorted(pieces, key=lambda one: one.label), sorted(expected, key=lambda row: row[2])
    for one, (mask, score, name) in zip(*by_label, strict=True):
        assert (one.within((0, 0, 110, 70)) != mask).sum() <= 2  # sums in another order
        assert one.score == pytest.approx(score, abs=1e-5)
        assert one.label == name


def test_the_mask_of_a_proposal_is_not_decoded(tiny_sam):
    image = disc_sample(2, 70, 110).image
    drawn = np.zeros((70, 110), bool)
    drawn[20:30, 40:60] = True
    drawn[25, 65] = True
    rle = coco.encode(np.asfortranarray(drawn.astype(np.uint8)))
    given = ObjectPrompt(clicks=((50.0, 25.0, 1),), label="disc", score=0.7, mask_rle=rle)
    predictor = Predictor(tiny_sam, {"a": moved(tiny_sam)})
    (pieces,), _ = MultiAdapterPredictor(predictor, [AdapterSource("a", proposing(given, PROMPTS[0]))]).predict(image)
    one = next(piece for piece in pieces if piece.score == 0.7)
    assert np.array_equal(one.within((0, 0, 110, 70)), drawn)
    assert (one.label, len(pieces)) == ("disc", 2)


@pytest.mark.parametrize(("height", "width", "squash"), [(48, 80, False), (90, 31, False), (20, 200, True)])
def test_windows_equal_the_whole_mask(height, width, squash):
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
    taken, masks = np.zeros((height, width), bool), []
    for _ in range(40):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(5, 40, 2)
        mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        if mask.sum() > 60 and not (mask & taken).any():
            taken |= ((y - cy) / (ry + 3)) ** 2 + ((x - cx) / (rx + 3)) ** 2 <= 1
            masks.append(mask)
    return masks


def shown(mask, tile, noise=0):
    """The part of a mask that a tile shows."""
    x0, y0, x1, y1 = tile.box
    return Piece(mask[y0:y1, x0:x1], x0, y0, "a", 0.5 + noise, "x", tile)


@pytest.mark.parametrize(("height", "width", "side"), [(150, 200, 64), (64, 300, 64), (40, 130, 64), (129, 128, 128)])
def test_merged_tiles_give_every_object_once_and_complete(height, width, side):
    made = tiles(height, width, side, 0.25)
    covered = np.zeros((height, width), int)
    for tile in made:
        x0, y0, x1, y1 = tile.box
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1
    for seed in range(4):
        objects = shapes(seed, height, width)
        parts = [shown(mask, tile, i / 999) for i, tile in enumerate(made) for mask in objects]
        merged_masks = [one.within((0, 0, width, height)) for one in merged(p for p in parts if p.mask.any())]
        assert len(merged_masks) == len(objects)
        for mask in objects:
            assert max(iou(mask, other) for other in merged_masks) >= 0.9
        exact = sum(any(np.array_equal(mask, other) for other in merged_masks) for mask in objects)
        assert exact >= 0.9 * len(objects)


def test_a_small_object_inside_a_large_one_of_its_class_stays_separate():
    large, small = np.zeros((100, 160), bool), np.zeros((100, 160), bool)
    large[10:90, 5:155], small[40:55, 70:85] = True, True
    made = tiles(100, 160, 100, 0.4)
    merged_pieces = merged(piece for tile in made for mask in (large, small) if (piece := shown(mask, tile)).mask.any())
    assert sorted(int(one.mask.sum()) for one in merged_pieces) == [small.sum(), large.sum()]


def test_all_pieces_of_a_region_are_joined():
    mask = np.zeros((64, 200), bool)
    mask[20:30, 5:15], mask[20:30, 180:190] = True, True
    parts = [piece for tile in tiles(64, 200, 64, 0.25) if (piece := shown(mask, tile)).mask.any()]
    (one,) = merged(parts, regions=True)
    assert np.array_equal(one.within((0, 0, 200, 64)), mask)


def test_tiles_are_full_squares_at_the_resolution_of_the_image(tiny_sam2, folder):
    sides = []
    source = AdapterSource(None, lambda predictor, image: sides.append(image.shape) or [PROMPTS[2]])
    for side in (64, 80):
        find_objects(Predictor(tiny_sam2), [source], "p0", folder / "p0.png", tiling=Tiling(side))
    assert sides == [(64, 64, 3), (64, 64, 3), (48, 80, 3)]  # not larger than a tile: whole, as in training
    with pytest.raises(InputError, match="at least 32"):
        tiles(100, 100, 16, 0.2)


def test_three_adapters_share_one_embedding_per_image(tiny_sam, folder, tmp_path, monkeypatch):
    calls = []
    encode = tiny_sam.encode_image
    monkeypatch.setattr(tiny_sam, "encode_image", lambda images: calls.append(1) or encode(images))
    predictor = Predictor(tiny_sam, {name: moved(tiny_sam) for name in "abc"})
    sources = [AdapterSource(name, proposing(*PROMPTS), label=f"class {name}") for name in "abc"]
    done = label(predictor, sources, find_images([folder]), tmp_path / "out", format="coco")
    assert len(calls) == 4
    assert set(done.objects) == {"class a", "class b", "class c"}


def test_an_adapter_inside_the_encoder_uses_its_own_embedding(tiny_sam, folder):
    segmenter = find("methods", "samed").build(tiny_sam)[0]
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    segmenter.inference = replace(segmenter.inference, prompt="none")
    predictor = Predictor(tiny_sam, {"own": segmenter, "a": moved(tiny_sam)})
    whole = ObjectPrompt(promptless=True)
    sources = [AdapterSource("own", proposing(whole), label="x"), AdapterSource("a", proposing(*PROMPTS), label="y")]
    objects = find_objects(predictor, sources, "p0", folder / "p0.png").objects
    predictor.set_image(folder / "p0.png")
    masks, scores, _ = predictor.predict(adapter="own")
    expected = masks[int(scores.argmax())]
    own = [o.mask for o in objects if o.label == "x"]
    assert len(own) == 1
    assert (own[0] != expected).sum() <= 2
    assert any(o.label == "y" for o in objects)


def test_an_object_that_two_adapters_predict_is_one_object(tiny_sam, folder):
    predictor = Predictor(tiny_sam, {name: moved(tiny_sam) for name in "ab"})
    path = folder / "p0.png"
    one, both = (
        find_objects(
            predictor, [AdapterSource(name, proposing(*PROMPTS), label="x") for name in names], "p0", path
        ).objects
        for names in ("a", "ab")
    )
    assert [o.rle for o in one] == [o.rle for o in both]
    apart = find_objects(predictor, [AdapterSource(n, proposing(*PROMPTS), label=n) for n in "ab"], "p0", path).objects
    assert len(apart) == 2 * len(one)


SILENT = AdapterSource(None, proposing())
"""A source of the pieces of a test."""


@pytest.mark.parametrize(("shift", "height", "kept"), [(10, 100, [0.9]), (40, 100, [0.9, 0.6]), (10, 40, [0.9])])
def test_duplicates_and_parts_are_dropped_by_one_rule_whichever_adapter_found_them(shift, height, kept):
    def piece(top, height, score, label="a"):
        return Piece(np.ones((height, 10), bool), 3, top, label, score, None, rank=score)

    other = piece(4 + shift, height, 0.6)
    objects = objects_of([[other], [piece(4, 100, 0.9), piece(4, 100, 0.5, "b")]], [SILENT] * 2, (160, 20))
    assert [one.score for one in objects if one.label == "a"] == kept
    assert [one.score for one in objects if one.label == "b"] == [0.5]


def test_a_better_part_stays_beside_the_whole_whatever_their_scores():
    """Rank, not score, decides, as everywhere: the score of a proposal knows nothing of the quality of its mask."""
    whole = Piece(np.ones((60, 10), bool), 0, 0, "a", 0.9, None, rank=0.5)
    part = Piece(np.ones((20, 10), bool), 0, 10, "a", 0.8, None, rank=0.7)
    objects = objects_of([[part, whole]], [SILENT], (60, 10))
    assert [one.score for one in objects] == [0.9, 0.8]


def test_a_stopped_run_continues_and_repeats_nothing(tiny_sam, folder, tmp_path):
    predicted = []
    third = disc_sample(2).image

    def propose(predictor, image):
        predicted.append(image.tobytes())
        if np.array_equal(image, third) and predicted.count(third.tobytes()) == 1:
            raise KeyboardInterrupt
        return PROMPTS

    predictor = Predictor(tiny_sam, {"a": moved(tiny_sam)})
    run = {"predictor": predictor, "sources": [AdapterSource("a", propose)], "images": find_images([folder])}
    with pytest.raises(KeyboardInterrupt):
        label(**run, out=tmp_path / "out")
    predicted[:] = [third.tobytes()]  # of the first run
    done = label(**run, out=tmp_path / "out")
    assert sorted(predicted[1:]) == sorted([third.tobytes(), disc_sample(3).image.tobytes()])
    assert (done.images, done.earlier) == (4, 2)
    label(**run, out=tmp_path / "whole")
    one, other = ((tmp_path / name / "annotations" / "instances.json").read_bytes() for name in ("out", "whole"))
    assert one == other
    Image.fromarray(disc_sample(9).image).save(folder / "p1.png")  # another image of that name
    assert label(**run, out=tmp_path / "out").earlier == 3
    with pytest.raises(InputError, match="vertices was None, now it is 9"):
        label(**run, out=tmp_path / "out", vertices=9)
    assert label(**run, out=tmp_path / "out", vertices=9, overwrite=True).earlier == 0


def test_predictions_are_in_order_whichever_is_first(folder):
    threads, done = torch.get_num_threads(), []

    def predict(view):
        while view.name == "p0" and "p1" not in done:  # the first waits for the second
            time.sleep(0.001)
        done.append(view.name)
        return torch.get_num_threads()

    results = list(predict_ahead(find_images([folder]).items(), Cut(None, 0.0, (0, 0, 0)), predict, Workers(2, 1)))
    assert [view.name for view, _ in results] == ["p0", "p1", "p2", "p3"]
    assert done[0] == "p1"
    assert [own for _, own in results] == [1] * 4
    assert torch.get_num_threads() == threads


def test_no_view_is_started_after_a_failure(folder):
    begun = []

    def predict(view):
        begun.append(view.name)
        raise MemoryError(view.name)

    with pytest.raises(MemoryError, match="p0"):
        list(predict_ahead(find_images([folder]).items(), Cut(None, 0.0, (0, 0, 0)), predict, Workers(1, None)))
    assert begun == ["p0"]


def test_unreadable_images_are_listed_and_the_others_labeled(tiny_sam, folder, tmp_path):
    (folder / "broken.png").write_bytes((folder / "p0.png").read_bytes()[:100])
    predictor = Predictor(tiny_sam, {"a": moved(tiny_sam)})
    run = {
        "predictor": predictor,
        "sources": [AdapterSource("a", proposing(*PROMPTS))],
        "images": find_images([folder]),
    }
    done = label(**run, out=tmp_path / "out", format="yolo")
    assert list(done.unreadable) == [str(folder / "broken.png")]
    assert done.images == 4
    assert json.loads((tmp_path / "out" / "label.json").read_text())["unreadable"] == done.unreadable
    Image.fromarray(disc_sample(1).image).save(folder / "broken.png")
    again = label(**run, out=tmp_path / "out", format="yolo")
    assert (again.images, again.earlier, again.unreadable) == (5, 4, {})


def test_objects_are_counted_by_image_and_class():
    labeled = labelling.Labelled(counts={"a": Counter(disc=3), "b": Counter(disc=1, ring=2)})
    assert labeled.per_image("disc") == "2.0 on average, 1 to 3"
    assert labeled.per_image("ring") == "1.0 on average, 0 to 2"
    assert labelling.Labelled().per_image("disc") == "0.0 on average, 0 to 0"


def test_images_without_objects_are_listed_and_written(tiny_sam, folder, tmp_path):
    predictor = Predictor(tiny_sam)
    sources = [AdapterSource(None, proposing())]
    done = label(predictor, sources, find_images([folder]), tmp_path / "out", classes=["disc"])
    assert len(done.empty) == 4
    assert len(json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())["images"]) == 4


def test_outlines_are_refined_by_the_pmm(tiny_sam, folder, monkeypatch):
    segmenter = moved(tiny_sam, "plm-pmm")
    predictor = Predictor(tiny_sam, {"a": segmenter})
    calls = []
    monkeypatch.setattr(
        labelling._predict.pmm, "refine", lambda mask, keys, frame, pmm: calls.append((keys.shape, pmm)) or mask
    )
    plain, refined = (
        find_objects(predictor, [AdapterSource("a", proposing(*PROMPTS), refine=on)], "p0", folder / "p0.png").objects
        for on in (False, True)
    )
    assert [o.rle for o in plain] == [o.rle for o in refined]
    assert calls
    assert calls[0] == ((tiny_sam.dim, tiny_sam.grid, tiny_sam.grid), segmenter.adapter("pmm"))


def test_a_folder_with_other_files_is_never_written_to(tiny_sam, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    run = (Predictor(tiny_sam), [AdapterSource(None, proposing())], find_images([folder]), tmp_path / "mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="no earlier labeling"):
            label(*run, overwrite=overwrite)
    with pytest.raises(InputError, match="Known: coco"):
        label(*run[:3], tmp_path / "new", format="pascal")
    assert not (tmp_path / "new").exists()


def bright(predictor, image):
    """Proposes the box of every bright region."""
    _, pieces = cv2.connectedComponents((image.max(axis=2) > 150).astype(np.uint8))
    boxes = (interior.box(pieces == i) for i in range(1, pieces.max() + 1))
    return [
        ObjectPrompt(box=(x0, y0, x1 + 1.0, y1 + 1.0), label="a", score=0.5 + y0 / 1000) for x0, y0, x1, y1 in boxes
    ]


@pytest.mark.parametrize("tiles_a_side", [1, 2, 3])
def test_tile_views_give_the_same_as_predict_instances(tiny_base, tiles_a_side):
    image = np.zeros((96, 128, 3), np.uint8)
    for x, y, side in ((5, 5, 12), (60, 8, 20), (100, 70, 14), (40, 40, 50), (12, 75, 10)):
        image[y : y + side, x : x + side] = 200
    predictor = Predictor(tiny_base)
    expected = predict_instances(predictor, image, AdapterSource(None, bright, tiles=tiles_a_side))
    for other in (1, 2):  # next to a source with other tiles
        sources = [AdapterSource(None, bright, tiles=tiles_a_side), AdapterSource(None, bright, tiles=other)]
        (pieces, _), _ = MultiAdapterPredictor(predictor, sources).predict(image)
        assert len(pieces) == len(expected) > 0
        for piece, one in zip(pieces, expected, strict=True):
            assert piece.rank == pytest.approx(one.rank, abs=1e-4)
            assert (piece.within((0, 0, 128, 96)) != one.mask).sum() <= 4  # sums in another order
            assert np.array_equal(coco.decode(piece.rle).astype(bool), piece.within((0, 0, 128, 96)))


def test_polygons_are_computed_once_and_saved(tiny_sam, folder, tmp_path):
    predictor, images = Predictor(tiny_sam), find_images([folder])
    label(predictor, [AdapterSource(None, proposing(*PROMPTS))], images, tmp_path / "out", format="yolo")
    journal = Journal(tmp_path / "out", json.loads((tmp_path / "out" / "label.json").read_text())["settings"])
    plain = Destination(tmp_path)
    for image in journal.images(images):
        for one in image.objects:
            assert np.array_equal(one.polygons[0], plain.whole(replace(one, polygons=None)))
            full = outlines.polygon(one.mask)
            assert np.array_equal(one.polygons[0], full)


def test_images_that_differ_only_in_their_suffix_are_named_apart(tmp_path):
    for name in ("a.jpg", "a.PNG", "b.png", "sub/a.png"):
        photo = tmp_path / name
        photo.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(photo)
    expected = {"a_jpg": "a.jpg", "a_png": "a.PNG", "b": "b.png", "sub/a": "sub/a.png"}
    assert find_images([tmp_path]) == {name: tmp_path / file for name, file in expected.items()}
    assert set(find_images([tmp_path / "a.jpg", tmp_path / "a.PNG", tmp_path / "a.jpg"])) == {"a_jpg", "a_png"}
    with pytest.raises(DataError, match="same name 'a'"):
        find_images([tmp_path / "a.jpg", tmp_path / "sub" / "a.png"])
    Image.new("RGB", (8, 8)).save(tmp_path / "a_jpg.png")
    with pytest.raises(DataError, match="same name 'a_jpg'"):
        find_images([tmp_path])
