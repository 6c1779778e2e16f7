"""What is read in one layout and written in another format is read back: every pair of reader and writer."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layouts import ALL, FORMATS
from samtailor import registry
from samtailor.data.dataset import open_dataset
from samtailor.data.writers import LabelledImage

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import measure_round_trips as trips
from measure_round_trips import VARIANTS, Variant

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

LOWEST = 0.98
"""Lowest IoU of an object of a format of polygons; it also stays within one pixel of the outline. Others are exact."""


def refuse(score: trips.Score, variant: Variant, pair: str) -> None:
    """Fail unless everything that the format can hold came back."""
    assert score.complete, f"{pair}: {score.back} objects of {score.expected}, {len(score.ious)} of them matched"
    lowest = min(score.ious, default=1.0)
    assert lowest == 1.0 or (not variant.exact and lowest >= LOWEST), f"{pair}: IoU {lowest}"
    assert score.beyond == 0, pair


def test_every_writer_and_every_reader_takes_part():
    assert {variant.format for variant in VARIANTS.values()} == set(registry.names("writers"))
    assert {FORMATS.get(layout, layout) for layout in ALL} == set(registry.names("formats"))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The scenes as each format returns them: folder, objects by image, samples, and the report of the writer."""
    folder = tmp_path_factory.mktemp("first")
    images = trips.scenes(folder / "images")
    truth = {trips.digest(one.source): [(o.label, o.mask) for o in one.objects] for one in images}
    made = {}
    for name, variant in VARIANTS.items():
        report = trips.written(variant, images, folder / name, trips.CLASSES)
        made[name] = (trips.back(variant, folder / name), folder / name, report)
    return truth, made


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_lost_is_counted(name, first):
    truth, made = first
    objects, _, report = made[name]
    variant = VARIANTS[name]
    refuse(trips.compared(truth, objects, variant), variant, name)
    given = sum(map(len, truth.values()))
    as_given = sum(
        any(label == other and np.array_equal(mask, one) for other, one in objects.get(key, ()))
        for key, scene in truth.items()
        for label, mask in scene
    )
    assert report.objects == given
    assert given - as_given <= report.left_out.total() + report.changed.total()
    if variant.exact and variant.holds == "objects":
        assert report.left_out.total() == report.changed.total() == 0
        assert as_given == given


@pytest.mark.parametrize("name", VARIANTS)
def test_pairs_of_formats_that_are_written(name, first, tmp_path):
    objects, folder, _ = first[1][name]
    samples = open_dataset(folder, format=VARIANTS[name].reader, **VARIANTS[name].reading)
    classes = sorted({label for scene in objects.values() for label, _ in scene})
    for other, variant in VARIANTS.items():
        trips.written(variant, trips.labeled(samples), tmp_path / other, classes)
        score = trips.compared(objects, trips.back(variant, tmp_path / other), variant)
        refuse(score, variant, f"{name} to {other}")


def apart(folder: Path, number: int, image: LabelledImage) -> LabelledImage:
    """The image with a file of its own content, by which it is known again; those of the layouts are alike."""
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (image.height, image.width, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.png")
    return replace(image, source=folder / f"{number}.png")


@pytest.mark.parametrize("layout", ALL)
def test_every_layout_is_written_in_every_format(layout, tmp_path):
    ALL[layout](tmp_path / "given")
    samples = open_dataset(tmp_path / "given")
    images = [apart(tmp_path / "images", number, one) for number, one in enumerate(trips.labeled(samples))]
    given = {trips.digest(one.source): [(o.label, o.mask) for o in one.objects] for one in images}
    assert len(given) == len(images) > 0
    classes = sorted({label for scene in given.values() for label, _ in scene})
    for other, variant in VARIANTS.items():
        trips.written(variant, images, tmp_path / other, classes)
        score = trips.compared(given, trips.back(variant, tmp_path / other), variant)
        refuse(score, variant, f"{layout} to {other}")
