"""Splits and shots: seeded, grouped, nested, independent of the order of samples."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from samtailor.data.duplicates import named_copies, near_duplicates
from samtailor.data.parts import with_parts
from samtailor.data.split import PARTS, Split, group, own_split, shots, split
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

MASK = np.ones((20, 20), bool)


def sample(id, labels=("a",), group=None, image=None):
    annotations = [Annotation.from_mask(label, MASK) for label in labels]
    return Sample(id, lambda: image, lambda: annotations, group=group)


def plain(count, **options):
    return [sample(f"p{i}", **options) for i in range(count)]


def assigned(samples, **options):
    return split(samples, near_duplicates=False, **options)


def scene(seed, size=(120, 160)):
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def test_counts_and_shares():
    parts = assigned(plain(20), val=0.1, test=5)
    assert [len(getattr(parts, part)) for part in (*PARTS, "unused")] == [13, 2, 5, 0]
    parts = assigned(plain(20), train=4, val=2, test=3)
    assert [len(getattr(parts, part)) for part in (*PARTS, "unused")] == [4, 2, 3, 11]
    parts = assigned(plain(433), train=None, test=87)
    assert (len(parts.train), len(parts.test)) == (346, 87)
    parts = assigned(plain(10), train=0.5, test=None)
    assert (len(parts.train), len(parts.test)) == (5, 5)


@pytest.mark.parametrize(("total", "share", "count"), [(9, 0.3, 3), (11, 0.15, 2), (7, 0.2, 1), (12, 0.2, 2)])
def test_a_share_is_rounded_to_the_nearest_number_of_images(total, share, count):
    parts = assigned(plain(total), val=share, test=share)
    assert (len(parts.val), len(parts.test)) == (count, count)


def test_every_image_in_one_part_and_in_natural_order():
    parts = assigned(plain(30), val=4, test=7)
    ids = [*parts.train, *parts.val, *parts.test, *parts.unused]
    assert sorted(ids) == sorted(s.id for s in plain(30))
    assert list(parts.train) == sorted(parts.train, key=lambda id: int(id[1:]))


def test_seeded_and_independent_of_listing_order():
    samples = plain(40)
    first = assigned(samples, seed=3)
    assert assigned(samples[::-1], seed=3) == first
    assert assigned(samples, seed=4).test != first.test
    more = assigned([*samples, sample("new")], test=8, seed=3)
    assert len(set(more.test) & set(first.test)) >= 7, "one more image may move one"


def test_golden_split():
    """The assignment is part of every published result and must not change."""
    assert assigned(plain(10), test=3, seed=0).test == ("p2", "p4", "p7")


def test_groups_stay_together():
    samples = [sample(f"p{i}", group=f"g{i // 4}") for i in range(40)]
    parts = assigned(samples, val=0.2, test=0.2)
    side = {id: part for part in PARTS for id in getattr(parts, part)}
    for i in range(0, 40, 4):
        assert len({side[f"p{k}"] for k in range(i, i + 4)}) == 1
    assert (len(parts.val), len(parts.test)) == (8, 8)
    assert len(parts.groups) == 10


def test_deviations_due_to_groups_are_noted():
    samples = [sample(f"p{i}", group=f"g{i // 4}") for i in range(40)]
    parts = assigned(samples, test=6)
    assert len(parts.test) == 4
    assert parts.notices == ("test has 4 images instead of 6, because groups stay together.",)
    assert len(parts.train) == 36, "train takes all the rest"
    assert len(assigned(samples, test=2).test) == 4, "better one group too many than an empty part"


def test_a_part_left_empty_is_refused():
    with pytest.raises(DataError, match="Nothing is left for train"):
        assigned([sample("a", group="g"), sample("b", group="g")], test=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"test": 11}, "10 images"),
        ({"test": 10}, "at least one"),
        ({"train": None, "test": None}, "Only one part"),
        ({"test": -1}, "count"),
        ({"test": 1.5}, "share"),
        ({"test": True}, "count"),
        ({"train": 6, "val": 0.3, "test": 0.2}, "requested are: train 6, val 3, test 2"),
    ],
)
def test_impossible_amounts(options, words):
    with pytest.raises(InputError, match=words):
        assigned(plain(10), **options)


def test_only_images_with_the_class_are_split():
    samples = [*plain(10), *(sample(f"q{i}", labels=("b",)) for i in range(10))]
    parts = assigned(samples, classes=["a"], test=0.2)
    assert (len(parts.train), len(parts.test)) == (8, 2)
    assert set(parts.unused) == {f"q{i}" for i in range(10)}


@pytest.mark.parametrize("seed", range(12))
def test_rare_classes_are_in_every_part(seed):
    samples = [*plain(30), sample("x", labels=("rare",)), sample("y", labels=("rare",))]
    parts = assigned(samples, classes=["a", "rare"], test=0.3, seed=seed)
    assert len({"x", "y"} & set(parts.test)) == 1
    assert not parts.notices


def test_a_class_in_one_group_only():
    samples = [*plain(10), sample("x", labels=("rare",), group="g"), sample("y", labels=("rare",), group="g")]
    parts = assigned(samples, classes=["a", "rare"], test=0.3)
    assert {"x", "y"} <= set(parts.train)
    assert any("test has no image of the class 'rare'" in notice for notice in parts.notices)
    with pytest.raises(DataError, match="class 'none'"):
        assigned(samples, classes=["none"])
    with pytest.raises(DataError, match=r"rare.*to train on"):
        assigned(samples, classes=["a", "rare"], train=1, test=9)


def test_shots_are_nested_seeded_and_contain_the_class():
    samples = [sample(f"p{i}", labels=("a",) if i % 3 else ("b",)) for i in range(60)]
    eight = [s.id for s in shots(samples, 8, 1, classes=["b"])]
    assert [s.id for s in shots(samples[::-1], 4, 1, classes=["b"])] == eight[:4]
    assert all(int(id[1:]) % 3 == 0 for id in eight)
    assert [s.id for s in shots(samples, 8, 2, classes=["b"])] != eight


def test_shots_of_each_class():
    samples = [sample(f"p{i}", labels=[("a",), ("b",), ("a", "b")][i % 3]) for i in range(30)]
    picked = shots(samples, 4, classes=["a", "b"])
    for label in "ab":
        assert sum(bool(s.of([label])) for s in picked) >= 4
    assert len(picked) <= 8
    assert {s.id for s in shots(samples, 2, classes=["a", "b"])} <= {s.id for s in picked}


def test_shots_come_from_different_groups_first():
    samples = [sample(f"p{i}", group=f"g{i // 10}") for i in range(40)]
    assert len({s.group for s in shots(samples, 4)}) == 4
    assert len({s.group for s in shots(samples, 5)}) == 4
    ungrouped = [replace(s, group=None) for s in samples]
    groups = {s.id: s.group for s in samples}
    assert [s.id for s in shots(ungrouped, 8, groups=groups)] == [s.id for s in shots(samples, 8)]


def test_shots_read_no_more_than_they_need():
    read = []
    one = Annotation.from_mask("a", MASK)
    samples = [Sample(f"p{i}", lambda: None, lambda: read.append(1) or [one]) for i in range(90)]
    shots(samples, 4)
    assert len(read) == 4


def test_too_few_for_the_shots():
    with pytest.raises(DataError, match="8 shots requested, but only 5 of 5"):
        shots(plain(5), 8)
    with pytest.raises(DataError, match="class 'b'"):
        shots(plain(5), 1, classes=["b"])
    with pytest.raises(InputError, match="1 or more"):
        shots(plain(5), 0)
    crowd = Sample("c", lambda: None, lambda: [Annotation.from_mask("a", MASK, crowd=True)])
    with pytest.raises(DataError, match="only 0 of 1"):
        shots([crowd], 1)


def test_split_with_shots():
    samples = plain(40)
    whole, few = assigned(samples, test=10, seed=5), assigned(samples, test=10, shots=4, seed=5)
    assert few.test == whole.test
    assert len(few.train) == 4
    assert set(few.train) <= set(whole.train)
    assert few.train == assigned(samples, test=10, shots=8, seed=5).train[:4]
    assert len(few.unused) == 26


def test_written_and_read(tmp_path):
    parts = assigned([sample(f"p{i}", group=f"g{i // 3}") for i in range(20)], val=3, test=4, shots=2, seed=9)
    parts.write(tmp_path / "run" / "split.json")
    assert Split.read(tmp_path / "run" / "split.json") == parts
    value = json.loads((tmp_path / "run" / "split.json").read_text())
    assert value["test"] == list(parts.test)
    value["val"] = value["test"]
    value.pop("crc32")  # as for an edit that is kept
    (tmp_path / "twice.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="two parts"):
        Split.read(tmp_path / "twice.json")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(DataError, match="not a split"):
        Split.read(tmp_path / "bad.json")
    with pytest.raises(DataError, match=r"none\.json"):
        Split.read(tmp_path / "none.json")


def test_picking_the_samples_of_a_part():
    samples = plain(10)
    parts = assigned(samples, test=3)
    assert tuple(s.id for s in parts.pick(samples, "test")) == parts.test
    with pytest.raises(InputError, match="No part"):
        parts.pick(samples, "tests")
    with pytest.raises(DataError, match="3 images of test"):
        parts.pick([], "test")


# ------------------------------------------------------------------------------------------------ near-duplicates


def copies(image):
    noise = np.random.default_rng(7).normal(0, 4, image.shape)
    return {
        "same": image,
        "smaller": cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
        "brighter": np.clip(image * 0.8 + 30, 0, 255).astype(np.uint8),
        "noisy": np.clip(image + noise, 0, 255).astype(np.uint8),
        "cropped": image[2:-1, 1:-2],
        "gray": np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    }


def test_copies_are_detected_and_other_images_are_not():
    images = [*copies(scene(0)).values(), *(scene(i) for i in range(1, 30))]
    samples = [sample(f"p{i}", image=image) for i, image in enumerate(images)]
    assert group(samples)[0] == tuple(f"p{i}" for i in range(6))
    assert all(i < 6 and j < 6 for i, j in near_duplicates(samples))


def test_copies_are_detected_in_files(tmp_path):
    samples = []
    for i, (name, image) in enumerate([*copies(scene(0)).items(), *((f"s{k}", scene(k)) for k in range(1, 6))]):
        path = tmp_path / f"{name}.{'jpg' if i % 2 else 'png'}"
        Image.fromarray(image).save(path)
        samples.append(replace(sample(name), source=path))
    assert group(samples)[-1] != group(samples)[0]
    assert max(map(len, group(samples))) == 6
    (tmp_path / "s3.jpg").write_bytes(b"broken") if (tmp_path / "s3.jpg").exists() else (tmp_path / "s3.png").unlink()
    with pytest.raises(DataError, match="s3"):
        group(samples)


def test_flat_and_dark_images_are_no_duplicates():
    rng = np.random.default_rng(0)
    dark = [rng.integers(0, 3, (40, 40, 3), dtype=np.uint8) for _ in range(20)]
    for i, image in enumerate(dark):
        cv2.circle(image, (8 + i, 30 - i), 3, (200, 200, 200), -1)
    flat = [np.full((40, 40, 3), level, np.uint8) for level in (0, 100, 200)]
    assert near_duplicates([sample(f"p{i}", image=image) for i, image in enumerate([*dark, *flat])]) == []


def test_near_duplicates_stay_together_in_a_split():
    images = [scene(i) for i in range(20)] + [copies(scene(i))["smaller"] for i in range(20)]
    samples = [sample(f"p{i}", image=image) for i, image in enumerate(images)]
    parts = split(samples, test=0.3)
    side = {id: part for part in PARTS for id in getattr(parts, part)}
    assert all(side[f"p{i}"] == side[f"p{i + 20}"] for i in range(20))
    assert len(parts.groups) == 20
    assert len(parts.test) == 12
    apart = split(samples, test=0.3, near_duplicates=False)
    assert apart.groups == ()
    assert any((f"p{i}" in apart.test) != (f"p{i + 20}" in apart.test) for i in range(20))


def noisy_pairs():
    """Gray images and noisy copies, the share of differing hash bits (computed independently) and their correlation."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        one = cv2.resize(rng.uniform(40, 210, (8, 8)), (16, 16), interpolation=cv2.INTER_CUBIC)
        other = one + rng.normal(0, 1 + seed, one.shape)
        pair = [np.clip(np.round(x), 0, 255).astype(np.uint8).repeat(2, 0).repeat(2, 1) for x in (one, other)]
        bits = [
            np.concatenate([(np.diff(x[::2, ::2].astype(float), axis=a) > 0).ravel() for a in (1, 0)]) for x in pair
        ]
        yield pair, np.mean(bits[0] != bits[1]), np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]


