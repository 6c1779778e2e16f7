"""The examples of plug-ins in the documentation work when they are in a plug-in folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samtailor import registry
from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.masks.rle import encode

PAGES = Path(__file__).parents[2] / "docs" / "plug-ins"
EXAMPLES = {
    "method": ("methods", "shift"),
    "prompt-source": ("prompts", "two-clicks"),
    "detector": ("detectors", "bright"),
    "base": ("bases", "lab-sam"),
    "baseline": ("baselines", "tiny-net"),
    "writer": ("writers", "csv-boxes"),
    "matcher": ("matchers", "brightest"),
}


@pytest.fixture
def example(tmp_path, monkeypatch):
    def example(page: str):
        kind, name = EXAMPLES[page]
        code = re.search(r"```python\n(.*?)```", (PAGES / f"{page}.md").read_text("utf-8"), re.DOTALL)[1]
        file = tmp_path / "plug-ins" / kind / f"{name.replace('-', '_')}.py"
        file.parent.mkdir(parents=True)
        file.write_text(code, encoding="utf-8")
        monkeypatch.setenv(registry.PLUGINS, str(tmp_path / "plug-ins"))
        assert name in registry.names(kind)
        return registry.find(kind, name)

    return example


@pytest.fixture
def mask():
    mask = np.zeros((60, 80), bool)
    mask[10:31, 20:51] = True
    return mask


def test_method(example, tiny_base):
    segmenter, _ = example("method").build(tiny_base, scale=2.0)
    assert [tuple(tensor.shape) for tensor in segmenter.learned().values()] == [(tiny_base.dim,)]


def test_prompt_source(example, mask):
    prompts = example("prompt-source").build(distance=4)(None, [mask, mask], None)
    assert prompts.points.tolist() == [[[[30, 20], [54, 20]]] * 2]
    assert prompts.labels.tolist() == [[[1, 0]] * 2]


def test_detector(example, mask):
    image = np.where(mask, 230, 20).astype(np.uint8)[..., None].repeat(3, axis=2)
    detector = example("detector").build()
    assert detector.detect(image).boxes.tolist() == [[20, 10, 51, 31]]
    assert len(detector.detect(image * 0)) == 0


def test_base(example):
    module = example("base")
    assert module.matches("lab-sam", None)
    assert not module.matches("facebook/sam-vit-base", "sam")


def test_baseline(example, mask):
    network = example("baseline").build(2, size=32)
    assert tuple(network.segment(np.zeros((60, 80, 3), np.uint8)).shape) == (2, 60, 80)


def test_writer(example, mask, tmp_path):
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "a.png")
    image = LabelledImage("a", tmp_path / "a.png", 60, 80, (LabelledObject("sign", encode(mask), 0.9),))
    example("writer").write(Destination(tmp_path / "out"), [image], ["sign"])
    lines = (tmp_path / "out" / "boxes.csv").read_text().split()
    assert lines == ["image,class,x0,y0,x1,y1,score", "images/a.png,sign,20,10,51,31,0.900"]
    assert (tmp_path / "out" / "images" / "a.png").is_file()


def test_matcher(example, tiny_base):
    from samtailor.predict.find import Finder
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.references import Reference, marked_images

    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 20:50] = 1
    marked = marked_images(lambda: Predictor(tiny_base), [Reference(image, mask=mask)], alike=True)
    predictor = Predictor(tiny_base)
    predictor.set_image(image)
    objects = Finder(example("matcher").build(tiny_base, marked)).objects(predictor)
    assert [one.mask.shape for one in objects] == [(60, 80)]
