"""Classes that compete for a pixel: what the labels say, who gets a contested pixel, and where it is applied."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from samtailor import artefact
from samtailor.errors import InputError
from samtailor.evaluation.api import evaluate
from samtailor.fitting.contest.overlap import overlaps_of, words
from samtailor.fitting.contest.plan_file import ContestPlan
from samtailor.fitting.contest.report.class_confusion import confusion_words, write_confusion
from samtailor.labelling import find_objects
from samtailor.masks.rle import encode, to_json
from samtailor.predict.competition import compete, exclusive_pairs
from samtailor.predict.files import predict_files
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource
from samtailor.serve.adapters import Adapters
from samtailor.serve.predictions import predict_automatically
from samtailor.structures import Annotation, InferenceSpec, Sample
from samtailor.workbench import proposing
from tiny import disc_sample

PAIRS = frozenset({frozenset({"hair", "nose"})})


@dataclass(frozen=True)
class Found:
    rle: dict
    label: str
    score: float
    certainty: np.ndarray | None = None

    @property
    def area(self) -> int:
        return Annotation("", self.rle).area


def mask(top: int, left: int, height: int, width: int) -> np.ndarray:
    out = np.zeros((20, 30), bool)
    out[top : top + height, left : left + width] = True
    return out


def found(label: str, score: float, *place: int, certainty: np.ndarray | None = None) -> Found:
    return Found(encode(mask(*place)), label, score, certainty)


def sample(*objects: tuple[str, np.ndarray]) -> Sample:
    rows = tuple(Annotation.from_mask(label, one) for label, one in objects)
    return Sample("s", lambda: np.zeros((20, 30, 3), np.uint8), lambda: rows)


def test_labels_say_which_classes_compete():
    apart = sample(("hair", mask(0, 0, 10, 10)), ("nose", mask(10, 0, 4, 4)), ("face", mask(0, 0, 20, 20)))
    alone = sample(("hair", mask(0, 0, 5, 5)), ("hat", mask(10, 10, 5, 5)))
    face, hat, nose = overlaps_of("hair", [apart, alone])
    assert (nose.classes, nose.share, nose.images, nose.exclusive) == (("hair", "nose"), 0.0, 1, True)
    assert (face.share, face.exclusive) == (1.0, False)
    assert hat.exclusive
    assert overlaps_of("nose", [alone]) == []
    border = sample(("hair", mask(0, 0, 10, 10)), ("nose", mask(0, 9, 10, 10)))  # a tenth of the smaller one
    assert not overlaps_of("hair", [apart, border])[1].exclusive
    competing, shared = words("hair", [face, hat, nose])
    assert "a pixel of hair is not also hat or nose" in competing
    assert "face (100 %)" in shared


def test_a_contested_pixel_goes_to_the_class_of_higher_score():
    hair, nose = found("hair", 0.9, 0, 0, 10, 10), found("nose", 0.6, 5, 5, 10, 10)
    first, second = compete([hair, nose], PAIRS)
    assert (first, second.area) == (hair, 75)
    assert not (Annotation("", first.rle).mask & Annotation("", second.rle).mask).any()
    assert compete([nose, hair], PAIRS) == [second, first]  # the order does not matter
    assert compete([hair, nose], frozenset()) == [hair, nose]
    other = replace(nose, label="face")
    assert compete([hair, other], PAIRS) == [hair, other]
    equal = compete([replace(nose, score=0.9), hair], PAIRS)
    assert [one.area for one in equal] == [100, 75]  # of equals, the first one


def test_a_pixel_is_decided_by_its_own_probability_where_it_is_known():
    unsure = np.full((20, 30), 200, np.uint8)
    unsure[5:10, 5:10] = 130
    hair, nose = found("hair", 0.9, 0, 0, 10, 10, certainty=unsure), found("nose", 0.6, 5, 5, 10, 10)
    first, second = compete([hair, nose], PAIRS, certainty=lambda one: one.certainty)
    assert (first.area, second.area) == (75, 100)


def test_an_object_that_loses_most_of_its_pixels_is_dropped():
    hair, small = found("hair", 0.9, 0, 0, 10, 10), found("nose", 0.6, 0, 0, 10, 12)
    assert compete([hair, small], PAIRS) == [hair]
    kept = found("nose", 0.6, 0, 0, 10, 13)
    assert [one.area for one in compete([hair, kept], PAIRS)] == [100, 30]


@pytest.fixture
def two_classes(tiny_lite, tmp_path):
    """A folder with two adapters of the same map, one for each class, which therefore agree on every pixel."""
    from samtailor.methods import tailor
    from samtailor.registry import find

    def make(exclusive):
        for name in ("hair", "nose"):
            segmenter, _ = find("methods", "tailor").build(tiny_lite, **tailor.DEFAULTS["options"])
            segmenter.inference = replace(segmenter.inference, exclusive=exclusive, single_instance=False)
            meta = artefact.describe(
                segmenter.eval(), method="tailor", options=tailor.DEFAULTS["options"], classes=(name,)
            )
            artefact.save(tmp_path / "two" / name, segmenter, meta)
        return tmp_path / "two"

    return make


def shared_pixels(rles: list, labels: list) -> int:
    masks = {name: np.zeros((48, 80), bool) for name in ("hair", "nose")}
    for rle, label in zip(rles, labels, strict=True):
        masks[label] |= Annotation("", rle).mask
    return int((masks["hair"] & masks["nose"]).sum())


@pytest.mark.parametrize(("exclusive", "apart"), [((("hair", "nose"),), True), ((), False)])
def test_label_predict_serve_and_page_apply_it(tiny_lite, two_classes, tmp_path, monkeypatch, exclusive, apart):
    from PIL import Image

    folder = two_classes(exclusive)
    image = disc_sample(0).image
    # the map of an untrained adapter may be empty
    monkeypatch.setattr(
        "samtailor.predict.predictor.Predictor.decode", half_map(monkeypatch, Predictor.decode), raising=True
    )
    Image.fromarray(image).save(tmp_path / "one.png")
    loaded = Adapters(tiny_lite, 1).add("it", folder)
    assert (loaded.automatic, loaded.classes) == (True, ("hair", "nose"))
    with loaded.predictor() as predictor:
        predictor.set_image(image)
        served = predict_automatically(loaded, predictor, None)
        drawn = proposing.objects(loaded, predictor)
    assert {one.label for one in served} == ({"hair"} if apart else {"hair", "nose"})
    assert {one.class_ for one in drawn} == {one.label for one in served}
    folders = artefact.members(folder)
    several = Predictor(tiny_lite, folders)
    sources = [AdapterSource.of(several, name, one) for name, one in folders.items()]
    assert exclusive_pairs(sources) == frozenset(map(frozenset, exclusive))
    labelled = find_objects(several, sources, "one", tmp_path / "one.png").objects
    files = predict_files(several, {"one": tmp_path / "one.png"}, {}, tmp_path / "out", sources=sources)
    for rles, labels in (
        ([one.rle for one in served], [one.label for one in served]),
        ([one.rle.packed for one in drawn], [one.class_ for one in drawn]),
        ([one.rle for one in labelled], [one.label for one in labelled]),
    ):
        assert rles
        assert (shared_pixels(rles, labels) == 0) is apart
    assert len(files["annotations"]) == len(served)
    sample = relabelled(disc_sample(0), disc="hair", square="nose")
    measured = evaluate([sample], folder, tiny_lite, prompt="auto", verbose=False)
    assert measured.classes == ("hair", "nose")
    (predictions,) = [image.predictions for image in measured.images]
    accepted = [one for one in predictions if one.accepted]
    assert {one.label for one in accepted} == {one.label for one in served}
    assert (shared_pixels([one.rle for one in accepted], [one.label for one in accepted]) == 0) is apart


def relabelled(sample, **names):
    """The sample with other class names."""
    rows = tuple(replace(one, label=names[one.label]) for one in sample.annotations)
    return replace(sample, read_annotations=lambda: rows)


def half_map(monkeypatch, decode):
    """A `decode` whose map is above 0 in the left half of the image."""

    def decoded(self, prompts, adapter=None):
        output = decode(self, prompts, adapter)
        logits = output.candidate_logits()
        filled = logits.new_full(logits.shape, -3.0)
        filled[..., : logits.shape[-1] // 2] = 3.0
        monkeypatch.setattr(type(output), "candidate_logits", lambda self: filled)
        return output

    return decoded


def test_prompts_go_to_the_adapter_of_their_class(tiny_lite, two_classes):
    adapters = Adapters(tiny_lite, 1)
    loaded = adapters.add("it", two_classes(()))
    assert loaded.of_class("nose").name == "it/nose"
    assert adapters.get("it/nose") is loaded.of_class("nose")
    assert loaded.of_class("hat") is None
    assert loaded.of_class(None) is None
    adapters.remove("it")
    assert adapters.all() == []


def test_a_plan_may_name_the_pairs(tmp_path):
    spec = InferenceSpec(exclusive=[["hair", "nose"]])
    assert spec.exclusive == (("hair", "nose"),)
    file = tmp_path / "plan.json"
    decisions = {"region": None, "prompt": {"candidate": "plm", "steps": 1}}
    for pairs, right in (([["a", "b"]], True), ([], True), (["ab"], False), ([["a"]], False), ("a", False)):
        file.write_text(json.dumps({"method": "auto", "decisions": decisions | {"exclusive": pairs}}))
        if right:
            assert ContestPlan.read(file).exclusive == tuple(map(tuple, pairs))
        else:
            with pytest.raises(InputError, match="exclusive"):
                ContestPlan.read(file)
    file.write_text(json.dumps({"method": "auto", "decisions": decisions}))
    assert ContestPlan.read(file).exclusive is None


def test_the_confusion_is_of_the_out_of_fold_predictions(two_classes):
    folder = two_classes((("hair", "nose"),))
    truths = {"hair": mask(0, 0, 10, 10), "nose": mask(10, 10, 10, 10)}
    answers = {"hair": mask(0, 0, 10, 10), "nose": mask(5, 0, 10, 10)}
    for name in truths:
        row = {"id": "s", "dice": 0.5, "truth": to_json(encode(truths[name])), "rle": to_json(encode(answers[name]))}
        (folder / name / "out_of_fold.json").write_text(json.dumps({"class": name, "predictions": [row]}))
    assert confusion_words(folder) == []
    write_confusion(folder)
    (sentence,) = confusion_words(folder)
    assert "50 % of the pixels of hair as nose" in sentence