def test_images_are_near_duplicates_up_to_13_percent_of_differing_bits():
    shares = {True: [], False: []}
    for pair, share, correlation in noisy_pairs():
        if correlation >= 0.9:
            samples = [
                sample(name, image=np.repeat(x[..., None], 3, axis=2)) for name, x in zip("ab", pair, strict=True)
            ]
            shares[near_duplicates(samples) == [(0, 1)]].append(share)
    assert max(shares[True]) <= 0.13 < min(shares[False])
    assert max(shares[True]) > 0.1
    assert min(shares[False]) < 0.18


def test_groups_that_share_a_copy_become_one_group():
    images = [scene(0), scene(1), scene(2), copies(scene(0))["noisy"], copies(scene(0))["smaller"], scene(5)]
    rows = zip(images, ("w", "x", "y", "x", "y", "z"), strict=True)
    samples = [sample(f"p{i}", image=image, group=g) for i, (image, g) in enumerate(rows)]
    assert group(samples) == [("p0", "p1", "p2", "p3", "p4"), ("p5",)]
    assert group(samples, near_duplicates=False) == [("p0",), ("p1", "p3"), ("p2", "p4"), ("p5",)]


def test_explicit_groups_and_copies_join():
    images = [scene(0), scene(1), copies(scene(1))["noisy"], scene(3)]
    samples = [sample(f"p{i}", image=image, group=g) for i, (image, g) in enumerate(zip(images, "xxyz", strict=True))]
    assert group(samples) == [("p0", "p1", "p2"), ("p3",)]
    assert group([]) == []


