"""Every layout, written and read back exactly."""

import pickle
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from layouts import ALL, FORMATS, RELATIVE, SIZE, WRITERS, blob, masks_of, mismatch, photo, save
from layouts.basic import write_folder
from samtailor import registry
from samtailor.data.dataset import class_names, detect, open_dataset
from samtailor.data.notices import collected
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


UNNAMED = ("folder", "instances", "sa-1b", "cellpose", "cellpose train", "cellpose saved", "dsb2018", "davis", "pairs")
"""Layouts with one class without a name."""


@pytest.fixture(params=ALL)
def written(request, tmp_path):
    return request.param, tmp_path, ALL[request.param](tmp_path)


def test_every_format_of_the_registry_is_tested():
    assert {FORMATS.get(name, name) for name in ALL} == set(registry.names("formats"))


def test_exactly_one_format_matches(written):
    name, root, _ = written
    modules = {format: registry.find("formats", format) for format in registry.names("formats")}
    fallback = [format for format, module in modules.items() if getattr(module, "FALLBACK", False)]
    matching = [format for format, module in modules.items() if format not in fallback and module.matches(root)]
    assert fallback == ["pairs"]
    assert (matching or fallback) == [FORMATS.get(name, name)] == [detect(root)]


def test_what_is_read_and_left_out_adds_up(written):
    _, root, expected = written
    dataset = open_dataset(root)
    account = dataset.account()
    assert account.agrees
    assert account.images.read == len(expected)
    assert account.objects == sum(map(len, expected.values()))


def test_layouts_are_detected_and_read_exactly(written):
    name, root, expected = written
    assert detect(root) == FORMATS.get(name, name)
    samples = open_dataset(root)
    assert not mismatch(samples, expected)
    for sample in samples:
        assert sample.image.shape == (*SIZE, 3)
        assert sample.source.is_file()
    assert class_names(samples) == sorted({label for masks in expected.values() for label, _ in masks})


def test_only_requested_classes_are_read(written):
    name, root, expected = written
    label = next(iter(expected.values()))[-1][0]
    assert not mismatch(
        open_dataset(root, classes=[label]), {k: [m for m in v if m[0] == label] for k, v in expected.items()}
    )
    if name not in UNNAMED:
        with pytest.raises(InputError, match=rf"no class '{label}x'.*{label}"):
            open_dataset(root, classes=[label + "x"])


def test_samples_are_lazy_and_can_be_pickled(written):
    name, root, expected = written
    samples = pickle.loads(pickle.dumps(open_dataset(root)))
    assert not mismatch(samples, expected)
    if name == "instances":
        return
    for sample in samples:
        sample.source.write_bytes(b"broken")
    for sample in open_dataset(root):
        with pytest.raises(DataError, match=sample.source.name):
            _ = sample.image


def test_system_files_are_ignored(written):
    _, root, expected = written
    for folder in [root, *(f for f in root.rglob("*") if f.is_dir())]:
        (folder / ".DS_Store").write_bytes(b"\0\1")
        (folder / "._1.png").write_bytes(b"\0\1")
        (folder / "Thumbs.db").write_bytes(b"\0\1")
    assert not mismatch(open_dataset(root), expected)


def test_masks_are_rotated_with_their_image(written):
    """Masks drawn on the stored image are rotated with it, in every layout."""
    name, root, expected = written
    exif = Image.Exif()
    exif[0x0112] = 6
    for sample in open_dataset(root):
        with Image.open(sample.source) as image:
            image.load()
        image.save(sample.source, exif=exif)
    if name in RELATIVE:
        return  # shares of the size belong to the image as it is shown
    with collected() as notices:
        got = masks_of(open_dataset(root))
    assert {n.kind for n in notices} >= {"mask turned"}
    for id, masks in expected.items():
        for (_, mask), (_, want) in zip(got[id], masks, strict=True):
            np.testing.assert_array_equal(mask, np.rot90(want, -1))


@pytest.mark.parametrize("layout", ["folder", "class folders", "labelmap", "instances", "voc segmentation"])
def test_small_maps_are_resized_and_other_aspect_ratios_are_refused(layout, tmp_path):
    expected = WRITERS[layout](tmp_path)
    for sample in open_dataset(tmp_path):
        photo(sample.source, (SIZE[0] * 3, SIZE[1] * 3))
    with collected() as notices:
        assert not mismatch(
            open_dataset(tmp_path),
            {k: [(n, np.kron(m, np.ones((3, 3))) > 0) for n, m in v] for k, v in expected.items()},
        )
    assert {n.kind for n in notices} >= {"mask resized"}
    photo(open_dataset(tmp_path)[0].source, (SIZE[0] * 3, SIZE[1] * 2))
    with pytest.raises(DataError, match="another aspect"):
        masks_of(open_dataset(tmp_path))


@pytest.mark.parametrize("layout", ["coco", "voc", "labelme"])
def test_shapes_for_another_image_size_are_scaled(layout, tmp_path):
    expected = WRITERS[layout](tmp_path)
    for sample in open_dataset(tmp_path):
        photo(sample.source, (SIZE[0] * 2, SIZE[1] * 2))
    assert not mismatch(
        open_dataset(tmp_path), {k: [(n, np.kron(m, np.ones((2, 2))) > 0) for n, m in v] for k, v in expected.items()}
    )


def test_the_format_of_the_documentation_works(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/plug-ins/format.md").read_text("utf-8")
    module = ModuleType("my_layout")
    monkeypatch.setitem(sys.modules, "my_layout", module)
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], module.__dict__)
    for i in (1, 2):
        photo(tmp_path / f"images/{i}.jpg")
        save(tmp_path / f"truth/{i}.png", blob(i))
    assert module.matches(tmp_path)
    assert not mismatch(module.build(tmp_path), {str(i): [("object", blob(i))] for i in (1, 2)})


def test_a_notice_is_logged_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("samtailor.data.notices._logged", set())
    write_folder(tmp_path)
    for i in (1, 2, 10):
        photo(tmp_path / f"images/{i}.jpg", (48, 72))
    with caplog.at_level("WARNING", logger="samtailor.data"):
        masks_of(open_dataset(tmp_path))
    assert [r.message for r in caplog.records if r.levelname == "WARNING" and "resized" in r.message][1:] == []
    assert "samtailor check" in caplog.text


def test_every_format_has_a_section_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs/reference/formats.md").read_text("utf-8")
    titles = " ".join(re.findall(r"^###? (.*)$", page, re.MULTILINE))
    missing = [name for name in registry.names("formats") if not re.search(rf"(?<![\w-]){name}(?![\w-])", titles)]
    assert missing == []
