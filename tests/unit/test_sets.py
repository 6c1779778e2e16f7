"""Published data sets, on miniature copies of their layouts with random images."""

import numpy as np
import pytest
from PIL import Image

from samtailor.data.dataset import open_dataset
from samtailor.data.notices import collected
from samtailor.data.sets import celebamask_hq
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def square(y, x, side, size=32):
    values = np.zeros((size, size), np.uint8)
    values[y : y + side, x : x + side] = 255
    return values


@pytest.fixture
def faces(tmp_path):
    for number in (0, 1, 2, 10, 1999, 2000, 4001):
        save(tmp_path / f"CelebA-HQ-img/{number}.jpg", np.full((64, 64, 3), number % 255, np.uint8))
        folder = tmp_path / f"CelebAMask-HQ-mask-anno/{number // 2000}"
        save(folder / f"{number:05d}_skin.png", np.repeat(square(4, 4, 20)[..., None], 3, axis=2))
        save(folder / f"{number:05d}_nose.png", square(10, 10, 4))
        if number == 2000:
            save(folder / f"{number:05d}_hat.png", square(0, 0, 8))
    return tmp_path


def test_faces_keep_their_overlapping_parts(faces):
    with collected() as notices:
        samples = open_dataset(faces, format="celebamask-hq")
        parts = {s.id: {a.label: a.mask for a in s.annotations} for s in samples}
    assert [n for n in notices if n.kind != "class"] == [], "half the size is the layout, no news"
    assert list(parts) == ["0", "1", "2", "10", "1999", "2000", "4001"]
    assert list(parts["2000"]) == ["skin", "nose", "hat"]
    assert list(parts["1999"]) == ["skin", "nose"]
    np.testing.assert_array_equal(parts["1"]["skin"], square(8, 8, 40, 64) > 0)
    assert (parts["1"]["skin"] & parts["1"]["nose"]).sum() == 64, "skin lies under the nose"


def test_faces_by_class_and_part(faces):
    hats = open_dataset(faces, format="celebamask_hq", classes=["hat"])
    assert [s.id for s in hats if s.annotations] == ["2000"]
    with pytest.raises(InputError, match="Did you mean 'l_lip'"):
        open_dataset(faces, format="celebamask-hq", classes=["l_lipp"])
    parts = {p: [s.id for s in open_dataset(faces, format="celebamask-hq", part=p)] for p in ("train", "val", "unused")}
    assert [len(ids) for ids in parts.values()] == [5, 1, 1]
    assert len({id for ids in parts.values() for id in ids}) == 7
    assert parts["train"] != [s.id for s in open_dataset(faces, format="celebamask-hq", part="train", seed=1)]
    with pytest.raises(InputError, match="test"):
        open_dataset(faces, format="celebamask-hq", part="test")


def test_faces_split_sizes_of_the_paper(monkeypatch):
    ids = [str(i) for i in range(30000)]
    sizes = {part: len(celebamask_hq._of_part(ids, part, 0)) for part in ("train", "val", "unused")}
    assert sizes == {"train": 21000, "val": 6000, "unused": 3000}


def test_faces_table_1():
    assert len(celebamask_hq.PARTS) == 18
    assert sum(celebamask_hq.TABLE_1["train"].values()) == 260791
    assert sum(celebamask_hq.TABLE_1["val"].values()) == 74817
    assert celebamask_hq.TABLE_1["train"]["mouth"] == 12487
    assert celebamask_hq.TABLE_1["val"]["cloth"] == 3763
    assert {celebamask_hq.MIRROR[name] for name in celebamask_hq.MIRROR} == set(celebamask_hq.MIRROR)
    assert set(celebamask_hq.MIRROR) <= set(celebamask_hq.PARTS)
    assert all(celebamask_hq.MIRROR[celebamask_hq.MIRROR[name]] == name for name in celebamask_hq.MIRROR)


def test_faces_refusals(faces, tmp_path_factory):
    with pytest.raises(DataError, match="CelebA-HQ-img"):
        open_dataset(tmp_path_factory.mktemp("empty"), format="celebamask-hq")
    save(faces / "CelebA-HQ-img/x.jpg", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="names of CelebAMask-HQ are numbers"):
        open_dataset(faces, format="celebamask-hq")