def with_parts_of(samples, parts):
    return [replace(one, part=parts.get(one.id)) for one in samples]


def test_the_parts_of_a_data_set_are_its_split():
    parts = {f"p{i}": "train" for i in range(6)} | {"p6": "val", "p7": "val", "p8": "test"}
    samples = with_parts_of(plain(10), parts)
    made = own_split(samples, val=0.15, near_duplicates=False)
    assert made.train == tuple(f"p{i}" for i in range(6))
    assert (made.val, made.test, made.unused) == (("p6", "p7"), ("p8",), ("p9",))
    assert any("1 image of no part" in notice for notice in made.notices)
    assert own_split(samples, val=0, near_duplicates=False).val == ()


def test_a_part_that_the_data_set_lacks_is_split_off_its_training_images():
    samples = with_parts_of(plain(12), {f"p{i}": "train" if i < 10 else "test" for i in range(12)})
    made = own_split(samples, val=2, test=5, near_duplicates=False)
    assert made.test == ("p10", "p11")
    assert len(made.val) == 2
    assert {*made.val, *made.train} == {f"p{i}" for i in range(10)}


@pytest.mark.parametrize("parts", [{}, {"p0": "val", "p1": "test"}, {"p0": "train", "p1": "train"}])
def test_a_data_set_without_training_and_other_images_has_no_split(parts):
    assert own_split(with_parts_of(plain(4), parts), val=1) is None


