"""Image stacks and HEIC files in a project."""

from __future__ import annotations

import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from samtailor.data.image import read_image
from samtailor.workbench.exports import Exports
from samtailor.workbench.images import ImageFolder, by_name, image_of_row
from samtailor.workbench.snapshot import image_row
from samtailor.workbench.work.fit import read_samples
from tiny import disc_sample
from workbench import LIMITS, objects_of, open_project

PAGES = 3


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pages = [Image.fromarray(disc_sample(i).image) for i in range(PAGES)]
    pages[0].save(folder / "scan.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(disc_sample(5).image).save(folder / "single.png")
    return folder


def test_each_page_is_an_image_of_its_own(root):
    folder = ImageFolder(root, root / ".cache", LIMITS)
    pages = [image for image in folder.all().values() if image.pages > 1]
    assert [(p.name, p.file, p.page, p.pages) for p in pages] == [
        ("scan.tif", "scan.tif", 1, 3),
        ("scan.tif#2", "scan.tif", 2, 3),
        ("scan.tif#3", "scan.tif", 3, 3),
    ]
    for i, page in enumerate(pages):
        assert np.array_equal(folder.pixels(page.id), disc_sample(i).image)
        assert np.array_equal(image_of_row(root, image_row(page), LIMITS), disc_sample(i).image)
        assert np.array_equal(read_image(folder.source(page.id)), disc_sample(i).image)
        jpeg, media_type = folder.upright(page.id)
        assert (Image.open(io.BytesIO(jpeg)).size, media_type) == ((80, 48), "image/jpeg")
    shown = np.asarray(Image.open(io.BytesIO(folder.thumbnail(pages[1].id))), int)
    assert np.abs(shown - np.asarray(Image.open(io.BytesIO(folder.thumbnail(pages[0].id))), int)).mean() > 1
    # what other parts of the program decode is the page, not the first one
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(folder.data(pages[2].id)[1]))), disc_sample(2).image)


def test_pages_are_listed_from_the_index_and_read_again_when_the_file_changes(root):
    first = ImageFolder(root, root / ".cache", LIMITS).all()
    assert ImageFolder(root, root / ".cache", LIMITS).all() == first
    Image.fromarray(disc_sample(0).image).save(root / "scan.tif")
    changed = ImageFolder(root, root / ".cache", LIMITS).all()
    assert [image.name for image in changed.values()] == ["scan.tif", "single.png"]


def test_smaller_copies_in_a_file_are_no_pages(root):
    large, small = (Image.fromarray(disc_sample(0).image).resize(size) for size in ((80, 48), (20, 12)))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    large.save(root / "scan.tif", save_all=True, append_images=[small])
    folder = ImageFolder(root, root / ".cache", LIMITS)
    assert [image.name for image in folder.all().values()] == ["scan.tif", "single.png"]


def test_deep_color_pages_are_read(root):
    import cv2

    values = [np.full((8, 9, 3), level, np.uint16) for level in (25700, 65535)]
    values[0][0, 0] = 65535
    assert cv2.imwritemulti(str(root / "deep.tif"), values)
    folder = ImageFolder(root, root / ".cache", LIMITS)
    first, second = (folder.pixels(image.id) for image in folder.all().values() if image.file == "deep.tif")
    assert (first[4, 4].max(), second.min()) == (100, 255)


def test_annotated_pages_are_fitted_as_one_group_and_exported_as_images(root, tmp_path):
    project = open_project(root)
    images = project.images.all()
    for index, id in enumerate(list(images)[:PAGES]):
        project.put(id, 0, "accepted", objects_of(index))
    rows = [
        {**image_row(image), "objects": [{"class": o.class_, "rle": o.rle.model_dump(mode="json")} for o in r.objects]}
        for image, r in project.records(["accepted"])
    ]
    limits = {"bytes": LIMITS.bytes, "pixels": LIMITS.pixels}
    samples = read_samples({"images": str(root), "limits": limits, "samples": rows})
    assert {sample.group for sample in samples} == {"scan.tif"}
    assert all(np.array_equal(sample.image, disc_sample(i).image) for i, sample in enumerate(samples))
    assert sorted(by_name(images)) == ["scan_p1", "scan_p2", "scan_p3", "single"]
    exports = Exports(tmp_path / "exports", project)
    written = exports.write("coco", ["accepted"], "copy")
    with zipfile.ZipFile(exports.packed(written["name"])) as archive:
        names = sorted(name.rpartition("/")[2] for name in archive.namelist() if name.endswith(".png"))
        assert names == ["scan_p1.png", "scan_p2.png", "scan_p3.png"]
        path = next(name for name in archive.namelist() if name.endswith("scan_p2.png"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(archive.read(path)))), disc_sample(1).image)
    project.close()


def test_heic_without_its_package_is_listed_with_the_reason_until_it_is_installed(root, monkeypatch):
    (root / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    folder = ImageFolder(root, root / ".cache", LIMITS)
    (image,) = (image for image in folder.all().values() if image.name == "phone.heic")
    assert "samtailor[heic]" in image.error
    assert folder._read_index().get(image.id) is None


def test_heic_files_are_shown(root):
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: pip install '.[heic]'")
    heif.register_heif_opener()
    Image.fromarray(disc_sample(0).image).save(root / "phone.heic", quality=95)
    folder = ImageFolder(root, root / ".cache", LIMITS)
    (image,) = (image for image in folder.all().values() if image.name == "phone.heic")
    assert (image.error, image.height, image.width) == (None, 48, 80)
    png = np.asarray(Image.open(io.BytesIO(folder.data(image.id)[1])), int)
    assert np.abs(png - disc_sample(0).image).mean() < 8
    assert folder.upright(image.id)[1] == "image/jpeg"