@pytest.fixture
def cars(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(43):
        blocks = np.kron(rng.integers(0, 256, (5, 7, 3)), np.ones((6, 6, 1)))
        save(tmp_path / f"images/Cars{i}.png", blocks.astype(np.uint8))
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / f"annotations/Cars{i}.xml").write_text(
            "<annotation><size><width>42</width><height>30</height></size><object><name>licence</name>"
            "<bndbox><xmin>4</xmin><ymin>6</ymin><xmax>20</xmax><ymax>12</ymax></bndbox></object></annotation>"
        )
    return tmp_path


def test_cars_are_rectangles_split_80_20(cars):
    parts = {p: [s.id for s in open_dataset(cars, format="car-plate", part=p)] for p in ("train", "test")}
    assert [len(ids) for ids in parts.values()] == [34, 9]
    assert not set(parts["train"]) & set(parts["test"])
    assert round(0.8 * 433) == 346
    sample = open_dataset(cars, format="car-plate")[0]
    assert [a.box for a in sample.annotations] == [(4, 6, 20, 12)]
    assert sample.annotations[0].area == 16 * 6
    with pytest.raises(InputError, match="Parts: train, test"):
        open_dataset(cars, format="car-plate", part="val")


def test_cars_with_copies_on_one_side(cars):
    for i in range(20):
        (cars / f"images/Cars{i + 20}.png").write_bytes((cars / f"images/Cars{i}.png").read_bytes())
    for part in ("train", "test"):
        ids = {s.id for s in open_dataset(cars, format="car-plate", part=part, grouped=True)}
        assert all((f"Cars{i}" in ids) == (f"Cars{i + 20}" in ids) for i in range(20))


def pairs(images, masks, ids, ending=".png", suffix="", size=32):
    """Images in the color of their number, each with a square."""
    for i, id in enumerate(ids):
        save(images / f"{id}.jpg", np.full((size, size, 3), i % 255, np.uint8))
        save(masks / f"{id}{suffix}{ending}", square(2, 3, 8, size))


def ids_of(path, **options):
    return [sample.id for sample in open_dataset(path, **options)]


@pytest.fixture
def humans(tmp_path):
    """29 pairs with the original's gap before the last number, one mask half the size of its image."""
    pairs(tmp_path / "Training_Images", tmp_path / "Ground_Truth", [*range(1, 29), 300])
    save(tmp_path / "Ground_Truth/7.png", square(1, 1, 4, 16))
    return tmp_path


def test_humans_last_by_number_are_the_test_part(humans):
    with collected() as notices:
        test = ids_of(humans, format="human-segmentation", part="test")
        pool = ids_of(humans, format="human-segmentation", part="pool")
    assert test == [*map(str, range(20, 29)), "300"]
    assert pool == [*map(str, range(1, 20))], "by number: 2 to 9 are of the pool"
    assert "another number of images" in {n.kind for n in notices}
    assert len(ids_of(humans, format="human-segmentation", part="test", test=5)) == 5
    with pytest.raises(InputError, match="between 1 and 28"):
        open_dataset(humans, format="human-segmentation", part="test", test=29)
    with pytest.raises(InputError, match="Parts: pool, test"):
        open_dataset(humans, format="human-segmentation", part="train")


def test_humans_whole_set_needs_no_notice():
    from samtailor.data.sets import _tail, human_segmentation
    from samtailor.structures import Sample

    made = [Sample(str(i), lambda: None, lambda: ()) for i in [*range(1, 290), 300]]
    with collected() as notices:
        test = _tail.part_of(made, "test", None, (human_segmentation.TEST, (human_segmentation.IMAGES,)))
    assert [s.id for s in test] == [*map(str, range(191, 290)), "300"]
    assert notices == []


def test_the_original_300_humans_are_tested_on_the_last_100(tmp_path):
    pairs(tmp_path / "Training_Images", tmp_path / "Ground_Truth", range(1, 301))
    with collected() as notices:
        test = open_dataset(tmp_path, format="human-segmentation", part="test")
        pool = open_dataset(tmp_path, format="human-segmentation", part="pool")
    assert [s.id for s in test] == [str(i) for i in range(201, 301)]
    assert len(pool) == 200
    assert [n.kind for n in notices if n.kind == "another number of images"] == []