def test_images_without_a_class_of_the_fit_are_unused():
    samples = [sample("p0"), sample("p1"), sample("p2", labels=("b",)), sample("p3"), sample("p4", labels=())]
    parts = {"p0": "train", "p1": "train", "p2": "train", "p3": "val", "p4": "val"}
    made = own_split(with_parts_of(samples, parts), val=1, classes=["a"], near_duplicates=False)
    assert (made.train, made.val, made.unused) == (("p0", "p1"), ("p3",), ("p2", "p4"))


def test_folders_are_parts_if_they_divide_the_images(tmp_path):
    def of(*names):
        return [replace(sample(name), source=tmp_path / f"{name}.jpg") for name in names]

    both = with_parts(of("images/train/1", "images/validation/2", "images/test2017/3", "4"), tmp_path)
    assert [one.part for one in both] == ["train", "val", "test", None]
    assert [one.part for one in with_parts(of("train/1", "train/2"), tmp_path)] == [None, None]
    assert [one.part for one in with_parts(of("crash_test/1", "train/2", "trains/3"), tmp_path)] == [None] * 3


@pytest.mark.parametrize("own", [True, False])
def test_a_fit_uses_the_parts_unless_they_are_switched_off(own):
    from samtailor.fitting.images import new_split
    from samtailor.train.config import FitConfig

    samples = with_parts_of(plain(8), {f"p{i}": "train" if i < 4 else "val" for i in range(8)})
    made = new_split(FitConfig(own_split=own, val=1, near_duplicates=False), samples, ("a",))
    assert len(made.val) == (4 if own else 1)


def test_rotated_and_mirrored_copies_are_near_duplicates():
    rng = np.random.default_rng(3)
    photos = [cv2.resize(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8), (84, 72), interpolation=2) for _ in range(6)]
    changed = [np.rot90(photos[0]), photos[1][:, ::-1], np.rot90(photos[2][:, ::-1], 3), photos[3][::-1]]
    samples = [sample(f"p{i}", image=np.ascontiguousarray(image)) for i, image in enumerate([*photos, *changed])]
    assert near_duplicates(samples) == [(0, 6), (1, 7), (2, 8), (3, 9)]


def test_copies_are_recognized_by_their_names():
    names = ["a_jpg.rf.0123abcdef", "a_jpg.rf.fedcba3210", "b.jpg.rf.99999999", "c", "c_hflip", "d_rot90", "d_rot180"]
    pairs = named_copies([f"train/{name}" for name in [*names, "e_flip", "bird_copy_station", "x.rf.1"]])
    assert pairs == [(0, 1), (3, 4), (5, 6)]


def test_images_that_are_all_near_duplicates_can_still_be_split():
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8), (84, 72))
    samples = [sample(f"p{i}", image=image) for i in range(6)]
    parts = split(samples, val=0.2, test=0)
    assert (len(parts.train), len(parts.val)) == (5, 1)
    assert "optimistic" in parts.notices[0]
    grouped = [replace(one, group="video") for one in samples]
    with pytest.raises(DataError, match="Nothing is left"):
        split(grouped, val=0.2, test=0)
