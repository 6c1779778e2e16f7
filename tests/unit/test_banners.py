"""Synthetic banners: the images, the masks, the user's own folders, and the data set on disk."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from samtailor.data.dataset import open_dataset
from samtailor.data.synth import attach, carriers, lettering
from samtailor.data.synth.banner_art import Print, art
from samtailor.data.synth.banners import banner_scene, paint
from samtailor.data.synth.canvas import Canvas
from samtailor.data.synth.occluders import occlude
from samtailor.data.synth.own_images import cutout, images
from samtailor.data.synth.prints import text
from samtailor.data.synth.samples import image_seeds, samples
from samtailor.data.synth.street import Backdrop, street
from samtailor.data.synth.write import build_dataset
from samtailor.errors import DataError, InputError
from samtailor.masks import interior

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SMALL = (96, 128)


@pytest.fixture(scope="module")
def scenes() -> list:
    return [banner_scene(seed) for seed in range(40)]


@pytest.fixture
def user_images(tmp_path: Path) -> tuple[Path, Path]:
    """Six plain red banners with a transparent left half, four backgrounds without any red."""
    banners, backgrounds = tmp_path / "b", tmp_path / "g"
    rng = np.random.default_rng(0)
    for folder in (banners, backgrounds):
        folder.mkdir()
    for i in range(6):
        banner = np.zeros((40, 120, 4), np.uint8)
        banner[:, 60:] = (220 + i, 10, 10, 255)
        Image.fromarray(banner).save(banners / f"{i}.png")
    for i in range(4):
        ground = rng.integers(0, 256, (200, 300, 3), np.uint8)
        ground[..., 0] = 0
        Image.fromarray(ground).save(backgrounds / f"{i}.png")
    return banners, backgrounds


def test_a_seed_determines_the_image(scenes):
    again = banner_scene(7)
    assert np.array_equal(again.image, scenes[7].image)
    assert all(np.array_equal(a, b) for a, b in zip(again.masks, scenes[7].masks, strict=True))
    assert not np.array_equal(scenes[7].image, scenes[8].image)


def test_global_random_state_is_not_used():
    np.random.seed(3)
    random.seed(3)
    cv2.setRNGSeed(3)
    before = np.random.get_state()[1].copy(), random.getstate()
    first = banner_scene(5, SMALL).image
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert before[1] == random.getstate()
    after, fresh = np.empty(8), np.empty(8)
    cv2.randn(after, 0, 1)
    cv2.setRNGSeed(3)
    cv2.randn(fresh, 0, 1)
    assert np.array_equal(after, fresh)
    assert np.array_equal(first, banner_scene(5, SMALL).image)


def test_images_show_one_to_three_separate_visible_banners(scenes):
    for scene in scenes:
        assert scene.image.shape == (480, 640, 3)
        assert scene.image.dtype == np.uint8
        assert 1 <= len(scene.masks) <= 3
        assert scene.labels == ["banner"] * len(scene.masks)
        assert scene.parents == [-1] * len(scene.masks)
        assert all(mask.shape == (480, 640) and mask.dtype == bool for mask in scene.masks)
        assert all(0.004 < mask.mean() < 0.5 for mask in scene.masks)
        assert np.sum(scene.masks, axis=0).max() == 1
    assert {len(scene.masks) for scene in scenes} == {1, 2, 3}


def test_banners_stand_out_and_their_content_varies(scenes):
    """The color changes at the edge of a banner, and its inside varies."""
    steps, spreads = [], []
    for scene in scenes:
        for mask in scene.masks:
            inner, outer = (f(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) for f in (cv2.erode, cv2.dilate))
            inside, outside = mask & (inner == 0), (outer > 0) & ~mask
            steps.append(np.linalg.norm(scene.image[inside].mean(0) - scene.image[outside].mean(0)))
            spreads.append(scene.image[mask].std(0).mean())
    assert np.median(steps) > 50
    assert np.mean(np.array(steps) > 20) > 0.85
    assert np.median(spreads) > 30


@pytest.mark.parametrize("size", [(64, 64), (64, 400), (333, 100)])
def test_any_size_from_64_px_works(size):
    for seed in range(6):
        scene = banner_scene(seed, size)
        assert scene.image.shape == (*size, 3)
        assert scene.masks
        assert all(mask.shape == size and mask.any() for mask in scene.masks)


@pytest.mark.parametrize(("seed", "size"), [(-1, SMALL), (0, (63, 200)), (0, (200,))])
def test_arguments_out_of_range_are_refused(seed, size):
    with pytest.raises(InputError):
        banner_scene(seed, size)


def test_a_taut_banner_without_perspective_fills_its_corners():
    corners = np.array([[20, 10], [80, 10], [80, 40], [20, 40]], float)
    where = attach.Spot(corners, sag=0.0, waves=1.0, depth=0.0, phase=0.0)
    rows, columns = where.size
    assert (rows, columns) == (30, 60)
    print_ = Print.on(np.full((rows, columns, 3), 255, np.uint8))
    print_.image[:, : columns // 2, 0] = 0
    print_.mark("left", (0, 0, columns // 2, rows))
    warped, (x0, y0, x1, y1) = attach.flatten(np.random.default_rng(0), where, print_, (60, 100))
    whole = np.zeros((60, 100), bool)
    whole[y0:y1, x0:x1] = warped.cover > 127
    assert whole[10:40, 20:80].all()
    assert whole.sum() == 30 * 60
    assert warped.image[25 - y0, 30 - x0, 0] < 60 < warped.image[25 - y0, 70 - x0, 0]
    assert warped.parts[25 - y0, 30 - x0] == 1
    assert warped.parts[25 - y0, 70 - x0] == 0


def test_a_sagging_banner_hangs_lower_in_the_middle():
    where = attach.Spot(np.array([[10, 20], [90, 20], [90, 50], [10, 50]], float), 0.0, 1.0, 0.0, 0.0)
    lows = []
    for spot in (where, replace(where, sag=0.15)):
        flat = Print.on(np.full((30, 80, 3), 255, np.uint8))
        warped, (x0, y0, _, _) = attach.flatten(np.random.default_rng(0), spot, flat, (80, 100))
        lows.append([y0 + np.flatnonzero(warped.cover[:, x - x0] > 127).max() for x in (12, 50)])
    assert lows[0][0] == lows[0][1]
    assert lows[1][1] >= lows[1][0] + 3


def test_a_print_keeps_away_from_the_color_behind_it():
    behind = (200.0, 200.0, 195.0)
    for seed in range(20):
        print_ = art(np.random.default_rng(seed), 120, 300, behind)
        assert print_.image.shape == (120, 300, 3)
        assert print_.cover.shape == print_.parts.shape == (120, 300)
        assert print_.parts.max() == len(print_.names) > 0
        rim = print_.image[:3, 5:-5].reshape(-1, 3).mean(0)
        assert np.linalg.norm(rim - behind) > 40


def test_prints_are_parts_of_their_banner_and_hidden_with_it():
    for seed in range(12):
        canvas, hung = paint(np.random.default_rng(seed), SMALL)
        assert set(hung) <= set(np.unique(canvas.objects)) - {0}
        for part in np.unique(canvas.parts[canvas.parts > 0]):
            assert set(np.unique(canvas.objects[canvas.parts == part])) == {canvas.part_owner[part - 1]}
        assert any(canvas.part_owner[part - 1] in hung for part in np.unique(canvas.parts[canvas.parts > 0]))


def test_words_and_objects_in_photographs_are_nested_parts():
    names = set()
    for seed in range(40):
        canvas, _ = paint(np.random.default_rng(seed), SMALL)
        for part, whole in canvas.nested.items():
            assert part > whole
            assert canvas.part_owner[part - 1] == canvas.part_owner[whole - 1]
            names.add((canvas.part_names[part - 1], canvas.part_names[whole - 1]))
    assert names == {("word", "text"), ("thing", "photograph"), ("text", "strip"), ("text", "band"), ("logo", "logo")}


def test_words_fill_their_line_except_for_gaps():
    sheet = Print.on(np.full((60, 400, 3), 255, np.uint8))
    text(np.random.default_rng(3), sheet, (0, 0, 400, 60), (0, 0, 0), lines=1)
    words = [part for part, whole in sheet.nested.items() if whole == 1]
    assert len(words) == sheet.names.count("word") > 1
    assert 0.6 < (sheet.parts > 1).sum() / (sheet.parts > 0).sum() < 1
    dark = sheet.image.max(axis=2) < 128
    assert (sheet.parts[dark] > 1).mean() > 0.98


def test_most_banners_have_a_larger_carrier_around_them():
    carried = free = 0
    for seed in range(150):
        canvas, hung = paint(np.random.default_rng(seed), SMALL)
        free += len(set(hung) - canvas.groups.keys())
        for banner, carrier in canvas.groups.items():
            carried += 1
            assert canvas.object_names[banner - 1] == "banner"
            assert canvas.object_names[carrier - 1] in carriers.CARRIERS
    assert carried / (carried + free) == pytest.approx(0.95, abs=0.05)


def test_there_are_no_carriers_on_backgrounds_of_the_user(user_images):
    for seed in range(20):
        canvas, _ = paint(np.random.default_rng(seed), SMALL, backgrounds=images(user_images[1], "g"))
        assert not canvas.groups


def test_center_clicks_hit_both_prints_and_ground():
    printed = [
        bool(canvas.parts[interior.center(canvas.objects == banner)[::-1]])
        for canvas, hung in (paint(np.random.default_rng(seed), SMALL) for seed in range(120))
        for banner in hung
    ]
    assert 0.3 < np.mean(printed) < 0.7


def test_carriers_do_not_hide_other_banners():
    for seed in range(60):
        canvas, hung = paint(np.random.default_rng(seed), SMALL)
        assert all((canvas.objects == owner).sum() > 100 for owner in hung)


@pytest.mark.parametrize("name", sorted(carriers.CARRIERS))
def test_a_carrier_surrounds_its_banner(name):
    corners = np.array([[150, 170], [250, 180], [250, 220], [150, 210]], float)
    where = attach.Spot(corners, 0.0, 1.0, 0.0, 0.0)
    behind = np.zeros((400, 400), np.uint8)
    cv2.fillPoly(behind, [corners.astype(np.int32)], 1)
    for seed in range(20):
        canvas = Canvas.on(np.zeros((400, 400, 3), np.uint8))
        on = canvas.objects == carriers.carry(np.random.default_rng(seed), canvas, where, name)
        assert on[behind > 0].mean() > 0.8
        assert on.sum() > 1.8 * behind.sum()


def test_occluders_leave_most_of_a_banner_visible():
    for seed in range(30):
        canvas = Canvas.on(np.zeros((160, 160, 3), np.uint8))
        canvas.object_names.append("banner")
        canvas.objects[40:90, 30:130] = 1
        occlude(np.random.default_rng(seed), canvas, (120, 160), {1: 5000}, keep=0.9)
        assert (canvas.objects == 1).sum() >= 4500


def test_streets_have_a_ground_within_the_image():
    for seed in range(20):
        place = street(np.random.default_rng(seed), SMALL)
        assert isinstance(place, Backdrop)
        assert place.image.shape == (*SMALL, 3)
        assert 0 < place.ground <= SMALL[0]


def test_words_fit_their_box_and_are_not_blank():
    rng = np.random.default_rng(0)
    for _ in range(30):
        typeface = lettering.face(rng)
        cover = lettering.fit(lettering.line(lettering.words(rng, 2, typeface), typeface), 90, 20)
        assert cover.shape[0] <= 20
        assert cover.shape[1] <= 90
        assert cover.max() > 100


def test_images_of_the_user_are_used(user_images):
    banners, backgrounds = user_images
    for seed in range(8):
        scene = banner_scene(seed, (120, 160), banners=images(banners, "b"), backgrounds=images(backgrounds, "g"))
        redness = scene.image[..., 0].astype(int) - scene.image[..., 1:].max(2)
        for mask in scene.masks:
            core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            assert core.any()
            assert np.median(redness[core]) > 60  # nothing of the transparent half counts as banner


def test_image_files_of_equal_content_are_listed_once(user_images, tmp_path):
    banners, _ = user_images
    (banners / "copy.png").write_bytes((banners / "0.png").read_bytes())
    (banners / "notes.txt").write_text("no image")
    assert [path.name for path in images(banners, "banners")] == [f"{i}.png" for i in range(6)]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(InputError, match=folder.name):
            images(folder, "banners")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(tmp_path / "clear.png")
    for name in ("broken.png", "clear.png"):
        with pytest.raises(DataError, match=name):
            cutout(np.random.default_rng(0), [tmp_path / name])


def test_samples_do_not_depend_on_their_number():
    few, more = samples(2, 4, size=SMALL), samples(3, 4, size=SMALL)
    assert [s.id for s in more] == ["train_00000", "train_00001", "train_00002"]
    assert np.array_equal(few[1].image, more[1].image)
    drawn = banner_scene(image_seeds(1, 4, "train")[0], SMALL)
    assert np.array_equal(few[0].image, drawn.image)
    assert [a.label for a in few[0].annotations] == drawn.labels
    assert all(np.array_equal(a.mask, m) for a, m in zip(few[0].annotations, drawn.masks, strict=True))


def test_train_and_test_never_share_a_seed():
    train, test = (set(image_seeds(500, 0, side)) for side in ("train", "test"))
    other = set(image_seeds(500, 1, "train"))
    assert len(train) == len(test) == 500
    assert not train & test
    assert not train & other


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"seed": -1},
        {"side": "val"},
        {"kind": "posters"},
        {"kind": "scenes", "size": (64, 96)},
        {"kind": "scenes", "banners": [Path("a.png")]},
    ],
)
def test_samples_refuse_invalid_arguments(wrong):
    with pytest.raises(InputError):
        samples(**{"count": 1, "seed": 0, **wrong})


def test_a_written_data_set_is_read_without_options(tmp_path):
    calls = []
    out = tmp_path / "deep" / "set"
    about = build_dataset(out, count=3, test=2, seed=9, size=SMALL, progress=lambda *done: calls.append(done))
    assert calls == [(i, 5) for i in range(1, 6)]
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "dataset.json", "test", "train"]
    assert about["images"] == {"train": 3, "test": 2}
    for side, count in about["images"].items():
        read, drawn = open_dataset(out / side), samples(count, 9, size=SMALL, side=side)
        assert [s.id for s in read] == [s.id for s in drawn]
        assert sum(len(s.annotations) for s in read) == about["masks"][side]["banner"]
        for a, b in zip(read, drawn, strict=True):
            assert np.abs(a.image.astype(int) - b.image).mean() < 4  # JPEG
            assert [x.label for x in a.annotations] == [x.label for x in b.annotations]
            pairs = zip(a.annotations, b.annotations, strict=True)
            assert all(np.array_equal(x.mask, y.mask) for x, y in pairs)


def test_without_a_test_part_the_folder_itself_is_the_data_set(tmp_path):
    about = build_dataset(tmp_path / "scenes", kind="scenes", count=3, seed=1, size=(64, 64))
    assert len(open_dataset(tmp_path / "scenes")) == 3
    assert about["size"] == [64, 64]


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        build_dataset(tmp_path / name, count=2, seed=3, size=SMALL)
    for file in sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_banners_of_the_user_are_not_shared_by_training_and_test(user_images, tmp_path):
    banners, backgrounds = user_images
    out = tmp_path / "set"
    about = build_dataset(out, count=4, test=2, size=SMALL, banners=banners, backgrounds=backgrounds)
    for what, number in (("own_banners", 6), ("own_backgrounds", 4)):
        train, test = set(about[what]["train"]), set(about[what]["test"])
        assert train
        assert test
        assert not train & test
        assert len(train | test) == number
    single = tmp_path / "single"
    single.mkdir()
    (single / "0.png").write_bytes((banners / "0.png").read_bytes())
    with pytest.raises(InputError, match="only one banner"):
        build_dataset(tmp_path / "other", count=4, test=2, size=SMALL, banners=single)


def test_a_folder_that_is_not_empty_is_not_changed(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    calls = []
    with pytest.raises(InputError, match="not empty"):
        build_dataset(tmp_path / "set", count=1, size=SMALL, progress=lambda *done: calls.append(done))
    assert not calls  # refused before the work, not after it
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine.txt"]
    (tmp_path / "vacant").mkdir()
    build_dataset(tmp_path / "vacant", count=1, size=SMALL)
    assert (tmp_path / "vacant" / "annotations" / "instances.json").is_file()


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(tmp_path / "set", count=2, size=SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"count": 0}, {"test": -1}, {"kind": "x"}, {"seed": -1}, {"size": (10, 10)}])
def test_writing_refuses_invalid_arguments(tmp_path, wrong):
    with pytest.raises(InputError):
        build_dataset(tmp_path / "set", **{"count": 1, "size": SMALL, **wrong})
    assert list(tmp_path.iterdir()) == []
