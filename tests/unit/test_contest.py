"""Method `auto`: candidates, folds, choice, and the adapter that a contest writes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pickle import PicklingError

import numpy as np
import pytest

from samtailor import artefact
from samtailor.artefact import members
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import Split
from samtailor.errors import DataError, InputError
from samtailor.fitting import fit
from samtailor.fitting.contest.budget import Budget, seconds, total_seconds
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import Entry, choose, survivors
from samtailor.fitting.contest.classes import per_class
from samtailor.fitting.contest.cross_validation import folds_of
from samtailor.fitting.contest.fingerprint import fingerprint
from samtailor.fitting.contest.objects import ObjectScores, kept, parts_of
from samtailor.fitting.contest.plan_file import ContestPlan
from samtailor.fitting.contest.report.forecast import NOISE, PRIOR, SPREAD, combined, forecasts
from samtailor.fitting.contest.report.words import contest_sentences
from samtailor.fitting.contest.scoring import Scores
from samtailor.fitting.gate import Decision, Gate, gate_of
from samtailor.fitting.pool import Pool
from samtailor.fitting.select_inference import PLANS
from samtailor.structures import Annotation, Sample
from samtailor.train.config import FitConfig
from samtailor.train.interrupt import Interrupted


def settings(tmp_path, **fields):
    fields = {"classes": ("disc",), "steps": 3, "views": 2, "trackers": (), "budget": "20s"} | fields
    return FitConfig(**{"method": "auto", "out": tmp_path / "a", "device": "cpu"} | fields)


def test_without_a_budget_each_of_many_classes_gets_a_minute():
    assert total_seconds(None) == total_seconds(None, 2) == 120
    assert total_seconds(None, 5) == 300
    assert total_seconds("90s", 5) == 90
    config = per_class(FitConfig(method="auto"), [f"class {number}" for number in range(59)])
    assert config.per_class
    assert config.budget == "60s"


def test_a_budget_is_read_and_anything_else_refused():
    assert [seconds(text) for text in ("30s", "2m", "1.5 M", "1h")] == [30, 120, 90, 3600]
    for wrong in ("2", "m", "0s", "-3s", "2 days"):
        with pytest.raises(InputError, match="30s, 2m or 1h"):
            seconds(wrong)
    assert Budget(0.0, clock="cpu").left == 0


def test_a_contest_writes_one_adapter_and_its_plan(tmp_path, tiny_lite, tiny_samples):
    store = EmbeddingCache(tmp_path / "cache")
    result = fit(settings(tmp_path), samples=tiny_samples[:5], base=tiny_lite, store=store)
    loaded = artefact.load(tmp_path / "a", tiny_lite)
    assert loaded.meta.method == "tailor"
    assert loaded.segmenter.promptless
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert plan["complete"]
    assert plan["decisions"]["region"]["candidate"] == "tailor"
    # a third row, of the candidate whose map is added, only where that is better
    assert {row["candidate"] for row in plan["evidence"]["click"]} - {"tailor"} == {"base", "plm"}
    assert "tailor" in {row["candidate"] for row in plan["evidence"]["region"]}
    decisions = {one["way"]: one for one in result.figures["comparison"]["decisions"]}
    assert set(decisions) == {"click", "box", "region"}
    assert decisions["click"]["objects"] == 5
    assert not (tmp_path / "a" / "contest").exists()
    assert loaded.meta.inference == result.inference


def test_training_images_without_a_mask_of_the_class_are_refused(tmp_path, tiny_lite, tiny_samples):
    split = Split(train=tuple(sample.id for sample in tiny_samples[:4]))
    with pytest.raises(DataError, match="none of 4 training images has a mask of moon"):
        fit(settings(tmp_path, classes=("moon",)), samples=tiny_samples[:4], base=tiny_lite, split=split,
            store=EmbeddingCache(tmp_path / "cache"))  # fmt: skip
    assert not (tmp_path / "a").exists()


def test_a_plan_is_repeated_without_a_contest_and_can_be_edited(tmp_path, tiny_lite, tiny_samples):
    store = EmbeddingCache(tmp_path / "cache")
    plan = {
        "schema_version": 1,
        "method": "auto",
        "decisions": {
            "region": {"candidate": "tailor", "steps": 2, "tiling": 3, "postprocess": {"fill_holes": 1.0}},
            "prompt": {"candidate": "plm", "steps": 1},
            "strength": {"click": 0.5, "box": 0},
            "map_weight": {"click": 0, "box": 0.25},
            "box_margin": 0.1,
            "views": 1,
        },
    }
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    result = fit(settings(tmp_path, plan=file), samples=tiny_samples[:3], base=tiny_lite, store=store)
    assert result.inference.strength == {"click": 0.5, "box": 0.0}
    assert result.inference.map_weight == {"box": 0.25}
    assert result.inference.box_margin == 0.1
    assert result.inference.tiling == PLANS[3]
    assert result.inference.postprocess["region"].fill_holes == 1
    for part, wrong in (("region", {"candidate": "tailor", "steps": 0}), ("prompt", 3), ("strength", {"click": 2})):
        file.write_text(json.dumps({**plan, "decisions": {**plan["decisions"], part: wrong}}))
        with pytest.raises(InputError, match=part):
            fit(
                settings(tmp_path, plan=file, out=tmp_path / "b"), samples=tiny_samples[:3], base=tiny_lite, store=store
            )


def test_a_stopped_contest_keeps_the_first_adapter(tmp_path, tiny_lite, tiny_samples):
    seen = []

    def stop():
        return (tmp_path / "a" / "adapter.json").exists() and not seen.append(1) and len(seen) > 2

    with pytest.raises(Interrupted, match="best adapter so far"):
        fit(settings(tmp_path, steps=50, options={"candidates": ("tailor", "base")}), samples=tiny_samples[:3],
            base=tiny_lite, store=EmbeddingCache(tmp_path / "cache"), stop=stop)  # fmt: skip
    assert artefact.load(tmp_path / "a", tiny_lite).segmenter.promptless
    plan = ContestPlan.read(tmp_path / "a" / "plan.json")
    assert not plan.complete
    assert "stopped before its end" in plan.explained()[-1]


def test_settings_that_do_not_fit_the_method_are_refused(tmp_path, tiny_lite, tiny_samples):
    for fields, words in (
        ({"method": "plm", "budget": "2m"}, "budget is a setting of the method auto"),
        ({"method": "auto", "lr": 1e-4}, "lr is a setting of a single method"),
        ({"method": "auto", "budget": "soon"}, "30s, 2m or 1h"),
        ({"method": "auto", "options": {"candidates": ("nobody",)}}, "nobody"),
        ({"method": "auto", "options": {"width": 32}}, "no option 'width'"),
        ({"method": "auto", "options": {"workers": 0}}, "workers must be an integer of at least 1"),
    ):
        config = FitConfig(**{"out": tmp_path / "a", "classes": ("disc",), "trackers": (), **fields})
        with pytest.raises(InputError, match=words):
            fit(config, samples=tiny_samples, base=tiny_lite, store=EmbeddingCache(tmp_path / "c"))
    assert not (tmp_path / "a" / "adapter.json").exists()


def scores(values, label="a"):
    rows = [f"i{number}" for number in range(len(next(iter(values.values()))))]
    return Scores(rows, [label] * len(rows), {name: list(row) for name, row in values.items()}, len(rows))


GOOD, MIXED = [0.8, 0.82, 0.78, 0.81, 0.8, 0.79], [0.9, 0.3, 0.8, 0.4, 0.9, 0.5]


def test_the_adapter_answers_only_where_it_is_better_by_more_than_the_standard_error():
    plm = Candidate("plm", "plm", ("click", "box"), 1, "plm", 10)
    base = [0.7, 0.71, 0.7, 0.7, 0.69, 0.7]
    rows = [(plm, 10, {"click": scores({"1": GOOD, "0": base}), "box": scores({"1": MIXED, "0": base})})]
    choice = choose(rows, {})
    assert (choice.strength, choice.prompt) == ({"click": 1.0, "box": 0.0}, plm)
    assert choose([(plm, 10, {"box": rows[0][2]["box"]})], {}).prompt is None
    half = {"1": GOOD, "0.5": [value + 0.02 for value in GOOD], "0": base}
    assert choose([(plm, 10, {"click": scores(half)})], {}).strength["click"] == 0.5


def test_ties_between_regions_go_to_the_simpler_candidate():
    simple, other = (Candidate(name, name, ("region",), rank, "tailor", 10) for rank, name in ((2, "a"), (3, "b")))
    noise = [a + d for a, d in zip(GOOD, [0.05, -0.05, 0.06, -0.05, 0.04, -0.04], strict=True)]
    better = [value + 0.05 for value in GOOD]
    for values, wanted in ((noise, simple), (better, other)):
        rows = [(simple, 5, {"region": scores({"0": GOOD})}), (other, 5, {"region": scores({"0": values})})]
        assert choose(rows, {}).region.candidate is wanted
    assert survivors(rows, {}) == [other]


def test_folds_keep_groups_together():
    groups = {"a": "a", "b": "a", "c": "c", "d": "d", "e": "e", "f": "f"}
    folds = folds_of("abcdef", groups, 0)
    assert sorted(id for fold in folds for id in fold) == list("abcdef")
    assert len(folds) == 3
    assert any({"a", "b"} <= set(fold) for fold in folds)
    assert len(folds_of("cde", groups, 0)) == 3
    assert folds_of("ab", groups, 0) == []
    assert sorted(map(len, folds_of("cdef", groups, 0, count=2))) == [2, 2]


def test_a_forecast_follows_the_power_law_and_its_prior():
    sizes = (16.0, 64.0)
    fewer = {f"i{n}": 1 - 0.4 for n in range(40)}
    more = {f"i{n}": 1 - 0.4 * 4**-0.5 for n in range(40)}  # exponent 0.5; all images are alike
    rows = forecasts(fewer, more, sizes, 64)
    assert [row.masks for row in rows] == [8, 16]
    exponent, _ = combined(0.5, NOISE / math.log(4))
    assert PRIOR < exponent < 0.5
    assert rows[0].gain == pytest.approx(0.2 * (1 - (64 / 72) ** exponent), abs=1e-4)
    assert rows[0].error > 0.2 * (64 / 72) ** exponent * NOISE
    assert rows[1].gain > rows[0].gain > 0
    assert forecasts({"i0": 0.5}, {"i0": 0.6}, sizes, 64) == []
    mean, spread = combined(5.0, 1e3)
    assert mean == pytest.approx(PRIOR, abs=1e-3)
    assert spread == pytest.approx(SPREAD, abs=1e-3)


def test_the_fingerprint_counts_touching_objects():
    left, right, alone = (np.zeros((20, 30), bool) for _ in range(3))
    left[2:6, 2:6], right[2:6, 6:9], alone[15:18, 20:23] = True, True, True
    rows = tuple(Annotation.from_mask("a", mask) for mask in (left, right, alone))
    sample = Sample("s", lambda: np.zeros((20, 30, 3), np.uint8), lambda: rows)
    made = fingerprint([sample], ("a",), Split(train=("s",)), encode_seconds=0.1, cores=2)
    assert (made.objects, made.touching, made.boxes, made.most_objects) == (3, 0.6667, 1.0, 3)
    assert made.image_sizes == (20, 30)


def test_each_class_has_a_contest_of_its_own_if_the_budget_allows(tmp_path, tiny_lite, tiny_samples):
    store = EmbeddingCache(tmp_path / "cache")
    short = {"classes": ("disc", "square"), "steps": 1, "views": 1, "options": {"workers": 1}}
    result = fit(settings(tmp_path, budget="60s", **short), samples=tiny_samples[:2], base=tiny_lite, store=store)
    assert list(result.parts) == ["disc", "square"]
    assert set(members(tmp_path / "a")) == {"disc", "square"}
    joint = fit(settings(tmp_path, out=tmp_path / "b", budget="20s", **short), samples=tiny_samples[:2],
                base=tiny_lite, store=store)  # fmt: skip
    assert (joint.parts, artefact.read_meta(tmp_path / "b").classes) == ({}, ("disc", "square"))


def test_contests_of_several_classes_may_use_processes_too(tmp_path, base_folder, tiny_samples, monkeypatch):
    """The base is loaded once for all classes, and still has a name that processes can load it by."""
    from samtailor.fitting import contest

    asked = []
    monkeypatch.setattr(contest, "processes", lambda config, seconds, by_name: asked.append(by_name) or 1)
    short = {"classes": ("disc", "square"), "steps": 1, "views": 1, "budget": "60s", "base": str(base_folder)}
    fit(settings(tmp_path, **short), samples=tiny_samples[:2], store=EmbeddingCache(tmp_path / "cache"))
    assert asked == [True, True]


def test_images_that_cannot_be_sent_are_fitted_in_one_process(tmp_path, base_folder, tiny_samples):
    local = [Sample(s.id, lambda s=s: s.image, lambda s=s: s.annotations) for s in tiny_samples[:2]]
    short = {"steps": 1, "views": 1, "base": str(base_folder), "options": {"workers": 2}}
    fit(settings(tmp_path, **short), samples=local, store=EmbeddingCache(tmp_path / "cache"))
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert plan["budget"]["workers"] == 1
    assert any("cannot be sent" in note for note in plan["notes"])


def test_what_cannot_be_sent_to_a_process_is_an_error_and_the_pool_ends(tmp_path):
    with (
        pytest.raises((AttributeError, TypeError, PicklingError)),
        Pool(None, EmbeddingCache(tmp_path), workers=2) as pool,
    ):
        pool.submit(lambda context: None).result()


def test_a_stop_names_the_classes_without_an_adapter(tmp_path, tiny_lite, tiny_samples):
    short = {"classes": ("disc", "square"), "steps": 1, "views": 1, "budget": "60s", "options": {"workers": 1}}
    with pytest.raises(Interrupted, match="There is no adapter for square yet; --resume goes on"):
        fit(settings(tmp_path, **short), samples=tiny_samples[:2], base=tiny_lite, stop=lambda: True,
            store=EmbeddingCache(tmp_path / "cache"))  # fmt: skip


@pytest.mark.slow
def test_processes_share_the_work_of_a_plain_script(tmp_path, base_folder, data_folder):
    """Without `if __name__ == "__main__":`, which a spawned process would otherwise need."""
    script = tmp_path / "script.py"
    settings = f"classes=['disc'], base={str(base_folder)!r}, steps=2, views=1, budget='60s', options={{'workers': 2}}"
    script.write_text(f"import samtailor\nsamtailor.fit({str(data_folder)!r}, 'a', trackers=(), shots=4, {settings})\n")
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True)
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert plan["complete"]
    assert plan["budget"]["workers"] == 2


def test_a_second_contest_is_compared_with_the_adapter_in_use(tmp_path, tiny_lite, tiny_samples):
    store = EmbeddingCache(tmp_path / "cache")
    fit(settings(tmp_path, views=1), samples=tiny_samples[:2], base=tiny_lite, store=store)
    result = fit(settings(tmp_path, views=1), samples=tiny_samples[:8], base=tiny_lite, store=store)
    gate = gate_of(result.figures)
    compared = {one.way: one.over_present for one in gate.decisions}
    assert {way: one.objects for way, one in compared.items()} == {"click": 6, "box": 6, "region": 6}
    assert gate.replaces is (result.kept is None)
    assert (tmp_path / ("a" if gate.replaces else "a.new") / "plan.json").is_file()
    assert (tmp_path / "a.new").exists() is not gate.replaces


def test_parts_of_a_region_are_compared_with_the_objects():
    left, right, alone = (np.zeros((20, 30), bool) for _ in range(3))
    left[2:6, 2:6], right[2:6, 6:10], alone[12:18, 20:26] = True, True, True
    rows = tuple(Annotation.from_mask("a", mask) for mask in (left, right, alone))
    sample = Sample("s", lambda: np.zeros((20, 30, 3), np.uint8), lambda: rows)
    region = Annotation.from_mask("", left | right | alone).rle  # the two that touch are one part
    entry = Entry(
        Candidate("a", "a", ("region",), 1),
        "0",
        Scores(["s"], ["region"], {"0": [1.0]}, 3, {"0": [region]}, {"0": [[0.9, 0.8]]}),
        1,
    )
    masks = {id: kept(rows, 0.0) for id, rows in parts_of(entry, 0.0).items()}
    assert ObjectScores.of(masks, [sample], ("a",)).to_json() == pytest.approx(
        {"f1": 2 / 5, "precision": 1 / 2, "recall": 1 / 3, "count_error": 1.0, "objects": 3.0}
    )


def test_the_outcome_in_words():
    contest = {
        "images": 8, "objects": 20, "folds": 3, "spent": 50.0, "budget": 120.0, "tiling": "3", "untiled": 0.8,
        "rows": {"click": [{"title": "base model", "mean": 0.7}, {"title": "plm", "mean": 0.8}]},
        "touching": 0.4,
        "instances": {"chosen": "parts", "rows": [
            {"candidate": "parts", "f1": 0.5, "count_error": 1.25, "objects": 2.5, "threshold": 0.8}]},
        "worst": [("x", 0.12)], "suggested": ["y"], "notes": ["A note."],
        "forecast": {"metric": "Dice", "rows": [{"masks": 8, "gain": 0.021, "error": 0.01}]},
    }  # fmt: skip
    region = Decision(
        "region", 20, 8, 8, "adapter", new=0.85, interval=(0.8, 0.9), metric="Dice", part="cross-validated"
    )
    lines = contest_sentences({"contest": contest}, Gate((region,)), {})
    text = "\n".join(lines)
    assert lines[0] == "Cross-validated on 8 images with 20 objects, in 3 folds (50 s of 120 s)."
    assert "Dice 85.0 (8 cross-validated images with 20 objects, 95 % interval 80.0 to 90.0), by" in text
    assert "Compared for clicks: base model 70.0, plm 80.0." in text
    assert "the count is off by 1.2 of 2.5 objects per image. 40 % of the objects touch" in text
    assert "Masks without a prompt with a score below 0.80 are left out." in text
    assert "x (Dice 12). Check their masks in worst.png" in text
    assert "8 more masks +2.1 ± 1.0" in text
    assert text.endswith("Mark next: y (the adapter is least certain of them).\nA note.")
