"""The papers' data sets, on miniature copies of their layouts with made-up pictures."""

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
    with pytest.raises(DataError, match="by number"):
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
