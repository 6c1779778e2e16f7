"""Method `auto`: how single objects are found without a prompt."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.fitting import fit, folder
from samtailor.fitting.contest import negatives as empty
from samtailor.fitting.contest.choice import Entry
from samtailor.fitting.contest.instance_choice import InstanceEntry, on_same_images, simplest
from samtailor.fitting.contest.instances import all_instance_candidates
from samtailor.fitting.contest.instances._proposal_folds import rows_of_folds, turns
from samtailor.fitting.contest.instances.parts import candidate as parts_candidate
from samtailor.fitting.contest.instances.parts import checked as checked_parts
from samtailor.fitting.contest.instances.proposals import LearnedProposals
from samtailor.fitting.contest.negatives import MOST_JUDGED, judged_in_folds
from samtailor.fitting.contest.objects import ObjectScores, cross_fitted, parts_of
from samtailor.fitting.contest.plan_file import ContestPlan
from samtailor.fitting.contest.report.words import _objects, contest_sentences
from samtailor.fitting.contest.scoring import Scores
from samtailor.fitting.gate import Decision, Gate
from samtailor.predict.instances import predict_instances
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource
from samtailor.proposals import disk
from samtailor.structures import NOTHING, Annotation, Postprocess, Sample
from samtailor.structures.sample import Reading
from samtailor.train.config import FitConfig

SIDE = 64


def entry(name, matched, predicted=(6,) * 6):
    images = [f"i{number}" for number in range(len(matched))]
    return InstanceEntry(name, name, "", ObjectScores(images, list(matched), list(predicted), [6] * len(images)))


def test_proposals_are_taken_only_if_they_are_better_by_more_than_the_standard_error():
    parts = entry("parts", (2, 3, 2, 3, 2, 3))
    better, noisy = entry("proposals", (4, 4, 4, 5, 4, 4)), entry("proposals", (6, 0, 6, 0, 6, 0))
    assert simplest([parts, better], {}).name == "proposals"
    assert simplest([parts, noisy], {}).name == "parts"
    assert simplest([parts, entry("proposals", parts.scores.matched)], {}).name == "parts"
    assert simplest([better, parts], {}) is better
    one_group = dict.fromkeys(parts.scores.images, "g")
    assert simplest([parts, better], one_group).name == "parts"  # there is no standard error


@pytest.mark.parametrize(
    ("touching", "first"), [(0.0, "parts"), (0.09, "parts"), (0.1, "proposals"), (0.9, "proposals")]
)
def test_proposals_are_the_default_where_objects_touch(monkeypatch, touching, first):
    monkeypatch.setattr(LearnedProposals, "__post_init__", lambda self: None)
    data = SimpleNamespace(most_objects=5, touching=touching)
    made = all_instance_candidates(SimpleNamespace(data=data, classes=("x",)))
    assert [one.name for one in made] == sorted(("parts", "proposals"), key=lambda name: name != first)


def test_candidates_are_compared_on_the_images_that_both_have():
    parts, other = entry("parts", (2, 3, 2)), entry("proposals", (4, 4))
    first, second = on_same_images([parts, other])
    assert first.scores.images == second.scores.images == ["i0", "i1"]
    row = second.row(first.scores, {})
    assert (row["mean"], row["precision"], row["count_error"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 0.0)
    assert row["difference"] == pytest.approx(2 / 3 - 5 / 12)
    assert "difference" not in first.row(first.scores, {})


def test_images_without_objects_and_predictions_are_right():
    scores = ObjectScores(["a", "b"], [0, 0], [0, 2], [0, 0])
    assert (scores.f1, scores.only(["a"]).f1) == (0.0, 1.0)
    assert scores.only(["a"]).by_image == [1.0]


def test_large_images_weigh_more_than_small_ones():
    scores = ObjectScores(["a", "b"], [90, 0], [100, 2], [100, 2])
    assert scores.f1 == pytest.approx(180 / 204)
    assert np.mean(scores.by_image) == pytest.approx(scores.f1)
    rng = np.random.default_rng(0)
    annotated = rng.integers(1, 60, 40)
    many = ObjectScores([f"i{n}" for n in range(40)], (annotated * rng.uniform(0.4, 0.9, 40)).astype(int).tolist(),
                        annotated.tolist(), annotated.tolist())  # fmt: skip
    left_out = [many.only([id for id in many.images if id != one]).f1 for one in many.images]
    jackknife = np.sqrt(39 / 40 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    nothing = ObjectScores(many.images, [0] * 40, many.predicted, many.annotated)
    assert many.over(nothing, {}).error == pytest.approx(jackknife, rel=0.1)


def test_images_without_an_object_are_left_out_with_one_fold_each():
    groups = {"a": None, "b": "g", "c": None, "d": None, "e": "g", "x": None}
    blank = [Sample(name, lambda: np.zeros((4, 4, 3), np.uint8), tuple, group=one) for name, one in groups.items()]
    folds = rows_of_folds([("a", "b"), ("c", "d")], blank[:4], blank[4:])
    assert folds == [(0, 1, 4), (2, 3, 5)]  # e is of the group of b
    assert rows_of_folds([], blank[:4], blank[4:]) == []


def negatives_of(contest):
    return empty.negatives_of(
        contest.samples, contest.split, contest.classes, shots=contest.config.shots, most=len(contest.train)
    )


def test_images_of_other_classes_are_without_an_object():
    def sample(name, *labels):
        rows = tuple(Annotation.from_mask(label, np.ones((4, 4), bool)) for label in labels)
        return Sample(name, lambda: np.zeros((4, 4, 3), np.uint8), lambda: rows)

    samples = [sample("a", "x"), sample("b", "x", "y"), sample("c", "y"), sample("d", "y"), sample("test", "y"),
               sample("unmarked"), sample("empty")]  # fmt: skip
    split = Split(train=("a", "b", "c", "empty"), test=("test",), unused=("d", "unmarked"))
    contest = SimpleNamespace(samples=samples, split=split, classes=("x",), train=samples[:2] * 3)
    contest.config = SimpleNamespace(shots=None)
    assert {one.id for one in negatives_of(contest)} == {"c", "d", "empty"}
    contest.config = SimpleNamespace(shots=2)
    assert {one.id for one in negatives_of(contest)} == {"c", "empty"}
    contest.train = samples[:1]
    assert len(negatives_of(contest)) == 1


def test_images_of_classes_that_are_not_read_are_without_an_object(data_folder):
    from samtailor.data.dataset import open_dataset

    samples = open_dataset(data_folder, classes=["disc"])
    only_square = [replace(one, read_annotations=squares_alone(one)) if index > 5 else one
                   for index, one in enumerate(samples)]  # fmt: skip
    split = Split(train=tuple(one.id for one in samples[:6]))
    contest = SimpleNamespace(samples=only_square, split=split, classes=("disc",), train=samples[:6])
    contest.config = SimpleNamespace(shots=None)
    assert {one.id for one in negatives_of(contest)} == {one.id for one in samples[6:]}


def squares_alone(sample):
    """A reader of the sample without its discs; its squares are not requested."""

    def read():
        kept = Reading()
        kept.tally = sample.read_annotations().tally
        return kept

    return read


def test_the_threshold_of_a_fold_is_that_of_the_others():
    def square(x):
        mask = np.zeros((20, 40), bool)
        mask[5:15, x : x + 10] = True
        return Annotation.from_mask("", mask).rle

    one, other = square(0), square(20)
    truths = {id: [one] for id in "abc"}
    folds = [{"a": [(0.9, one), (0.3, other)]}, {"b": [(0.8, one), (0.4, other)]}, {"c": [(0.42, one)]}]
    masks, threshold = cross_fitted(folds, truths)
    assert threshold == 0.35  # the lowest of those with the best mean F1
    assert masks == {"a": [one, other], "b": [one, other], "c": []}
    assert cross_fitted([{"a": []}, {"b": []}], truths) == ({"a": [], "b": []}, 0.0)


def contest_with_false_parts(images=6):
    """A contest about two certain objects in each image, whose region has an uncertain part beside them."""
    masks = [np.zeros((20, 60), bool) for _ in range(3)]
    for number, mask in enumerate(masks):
        mask[5:15, 20 * number : 20 * number + 10] = True
    truths = tuple(Annotation.from_mask("x", mask) for mask in masks[:2])
    ids = [f"i{number}" for number in range(images)]
    train = [Sample(id, lambda: np.zeros((20, 60, 3), np.uint8), lambda: truths) for id in ids]
    rle = Annotation.from_mask("", np.logical_or.reduce(masks)).rle
    scores = Scores(ids, ["region"] * images, {"0": [0.8] * images}, 2 * images, {"0": [rle] * images},
                    {"0": [[0.95, 0.9, 0.6]] * images})  # fmt: skip
    region = Entry(None, "0", scores, 10)
    return SimpleNamespace(
        train=train, classes=("x",), folds=[tuple(ids[:3]), tuple(ids[3:])], postprocess=NOTHING,
        choice=SimpleNamespace(region=region), out=None, data=SimpleNamespace(most_objects=2), negatives=[(), ()],
    )  # fmt: skip


def test_uncertain_parts_are_left_out_where_that_is_better_on_other_images():
    contest = contest_with_false_parts()
    parts = parts_candidate(contest)
    found = parts.out_of_fold(0.0)
    assert {len(found[""][id]) for id in found[""]} == {3}
    assert {len(found["certain"][id]) for id in found["certain"]} == {2}
    assert parts.decision("certain") == {"threshold": 0.65}
    assert parts.decision("") is None


def test_the_score_of_a_part_is_the_mean_of_the_pixels_that_were_predicted():
    entry = contest_with_false_parts().choice.region
    (score, _), *_ = parts_of(entry, 0.0)["i0"]
    assert score == pytest.approx(0.95)
    wider = parts_of(entry, 0.0, Postprocess(smoothing=0.3, rectangles=True))["i0"]
    assert [round(score, 2) for score, _ in wider] == [0.95, 0.9, 0.6]


def test_images_without_an_object_stay_empty_where_their_masks_are_uncertain():
    contest = contest_with_false_parts()
    contest.data = SimpleNamespace(most_objects=1)
    mask = np.zeros((20, 60), bool)
    mask[5:15, :10] = True
    truths = (Annotation.from_mask("x", mask),)
    contest.train = [replace(one, read_annotations=lambda: truths) for one in contest.train]
    blank = [Sample(f"n{number}", lambda: np.zeros((20, 60, 3), np.uint8), tuple) for number in range(4)]
    contest.negatives = [tuple(blank[:2]), tuple(blank[2:])]
    rle = Annotation.from_mask("", mask).rle
    scores = contest.choice.region.scores
    scores.masks["0"], scores.parts["0"] = [rle] * 6, [[0.9]] * 6
    scores.empty_images, scores.empty["0"] = [one.id for one in blank], [(rle, [0.7])] * 4
    parts = parts_candidate(contest)
    masks = parts.out_of_fold(0.0)
    judged = [*contest.train, *blank]
    every, certain = (ObjectScores.of(masks[name], judged, ("x",)).to_json() for name in ("", "certain"))
    assert (every["f1"], every["empty_images"], every["empty_right"]) == (pytest.approx(0.75), 4, 0)
    assert (certain["f1"], certain["empty_right"]) == (1.0, 4)
    assert parts.decision("certain") == {"threshold": 0.75}
    outcome = {"instances": {"chosen": "parts", "rows": [certain | {"candidate": "parts", "threshold": 0.75}]}}
    lines = _objects(outcome | {"most_objects": 1, "touching": 0.0})
    assert lines == ["Of 4 images without an object, 4 stay without a mask.",
                     "Masks without a prompt with a score below 0.75 are left out."]  # fmt: skip


def test_few_images_without_an_object_are_judged_with_each_fold():
    def blank(name, group=None):
        return Sample(name, lambda: np.zeros((4, 4, 3), np.uint8), tuple, group=group)

    folds = [tuple("abcdef"), tuple("ghi")]
    negatives = [blank(f"n{number}") for number in range(20)] + [blank("x", "g")]
    made = judged_in_folds(negatives, folds, {"a": "g", **{id: id for id in "bcdefghi"}})
    assert [len(some) for some in made] == [MOST_JUDGED, 3]
    assert not {one.id for one in made[0]} & {one.id for one in made[1]}
    assert all(one.id != "x" for some in made for one in some)
    assert judged_in_folds(negatives, [], {}) == []


def test_a_plan_may_have_a_threshold_of_the_parts():
    assert checked_parts(None) is None
    assert checked_parts({"threshold": 0.7}) == {"threshold": 0.7}
    for wrong in (0.7, {}, {"threshold": 2}, {"threshold": True}):
        with pytest.raises(InputError, match=r"decisions\.parts"):
            checked_parts(wrong)


def test_the_longest_jobs_of_several_workers_come_first():
    assert turns([2, 2, 2, 1], 2) == 4
    assert turns([2, 2, 2, 1], 1) == 7


def squares(count):
    """Images with two bright squares that touch: in the region they are one part."""
    samples = []
    for number in range(count):
        image, masks = np.full((SIDE, SIDE, 3), 20, np.uint8), []
        row, column = 4 * number, 2 + number
        for start in (column, column + 28):
            mask = np.zeros((SIDE, SIDE), bool)
            mask[row : row + 28, start : start + 28] = True
            image[mask] = 200
            cv2.rectangle(image, (start, row), (start + 27, row + 27), (120, 60, 60), 2)
            masks.append(mask)
        rows = tuple(Annotation.from_mask("square", mask) for mask in masks)
        samples.append(Sample(f"s{number}", lambda image=image: image, lambda rows=rows: rows))
    return samples


def proposals_of(entries, groups):
    """The proposals, whatever they are worth."""
    return next(one for one in entries if one.name == "proposals")


def settings(out, **fields):
    fields = {"classes": ("square",), "steps": 3, "views": 1, "trackers": (), "budget": "1h"} | fields
    options = {"workers": 1, "candidates": ("tailor", "plm", "base")}
    return FitConfig(**{"method": "auto", "out": out, "device": "cpu", "options": options, "fallback": False} | fields)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, tiny_lite):
    """A contest in which the proposals are taken, whatever they are worth after a few steps: folder, result, cache."""
    made = tmp_path_factory.mktemp("contest")
    store = EmbeddingCache(made / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("samtailor.fitting.contest.instance_comparison.simplest", proposals_of)
        result = fit(settings(made / "a"), samples=squares(3), base=tiny_lite, store=store)
    return made / "a", result, store


def test_proposals_that_are_chosen_are_saved_used_and_said(fitted, tiny_lite):
    out, result, store = fitted
    plan = ContestPlan.read(out / "plan.json")
    chosen = plan.decisions["proposals"]
    assert set(chosen) == {"give", "tiles", "steps", "threshold"}
    rows = {row["candidate"]: row for row in plan.evidence["objects"]}
    assert set(rows) == {"parts", "proposals"}
    assert {"f1", "precision", "recall", "count_error", "objects"} <= set(rows["parts"])
    assert result.figures["contest"]["instances"]["chosen"] == "proposals"
    text = "\n".join(plan.explained())
    assert f"Single objects: proposals, give {chosen['give']}" in text
    assert f"objects: proposals ({chosen['steps']} steps), variant" in text
    learned = disk.load(out, tiny_lite)
    assert (learned.give, learned.tiles, learned.classes) == (chosen["give"], chosen["tiles"], ("square",))
    assert learned.figures["images"] == 3
    assert len(learned.head.members) == 1 + 3  # all images, and three folds
    predictor = Predictor(tiny_lite, {"it": artefact.load(out, tiny_lite).segmenter}, store=store)
    source = AdapterSource.of(predictor, "it", out, threshold=0.0)
    assert source.tiles == learned.tiles
    objects = predict_instances(predictor, squares(1)[0], source)
    assert {one.label for one in objects} == {"square"}


def test_each_class_has_proposals_of_its_own(tmp_path, tiny_lite, monkeypatch):
    monkeypatch.setattr("samtailor.fitting.contest.instance_comparison.simplest", proposals_of)

    def renamed(sample):
        rows = tuple(Annotation("tile", one.rle) for one in sample.annotations)
        return Sample(f"{sample.id}-tile", sample.read_image, lambda: rows)

    samples = [*squares(2), *map(renamed, squares(2))]
    config = settings(tmp_path / "a", classes=("square", "tile"), near_duplicates=False)
    fit(config, samples=samples, base=tiny_lite, store=EmbeddingCache(tmp_path / "cache"))
    for name in ("square", "tile"):
        learned = disk.load(tmp_path / "a" / name, tiny_lite)
        assert learned.classes == (name,)
        assert learned.figures["images"] == 4  # two of them are without an object of the class
        assert learned.figures["cross_fitted"][name]["negatives"] == 2


def test_a_plan_repeats_the_proposals(fitted, tmp_path, tiny_lite):
    out, _, store = fitted
    fit(settings(tmp_path / "b", plan=out / "plan.json"), samples=squares(3), base=tiny_lite, store=store)
    first, second = (disk.load(one, tiny_lite) for one in (out, tmp_path / "b"))
    assert first.thresholds == second.thresholds
    values = zip(first.head.parameters(), second.head.parameters(), strict=True)
    assert all(bool((one == other).all()) for one, other in values)
    assert ContestPlan.read(tmp_path / "b" / "plan.json").decisions["proposals"]["steps"] == first.figures["steps"]
    single = [Sample(s.id, s.read_image, lambda s=s: s.annotations[:1]) for s in squares(3)]
    with pytest.raises(InputError, match="proposals: this does not suit these data"):
        fit(settings(tmp_path / "c", plan=out / "plan.json"), samples=single, base=tiny_lite, store=store)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_second_fit_leaves_no_proposals_of_the_first(fitted, overwrite, tmp_path, tiny_lite):
    out, _, store = fitted
    copy = tmp_path / "a"
    shutil.copytree(out, copy)
    plan = json.loads((out / "plan.json").read_text())
    plan["decisions"]["proposals"] = None
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    if overwrite:
        fit(settings(copy, plan=file), samples=squares(3), base=tiny_lite, store=store, overwrite=True)
    else:  # a new adapter that is not worse takes the place of the present one
        fit(settings(tmp_path / "new", plan=file), samples=squares(3), base=tiny_lite, store=store)
        folder.move_into(tmp_path / "new", copy, settings(copy))
    assert not disk.exists(copy)
    assert not (copy / disk.TENSORS).exists()
    assert artefact.load(copy, tiny_lite).segmenter.promptless


def test_a_new_adapter_brings_its_proposals(fitted, tmp_path):
    out, _, _ = fitted
    for name in ("new", "a"):
        shutil.copytree(out, tmp_path / name)
    disk.remove(tmp_path / "a")
    folder.move_into(tmp_path / "new", tmp_path / "a", settings(tmp_path / "a"))
    assert disk.read_meta(tmp_path / "a") == disk.read_meta(out)


def test_too_little_time_is_said(tmp_path, tiny_lite, monkeypatch):
    monkeypatch.setattr("samtailor.fitting.contest.instances.proposals.SHARE", 0.0)
    result = fit(settings(tmp_path / "a"), samples=squares(2), base=tiny_lite, store=EmbeddingCache(tmp_path / "c"))
    assert not disk.exists(tmp_path / "a")
    assert ContestPlan.read(tmp_path / "a" / "plan.json").decisions["proposals"] is None
    assert any("no time to compare learned proposals" in note for note in result.figures["contest"]["notes"])


def test_a_plan_with_wrong_proposals_is_refused(tmp_path):
    file = tmp_path / "plan.json"
    for wrong in (3, {"give": "words", "tiles": 1, "steps": 2}, {"give": "boxes", "tiles": 0, "steps": 2}):
        file.write_text(json.dumps({"method": "auto", "decisions": {"proposals": wrong}}))
        with pytest.raises(InputError, match=r"decisions\.proposals"):
            ContestPlan.read(file)


def test_the_closing_words_have_both_scores():
    low = {"candidate": "parts", "title": "parts of the region", "f1": 0.4, "precision": 0.5, "recall": 0.3,
           "count_error": 4.2, "objects": 9.0}  # fmt: skip
    high = low | {"candidate": "proposals", "title": "learned proposals", "f1": 0.75, "count_error": 1.5}
    contest = {
        "images": 8, "objects": 20, "folds": 3, "spent": 50.0, "budget": 120.0, "tiling": "0", "untiled": 0.8,
        "rows": {}, "touching": 0.4, "instances": {"chosen": "proposals", "rows": [low, high]},
    }  # fmt: skip
    region = Decision("region", 20, 8, 8, "adapter", new=0.85, metric="Dice", part="cross-validated")
    text = "\n".join(contest_sentences({"contest": contest}, Gate((region,)), {}))
    assert "by learned proposals: F1 75.0 at IoU 0.5" in text
    assert "Compared for single objects: parts of the region F1 40.0, count off by 4.2." in text
    assert "propose-fit" not in text
