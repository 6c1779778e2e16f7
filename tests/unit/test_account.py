"""Nothing silent: images and annotations in the files are read or left out with a reason, and the sums agree.

Every layout is written, damaged in every way of `FAULTS`, and checked. A new layout joins by its writer.
"""

import os

import numpy as np
import pytest
from PIL import Image

from layouts import ALL, WRITERS, blob, photo, save
from samtailor.data.check import check
from samtailor.data.dataset import open_dataset
from samtailor.structures import Account, LeftOut, Tally

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def first(samples):
    return next(sample for sample in samples if sample.annotations and sample.source)


def another_image(samples):
    source = first(samples).source
    photo(source.with_name(f"{'alone' + source.stem}{source.suffix}"))


def missing_image(samples):
    first(samples).source.unlink()


def broken_image(samples):
    first(samples).source.write_bytes(b"broken")


def empty_image(samples):
    first(samples).source.write_bytes(b"")


def pipe(samples):
    source = first(samples).source
    os.mkfifo(source.with_name(f"pipe{source.suffix}"))


def foreign_name(samples):
    source = first(samples).source
    name = os.path.join(os.fsencode(source.parent), b"caf\xe9" + os.fsencode(source.suffix))
    try:
        with open(name, "wb") as file:
            file.write(source.read_bytes())
    except OSError:
        pytest.skip("the file system has only UTF-8 names")


def link_circle(samples):
    folder = first(samples).source.parent
    (folder / "again").symlink_to(folder, target_is_directory=True)


FAULTS = {
    "none": lambda samples: None,
    "another image": another_image,
    "missing image": missing_image,
    "broken image": broken_image,
    "empty image": empty_image,
    "pipe": pipe,
    "foreign name": foreign_name,
    "link circle": link_circle,
}


def reasons(tally):
    assert all(entry.kind and entry.count > 0 and entry.example for entry in tally.left_out)
    return {entry.kind: entry.count for entry in tally.left_out}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("layout", ALL)
def test_the_sums_agree(layout, fault, tmp_path):
    ALL[layout](tmp_path)
    samples = open_dataset(tmp_path)
    before = samples.account()
    name, lost = first(samples).id, first(samples).tally
    FAULTS[fault](samples)
    report = check(tmp_path)
    account = report.account
    if any(finding.kind == "refused" for finding in report.findings):
        assert fault in ("another image", "missing image")  # a layout may insist on pairs, in words
        return
    assert account.agrees, account
    images, annotations = reasons(account.images), reasons(account.annotations)
    left_out = {
        kind for kind in images | annotations if kind not in reasons(before.images) | reasons(before.annotations)
    }
    listed = {finding.kind for finding in report.findings}
    assert left_out <= listed, "what is left out is a finding"
    if fault in ("none", "link circle"):
        assert account.objects == before.objects
        assert (account.images.total, account.annotations.total) == (before.images.total, before.annotations.total)
    if fault == "another image":
        assert account.images.total == before.images.total + 1
        assert account.objects == before.objects
    if fault == "missing image":
        assert account.images.read == before.images.read - 1
        assert account.annotations.total == before.annotations.total
        assert account.annotations.read == before.annotations.read - lost.read
    if fault in ("broken image", "empty image"):
        assert account.images.total == before.images.total
        assert account.images.read == before.images.read - 1
        assert images["unreadable"] == 1
        assert any(name.rpartition("/")[2] in f.examples[0] for f in report.findings if f.kind == "unreadable")
    if fault in ("pipe", "foreign name"):
        assert account.objects == before.objects
        assert account.images.total == before.images.total + 1
        assert {"no regular file", "name not UTF-8"} & set(images)


@pytest.mark.parametrize("layout", ALL)
def test_classes_that_are_not_requested_are_counted(layout, tmp_path):
    ALL[layout](tmp_path)
    before = open_dataset(tmp_path)
    names = sorted({a.label for sample in before for a in sample.annotations})
    if len(names) < 2:
        pytest.skip("one class")
    one, whole = open_dataset(tmp_path, classes=names[:1]).account(), before.account()
    assert one.agrees
    assert one.annotations.total == whole.annotations.total
    assert reasons(one.annotations)["class not requested"] > 0
    assert one.objects < whole.objects


def test_unlabeled_images_are_skipped_or_negative(tmp_path):
    WRITERS["folder"](tmp_path)
    photo(tmp_path / "images/alone.jpg")
    assert "unlabeled=negative" in open_dataset(tmp_path).account().images.left_out[0].example
    samples = open_dataset(tmp_path, unlabeled="negative")
    assert [(s.id, len(s.annotations)) for s in samples] == [("1", 1), ("2", 1), ("10", 1), ("alone", 0)]
    assert samples.account().images.left_out == ()
    assert {f.kind for f in check(tmp_path, unlabeled="negative").findings} >= {"negative"}


def test_pages_are_named(tmp_path):
    WRITERS["folder"](tmp_path)
    pages = [Image.fromarray(np.zeros((24, 36), np.uint8) + k) for k in (1, 1, 1)]
    pages[0].save(tmp_path / "images/3.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "masks/3.tif", save_all=True, append_images=pages[1:])
    account = check(tmp_path).account
    assert account.agrees
    assert reasons(account.images) == {"further page": 2}
    assert reasons(account.annotations) == {"further page": 2}


def test_an_account_that_does_not_agree_says_so():
    good = Tally(3, 2, (LeftOut("empty mask", 1, "x"),))
    assert Account(good, good).agrees
    assert not Account(good, Tally(3, 2)).agrees
    assert Account(good, good).to_json()["images"] == {
        "found": 3,
        "read": 2,
        "left_out": [{"kind": "empty mask", "count": 1, "example": "x"}],
    }


def test_an_empty_mask_is_left_out(tmp_path):
    WRITERS["folder"](tmp_path)
    save(tmp_path / "masks/2.png", np.zeros_like(blob(2), np.uint8))
    account = open_dataset(tmp_path).account()
    assert (account.annotations.total, account.annotations.read) == (3, 2)
    assert reasons(account.annotations) == {"empty mask": 1}