def test_humans_smaller_masks_are_resized_with_a_notice(humans):
    with collected() as notices:
        masks = {s.id: s.annotations[0].mask for s in open_dataset(humans, format="human-segmentation")}
    assert [n.message.split(":")[0].endswith("7.png") for n in notices if n.kind == "mask resized"] == [True]
    np.testing.assert_array_equal(masks["7"], square(2, 2, 8) > 0)
    assert {a.label for s in open_dataset(humans, format="human-segmentation") for a in s.annotations} == {"person"}


def test_humans_other_names_of_the_folders_and_none(humans, tmp_path):
    (humans / "Training_Images").rename(humans / "images")
    (humans / "Ground_Truth").rename(humans / "masks")
    assert len(ids_of(humans, format="human-segmentation")) == 29
    with pytest.raises(DataError, match="Training_Images"):
        open_dataset(tmp_path / "images", format="human-segmentation")


def test_dancers_are_split_by_number_and_grouped_by_clip(tmp_path):
    pairs(tmp_path / "Images", tmp_path / "Masks", range(1, 14))
    faint = np.zeros((32, 32), np.uint8)
    faint[4:6, 4:6] = 1
    save(tmp_path / "Masks/3.png", faint)
    test = open_dataset(tmp_path, format="tiktok-body", part="test")
    assert [s.id for s in test] == [*map(str, range(4, 14))], "2,000 of 2,615 are 10 of 13"
    pool = open_dataset(tmp_path, format="tiktok-body", part="pool", clip=2)
    assert [(s.id, s.group) for s in pool] == [("1", "clip0"), ("2", "clip0"), ("3", "clip1")]
    assert pool[2].annotations[0].area == 4, "above 0 is object"
    with pytest.raises(InputError, match="clip"):
        open_dataset(tmp_path, format="tiktok-body", clip=0)


def test_dancers_split_of_the_paper():
    from samtailor.data.sets import _tail, tiktok_body

    parts = [len(_tail.part_of(range(2615), p, None, (tiktok_body.TEST, (tiktok_body.IMAGES,)))) for p in _tail.PARTS]
    assert parts == [615, 2000]


@pytest.fixture
def lesions(tmp_path):
    for name, count, first in (("Training", 5, 0), ("Validation", 2, 100), ("Test", 3, 200)):
        images = tmp_path / f"ISIC2018_Task1-2_{name}_Input"
        ids = [f"ISIC_{first + i:07d}" for i in range(count)]
        pairs(images, tmp_path / f"ISIC2018_Task1_{name}_GroundTruth", ids, suffix="_segmentation")
        (images / "LICENSE.txt").write_text("CC-BY-NC")
    return tmp_path


def test_lesions_have_their_official_parts(lesions):
    parts = {part: ids_of(lesions, format="isic2018", part=part) for part in ("train", "val", "test")}
    assert [len(ids) for ids in parts.values()] == [5, 2, 3]
    assert parts["val"] == ["ISIC_0000100", "ISIC_0000101"]
    assert ids_of(lesions, format="isic2018") == [id for ids in parts.values() for id in ids]
    assert [a.label for a in open_dataset(lesions, format="isic2018", part="test")[0].annotations] == ["lesion"]
    with pytest.raises(InputError, match="Parts: train, val, test"):
        open_dataset(lesions, format="isic2018", part="pool")


def test_lesions_errors_name_the_missing_folder(lesions, tmp_path_factory):
    (lesions / "ISIC2018_Task1_Test_GroundTruth").rename(lesions / "elsewhere")
    assert len(ids_of(lesions, format="isic2018")) == 7
    with pytest.raises(DataError, match="ISIC2018_Task1_Test_GroundTruth"):
        open_dataset(lesions, format="isic2018", part="test")
    with pytest.raises(DataError, match="ISIC2018_Task1-2_Training_Input"):
        open_dataset(tmp_path_factory.mktemp("empty"), format="isic2018")


def test_shots_of_a_pool_are_seeded_and_nested(humans):
    from samtailor.data.split import shots

    pool = open_dataset(humans, format="human-segmentation", part="pool")
    eight = [[s.id for s in shots(pool, 8, seed)] for seed in (0, 1)]
    assert eight[0] != eight[1]
    assert [s.id for s in shots(pool, 4, 0)] == eight[0][:4]
