"""Batches: a function of (seed, step), every mask once an epoch, targets and clicks of the same mask."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
import torch

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import Augment, View
from samtailor.data.transform import Frame
from samtailor.errors import DataError, InputError
from samtailor.registry import find
from samtailor.structures import Annotation, Batch, Prompts, Sample
from samtailor.train import targets as targets_module
from samtailor.train.ahead import ahead
from samtailor.train.feed import Feed
from tiny import disc_sample

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return EmbeddingCache(tmp_path_factory.mktemp("cache"))


def make(base, samples, store, classes=("disc",), prompt="sampled-click", **options) -> Feed:
    return Feed(base, samples, classes, store, source=find("prompts", prompt).build(), **options)


def equal(one: Batch, other: Batch) -> bool:
    tensors = [(b.features.main, b.prompts.points, b.targets, b.valid) for b in (one, other)]
    return one.ids == other.ids and one.labels == other.labels and all(map(torch.equal, *tensors))


def test_shapes(tiny_base, tiny_samples, store):
    batch = make(tiny_base, tiny_samples, store, batch_size=3, contours=16).batch(0)
    side = tiny_base.low_res
    assert batch.targets.shape == (3, 1, side, side)
    assert batch.valid.shape == (3, 1, side, side)
    assert batch.valid.dtype == torch.bool
    assert batch.contours.shape == (3, 1, 16, 2)
    assert batch.radius.shape == (3, 1)
    assert batch.prompts.shape == (3, 1)
    assert batch.prompts.frame == (64, 64)
    assert len(batch.features) == 3
    assert make(tiny_base, tiny_samples, store).batch(0).contours is None


def test_a_batch_is_a_function_of_seed_and_step(tiny_sam, tiny_samples, store):
    def new(seed: int = 5) -> Feed:
        return make(tiny_sam, tiny_samples, store, augment=Augment(views=3), batch_size=4, seed=seed)

    straight = new()
    batches = [straight.batch(step) for step in range(6)]
    again = new()
    for step in (4, 1, 5, 0):
        assert equal(again.batch(step), batches[step])
    assert not equal(new(6).batch(4), batches[4])


def test_every_mask_comes_once_per_epoch(tiny_sam, store):
    image = np.zeros((64, 64, 3), np.uint8)

    def sample(name: str, count: int) -> Sample:
        masks = [
            Annotation.from_mask("cell", np.pad(np.ones((2, 2), bool), ((4 * i, 62 - 4 * i), (0, 62))))
            for i in range(count)
        ]
        return Sample(name, lambda: image, lambda: masks)

    feed = make(tiny_sam, [sample("many", 11), sample("one", 1), sample("none", 0)], store, ("cell",), batch_size=5)
    assert len(feed) == 12
    batches = [feed.batch(step) for step in range(12)]
    stream = [
        (id, tuple(target.nonzero()[0].tolist()))
        for batch in batches
        for id, target in zip(batch.ids, batch.targets[:, 0], strict=True)
    ]
    for epoch in range(5):
        items = stream[12 * epoch : 12 * epoch + 12]
        assert len(set(items)) == 12, "each mask exactly once"
        assert Counter(id for id, _ in items) == {"many": 11, "one": 1}
    assert stream[:12] != stream[12:24], "another order in the next epoch"
    assert feed.epoch(24) == 10


def test_processes_share_one_stream(tiny_sam, tiny_samples, store):
    alone = make(tiny_sam, tiny_samples, store, batch_size=4, seed=1)
    two = [make(tiny_sam, tiny_samples, store, batch_size=2, seed=1, shard=(rank, 2)) for rank in (0, 1)]
    for step in (0, 3):
        whole, parts = alone.batch(step), [feed.batch(step) for feed in two]
        assert whole.ids == parts[0].ids + parts[1].ids
        assert torch.equal(whole.prompts.points, torch.cat([part.prompts.points for part in parts]))
    assert two[0].masks_per_step == alone.masks_per_step == 4


@pytest.mark.parametrize("views", [1, 6])
def test_click_target_and_contour_belong_together(tiny_base, tiny_samples, store, views):
    feed = make(tiny_base, tiny_samples, store, ("disc", "square"), augment=Augment(views), batch_size=8, contours=32)
    cell = tiny_base.size // tiny_base.low_res
    for step in range(4):
        batch = feed.batch(step)
        for row in range(8):
            target = batch.targets[row, 0]
            x, y = (batch.prompts.points[row, 0, 0] / cell).long().tolist()
            assert target[y, x] > 0, "the click lies on the target"
            columns, rows = (batch.contours[row, 0] / cell).long().unbind(-1)
            near = torch.nn.functional.max_pool2d(target[None], 3, 1, 1)[0]  # diagonals cut the corners of cells
            assert (near[rows, columns] > 0).all()
            assert target[~batch.valid[row, 0]].sum() == 0
            assert 0 < batch.radius[row, 0] < 64


def test_targets_are_coverage_in_the_model_frame(tiny_sam, tiny_samples, store):
    batch = make(tiny_sam, tiny_samples, store, batch_size=8).batch(0)
    by_id = {sample.id: sample for sample in tiny_samples}
    for row, id in enumerate(batch.ids):
        frame = Frame.of(tiny_sam, 48, 80)
        assert torch.equal(batch.targets[row, 0], frame.target(by_id[id].annotations[0].mask))
        assert torch.equal(batch.valid[row, 0], frame.valid())
    assert ((batch.targets > 0) & (batch.targets < 1)).any()


def test_embedding_and_target_are_of_the_same_view(tiny_sam, tiny_samples, store):
    family = Augment(views=4)
    feed = make(tiny_sam, tiny_samples[:2], store, augment=family, batch_size=8)
    possible = {}
    for sample in tiny_samples[:2]:
        for index in range(4):
            view = family.draw(sample, index)
            frame = Frame.of(tiny_sam, *view.size(48, 80))
            target = frame.target(view.mask(sample.annotations[0].mask))
            possible[sample.id, index] = store.features(tiny_sam, sample, [view]).main[0], target
    batch, hit = feed.batch(0), set()
    for row, id in enumerate(batch.ids):
        hits = [k for k, (main, _) in possible.items() if k[0] == id and torch.equal(main, batch.features.main[row])]
        assert any(torch.equal(possible[k][1], batch.targets[row, 0]) for k in hits)
        hit.update(hits)
    assert len(hit) > 2


def test_a_mask_that_a_view_cuts_off_comes_from_the_original_image(tiny_sam, store):
    """Two left eyes, one right: a flip turns the right eye into a left eye, and ours would get the wrong label."""
    masks = {"l_eye": np.zeros((40, 60), bool), "r_eye": np.zeros((40, 60), bool)}
    masks["l_eye"][10:20, 35:50] = masks["r_eye"][10:20, 10:25] = True
    notes = [Annotation.from_mask(name, mask) for name, mask in masks.items()]
    sample = Sample("face", lambda: np.zeros((40, 60, 3), np.uint8), lambda: notes)
    family = Augment(views=6, flip_pairs=(("l_eye", "r_eye"),), crop=1.0, color=0)
    assert any(family.draw(sample, index).flip for index in range(6))
    feed = make(tiny_sam, [sample], store, ("l_eye",), augment=family, batch_size=16)
    targets = feed.batch(0).targets
    assert all(torch.equal(target[0], Frame.of(tiny_sam, 40, 60).target(masks["l_eye"])) for target in targets)


def test_an_object_smaller_than_a_pixel_keeps_one(tiny_sam, store):
    mask = np.zeros((640, 640), bool)
    mask[633, 451] = True
    sample = Sample("dot", lambda: np.zeros((640, 640, 3), np.uint8), lambda: [Annotation.from_mask("dot", mask)])
    batch = make(tiny_sam, [sample], store, None, batch_size=1, contours=4).batch(0)
    assert batch.prompts.points.flatten().tolist() == [45, 63]
    assert batch.targets.sum() > 0


def test_held_out_masks_are_few_fixed_and_of_every_class(tiny_sam, tiny_samples, store):
    feed = make(tiny_sam, tiny_samples, store, None, prompt="mask-center", batch_size=3, seed=2)
    parts = list(feed.held_out(7))
    assert [len(part.batch) for part in parts] == [3, 3, 1]
    counts = Counter(label for part in parts for label in part.batch.labels)
    assert sorted(counts.values()) == [3, 4]
    assert all(equal(a.batch, b.batch) for a, b in zip(parts, feed.held_out(7), strict=True))
    assert parts[0].masks[0].shape == (64, 64)
    assert parts[0].inner[0] == Frame.of(tiny_sam, 48, 80).inner
    assert sum(len(part.batch) for part in feed.held_out(1000)) == 16


def test_memory_is_bounded(tiny_sam, tiny_samples, store, monkeypatch):
    monkeypatch.setattr(targets_module, "MAX_MASKS", 5)
    monkeypatch.setattr(targets_module, "MAX_VIEWS", 3)
    feed = make(tiny_sam, tiny_samples, store, None, augment=Augment(views=4), batch_size=8)
    before = [feed.batch(step) for step in range(3)]
    assert len(feed._targets._masks) == 5
    assert len(feed._targets._views) == 3
    assert all(equal(feed.batch(step), before[step]) for step in range(3))


class Numbered:
    """Views of all pixels that differ only in their key."""

    def draw(self, sample, index):
        return View(crop=(0.0, 0.0, 1.0, 1.0 - 1e-9 * index))


def test_the_oldest_targets_are_dropped_beyond_the_bounds(tiny_sam, tiny_samples, monkeypatch):
    monkeypatch.setattr(targets_module, "MAX_MASKS", 3)
    monkeypatch.setattr(targets_module, "MAX_VIEWS", 2)
    targets = targets_module.Targets(tiny_sam, tiny_samples, None, Numbered())
    for index in (1, 2, 3, 1, 4):
        targets.of(0, 0, index)
    assert list(targets._masks) == [(0, 0, 3), (0, 0, 1), (0, 0, 4)], "the least recently used mask is dropped"
    assert list(targets._views) == [(0, 3), (0, 4)]


def test_the_default_bounds_are_4096_masks_and_65536_views(tiny_sam, tiny_samples):
    targets = targets_module.Targets(tiny_sam, tiny_samples, None, Numbered())
    for index in range(65540):
        targets.view(0, index)
    for index in range(1, 4100):
        targets.of(0, 0, index)
    assert len(targets._views) == 65536
    assert len(targets._masks) == 4096


def test_nothing_to_train_on(tiny_sam, tiny_samples, store):
    with pytest.raises(DataError, match="none of 8 training images has a mask of wheel"):
        make(tiny_sam, tiny_samples, store, ("wheel",))
    crowd = Sample("c", lambda: None, lambda: [Annotation.from_mask("disc", np.ones((4, 4), bool), crowd=True)])
    with pytest.raises(DataError):
        make(tiny_sam, [crowd], store)


def test_clicks_of_the_image_are_converted(tiny_sam, tiny_samples, store):
    def source(sample, masks, rng):
        return Prompts((48, 80), points=torch.full((1, 1, 1, 2), 40.0), labels=torch.ones(1, 1, 1, dtype=torch.int64))

    feed = Feed(tiny_sam, tiny_samples, ["disc"], store, source=source, batch_size=1)
    assert feed.batch(0).prompts.points.flatten().tolist() == pytest.approx([32.0, 32.0], abs=0.5)


class Boxes:
    """The box of each mask, as from a detector, and one click at its center."""

    of_image = True

    def __call__(self, sample, masks, rng):
        (mask,) = masks
        assert mask.shape == sample.size
        box = torch.tensor(Annotation.from_mask("", mask).box)
        middle = (box[:2] + box[2:]) / 2 - 0.5
        return Prompts(mask.shape, middle[None, None, None], torch.ones(1, 1, 1, dtype=torch.int64), box[None, None])


def test_prompts_of_the_image_follow_its_views(tiny_sam, store):
    """Also if the image has the size of the model frame, so that sizes do not reveal the frame of the coordinates."""
    for height, width in ((48, 80), (64, 64)):
        samples = [disc_sample(i, height, width) for i in range(6)]
        feed = Feed(tiny_sam, samples, ["square"], store, source=Boxes(), augment=Augment(views=9), batch_size=8)
        moved = 0
        for step in range(4):
            for position in range(8 * step, 8 * step + 8):
                item = feed._item(position)
                moved += not item.view.untouched
                x0, y0, x1, y1 = item.prompts.boxes[0, 0].tolist()
                rows, columns = item.mask.any(1).nonzero()[0], item.mask.any(0).nonzero()[0]
                wanted = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                assert [x0, y0, x1, y1] == pytest.approx(wanted, abs=1.01)  # masks are sampled, boxes are scaled
                x, y = item.prompts.points[0, 0, 0].round().int().tolist()
                assert item.mask[y, x]
        assert moved > 16


def test_if_a_crop_cuts_the_prompt_off_the_original_image_is_used(tiny_sam, store):
    def corner(sample, masks, rng):
        return Prompts(sample.size, torch.full((1, 1, 1, 2), 0.0), torch.ones(1, 1, 1, dtype=torch.int64))

    feed = Feed(tiny_sam, [disc_sample(0)], ["disc"], store, source=corner, augment=Augment(views=9), batch_size=8)
    items = [feed._item(position) for position in range(40)]
    assert any(item.view.untouched for item in items)
    for item in items:
        if item.view.crop[0] > 0.05 or item.view.crop[1] > 0.05:
            raise AssertionError("the corner is not in that view")


def test_images_are_all_that_batches_need(tiny_sam, tiny_samples, tmp_path):
    store, calls = EmbeddingCache(tmp_path), []
    feed = make(tiny_sam, tiny_samples, store, augment=Augment(views=2), batch_size=8)
    images = list(feed.images())
    assert len(images) == 16
    store.prepare(tiny_sam, [sample for sample, _ in images], [view for _, view in images])
    store._make = lambda *args: calls.append(args)
    for step in range(6):
        feed.batch(step)
    assert not calls


@pytest.mark.parametrize(("views", "steps"), [(6, 2), (6, 30), (1, 1), (1, 9)])
def test_drawn_is_exactly_what_the_first_batches_need(tiny_sam, tiny_samples, tmp_path, views, steps):
    store, needed = EmbeddingCache(tmp_path), set()
    feed = make(tiny_sam, tiny_samples, store, augment=Augment(views=views), batch_size=2)
    drawn = [(sample.id, view.key) for sample, view in feed.drawn(steps)]
    assert len(drawn) == len(set(drawn))
    features = store.features

    def noted(base, samples, views=None, *companions):
        needed.update((s.id, v.key) for s, v in zip(samples, views, strict=True))
        return features(base, samples, views, *companions)

    store.features = noted
    for step in range(steps):
        feed.batch(step)
    assert set(drawn) == needed


def test_all_processes_together_draw_the_same_views_as_one(tiny_sam, tiny_samples, tmp_path):
    options = {"augment": Augment(views=5), "batch_size": 2}
    alone = make(tiny_sam, tiny_samples, EmbeddingCache(tmp_path), **(options | {"batch_size": 4}))
    first = make(tiny_sam, tiny_samples, EmbeddingCache(tmp_path), shard=(0, 2), **options)
    keys = [{(sample.id, view.key) for sample, view in feed.drawn(3)} for feed in (alone, first)]
    assert keys[0] == keys[1]


def test_ahead_keeps_order_and_passes_errors_on():
    assert list(ahead(lambda step: step * 10, range(4))) == [0, 10, 20, 30]
    assert list(ahead(lambda step: step, range(0))) == []

    def broken(step):
        if step == 2:
            raise DataError("gone")
        return step

    batches = ahead(broken, range(5))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(DataError, match="gone"):
        next(batches)


def test_joined_prompts():
    def clicks(count: int) -> Prompts:
        return Prompts((8, 8), points=torch.ones(1, 1, count, 2), labels=torch.ones(1, 1, count, dtype=torch.int64))

    joined = Prompts.cat([clicks(1), clicks(3)])
    assert joined.points.shape == (2, 1, 3, 2)
    assert joined.labels[0, 0].tolist() == [1, -10, -10]
    beside = Prompts.cat([clicks(1), clicks(3)], axis=1)
    assert beside.points.shape == (1, 2, 3, 2)
    assert torch.equal(beside.labels[0], joined.labels[:, 0])
    assert [Prompts.cat([Prompts((8, 8))] * 3, axis).shape for axis in (0, 1)] == [(3, 1), (1, 3)]
    with pytest.raises(InputError):
        Prompts.cat([clicks(1), Prompts((8, 8), boxes=torch.zeros(1, 1, 4))])


def test_several_threads_prepare_the_same_batches(tiny_sam, tiny_samples, tmp_path):
    def batches(workers: int) -> list:
        feed = make(tiny_sam, tiny_samples, EmbeddingCache(tmp_path / str(workers)), augment=Augment(views=3))
        feed.keep_resident(3, 2)
        return list(ahead(feed.batch, range(12), workers))

    assert all(equal(one, other) for one, other in zip(batches(1), batches(4), strict=True))


def test_ahead_prepares_as_many_batches_as_there_are_workers():
    reached, started = threading.Event(), []

    def batch(step: int) -> int:
        started.append(step)
        if step == 3:
            reached.set()
        return step

    batches = ahead(batch, range(10), 3)
    assert next(batches) == 0
    assert reached.wait(60)
    assert sorted(started) == [0, 1, 2, 3]
    batches.close()
