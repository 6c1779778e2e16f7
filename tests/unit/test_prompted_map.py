"""The region map and the limit of a box in the masks of clicks and boxes, and how a contest chooses them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from batches import batch_of
from samtailor import artefact
from samtailor.adapters.boxed import within_boxes
from samtailor.adapters.tiled import LOGIT_LIMIT
from samtailor.errors import InputError
from samtailor.fitting.contest import prompt_comparison
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import Choice, Entry
from samtailor.fitting.contest.jobs import Fitted
from samtailor.fitting.contest.plan_file import ContestPlan, prompt_decisions
from samtailor.fitting.contest.prompt_comparison import compare_prompts, variants_of
from samtailor.fitting.contest.prompt_variant import PromptVariant, applied
from samtailor.fitting.contest.scoring import Scores
from samtailor.predict.batched import BatchedDecoder, PromptBatch
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.registry import find
from samtailor.structures import InferenceSpec


@pytest.fixture
def segmenter(tiny_base):
    torch.manual_seed(3)
    made = find("methods", "tailor").build(tiny_base, width=16, members=2, task="region")[0].eval()
    with torch.no_grad():
        for parameter in made.adapter("map").members.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def test_a_map_weight_adds_the_map_to_the_masks_of_its_type_of_prompt(tiny_base, tiny_samples, segmenter):
    batch = batch_of(tiny_base, tiny_samples[:2])
    segmenter.inference = applied(segmenter.inference, {"click": PromptVariant(0.0, 0.5), "box": PromptVariant()})
    with torch.no_grad():
        base = tiny_base.decode(batch.features, tiny_base.encode_prompts(batch.prompts))
        region = segmenter.adapter("map").logits(batch.features).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        torch.testing.assert_close(segmenter(batch).logits, base.logits + 0.5 * region[:, None])
        boxes = batch_of(tiny_base, tiny_samples[:2], prompt="mask-box")
        unchanged = tiny_base.decode(boxes.features, tiny_base.encode_prompts(boxes.prompts))
        assert torch.equal(segmenter(boxes).logits, unchanged.logits)
    assert segmenter.inference.base_prompts == ("box",)


def test_masks_are_negative_beyond_their_boxes_only():
    logits = torch.full((1, 2, 3, 8, 8), 5.0)
    boxes = torch.tensor([[[16.0, 24.0, 40.0, 48.0], [0.0, 0.0, 64.0, 64.0]]])
    limited = within_boxes(logits, boxes, 0.0, 64)[0]
    rows, columns = torch.nonzero(limited[0, 0] > 0).T
    # one cell of 8 px is added on each side
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (1, 5, 2, 6)
    assert torch.equal(limited[0, 0] < 0, limited[0, 0] == -LOGIT_LIMIT)
    assert torch.equal(limited[1], logits[0, 1])
    wider = within_boxes(logits, boxes, 0.5, 64)[0, 0]
    assert (wider > 0).sum() > (limited[0] > 0).sum()
    very_negative = within_boxes(-20 * torch.ones_like(logits), boxes, 0.0, 64)
    assert (very_negative == -20).all()


def test_the_limit_of_boxes_leaves_clicks_to_the_base_bit_for_bit(tiny_base, segmenter):
    segmenter.inference = applied(segmenter.inference, {"click": PromptVariant(), "box": PromptVariant(margin=0.1)})
    assert segmenter.inference.base_prompts == ("click",)
    predictor = Predictor(tiny_base, {"it": segmenter})
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8))
    click = {"point_coords": [[30, 24]]}
    pairs = zip(predictor.predict(**click, adapter="it"), predictor.predict(**click, adapter=BASE), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    masks = predictor.predict(box=[20, 10, 50, 30], adapter="it")[0]
    assert not masks[:, :, 70:].any()


def test_batches_get_the_masks_of_single_prompts_and_the_map_is_computed_once(tiny_base, segmenter, monkeypatch):
    variants = {"click": PromptVariant(0.0, 1.0), "box": PromptVariant(0.0, 0.5, 0.1)}
    segmenter.inference = applied(segmenter.inference, variants)
    calls, original = [], segmenter.adapter("map").logits
    monkeypatch.setattr(segmenter.adapter("map"), "logits", lambda features: calls.append(1) or original(features))
    predictor = Predictor(tiny_base, {"it": segmenter})
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8))
    boxes = tuple(ObjectPrompt(box=(float(x), 8.0, x + 20.0, 40.0)) for x in range(0, 60, 2))
    clicks = tuple(ObjectPrompt(clicks=((float(x), 20.0, 1),)) for x in range(0, 80, 2))
    decoder = BatchedDecoder(tiny_base, {"it": segmenter})
    monkeypatch.setattr(decoder._decode, "prompts_per_pass", lambda device: 16)  # batches are divided
    made = decoder.predict(predictor, [PromptBatch("it", boxes), PromptBatch("it", clicks)])
    for prompts, best in zip((boxes, clicks), made, strict=True):
        for row, one in enumerate(prompts):
            given = {"box": one.box} if one.box else {"point_coords": [one.clicks[0][:2]]}
            _, scores, lows = predictor.predict(**given, adapter="it", return_logits=True)
            np.testing.assert_allclose(best.logits[row].numpy(), lows[scores.argmax()], atol=1e-3)
    assert len(calls) == 1
    predictor.set_image(np.zeros((48, 80, 3), np.uint8))
    predictor.predict(box=[20, 10, 50, 30], adapter="it")
    assert len(calls) == 2


@pytest.mark.parametrize("fields", [{"map_weight": {"click": -1}}, {"map_weight": {"region": 1}}, {"box_margin": -0.1}])
def test_weights_and_margins_that_mean_nothing_are_refused(fields):
    with pytest.raises(InputError, match="0 or more"):
        InferenceSpec(**fields)


def test_variants_have_names_that_are_read_back_and_survive_in_a_plan():
    for way in ("click", "box"):
        for one in variants_of(way, (0.0, 0.25), True):
            assert PromptVariant.of(one.name) == one
    made = {"click": PromptVariant(0.5, 2.0), "box": PromptVariant(0.0, 0.25, 0.1)}
    assert ContestPlan(decisions=prompt_decisions(made)).prompts == made
    for name, wrong in (("map_weight", {"click": -1}), ("map_weight", [1]), ("box_margin", "wide")):
        with pytest.raises(InputError, match=name):
            _ = ContestPlan(decisions={name: wrong}).prompts


REGION = Candidate("tailor", "region map", ("region",), 2, "tailor", 10)
PLM = Candidate("plm", "prompt learning module", ("click", "box"), 1, "plm", 10)
LOW, HIGH = [0.5, 0.52, 0.48, 0.51, 0.5, 0.49], [0.8, 0.82, 0.78, 0.81, 0.8, 0.79]


def contest_with(monkeypatch, values, *, fallback=True):
    """A contest whose comparison has these scores for clicks; boxes are as good with everything."""
    ids = [f"i{number}" for number in range(6)]

    def scored(by_name):
        return Scores(list(ids), ["disc"] * 6, {name: list(row) for name, row in by_name.items()}, 6)

    box = {one.name: LOW for one in variants_of("box", (0.0, 1.0), True)}
    monkeypatch.setattr(
        prompt_comparison,
        "run_jobs",
        lambda contest, function, jobs: [Fitted(jobs[0].region, {"click": scored(values), "box": scored(box)})],
    )
    plm = {way: Entry(PLM, "1", scored({"1": LOW, "0": LOW}), 10) for way in ("click", "box")}
    region = Entry(REGION, "0", scored({"0": HIGH}), 10)
    choice = Choice(region=region, entries={**plm, "region": region}, table={"click": [], "box": []},
                    prompts={"click": PromptVariant(), "box": PromptVariant()})  # fmt: skip
    return SimpleNamespace(
        choice=choice, folds=[tuple(ids)], train=[SimpleNamespace(id=id) for id in ids], classes=("disc",), groups={},
        variant=SimpleNamespace(offset=0.0), fold_folder=lambda *of: None,
        config=SimpleNamespace(seed=0, fallback=fallback),
    )  # fmt: skip


def test_a_contest_takes_the_map_where_it_is_better_and_the_prompt_adapter_only_if_it_adds_more(monkeypatch):
    names = [one.name for one in variants_of("click", (0.0, 1.0), True)]
    better = {name: [value + 0.1 for value in LOW] if name == "0+map0.5" else LOW for name in names}
    contest = contest_with(monkeypatch, better)
    compare_prompts(contest)
    assert contest.choice.prompts == {"click": PromptVariant(0.0, 0.5), "box": PromptVariant()}
    assert contest.choice.prompt is None
    assert [(one.way, one.answers) for one in contest.choice.decisions] == [("click", "adapter")]
    assert contest.choice.table["click"][-1]["title"] == "base model with the region map"

    contest = contest_with(monkeypatch, better | {"1+map1": HIGH})
    compare_prompts(contest)
    assert (contest.choice.prompts["click"], contest.choice.prompt) == (PromptVariant(1.0, 1.0), PLM)
    assert contest.choice.prompt_steps == 10


def test_a_contest_keeps_the_base_where_the_map_is_not_better_by_enough(monkeypatch):
    names = [one.name for one in variants_of("click", (0.0, 1.0), True)]
    for values in (
        {name: LOW for name in names},
        {name: LOW if name == "0" else [value + 0.005 for value in LOW] for name in names},
        {name: LOW if name == "0" else [0.9, 0.1, 0.9, 0.1, 0.9, 0.3] for name in names},
    ):
        contest = contest_with(monkeypatch, values)
        compare_prompts(contest)
        assert contest.choice.prompts["click"] == PromptVariant()
        assert contest.choice.entries["click"].candidate is PLM


def test_an_adapter_with_the_map_in_its_prompts_is_saved_and_read(segmenter, tmp_path):
    variants = {"click": PromptVariant(0.0, 0.5), "box": PromptVariant(0.0, 0.0, 0.1)}
    segmenter.inference = applied(segmenter.inference, variants)
    described = artefact.describe(segmenter, method="tailor", options={"width": 16, "members": 2}, classes=("disc",))
    artefact.save(tmp_path / "a", segmenter, described)
    read = artefact.read_meta(tmp_path / "a").inference
    assert (read.map_weight, read.box_margin, read.base_prompts) == ({"click": 0.5}, 0.1, ())
    assert read == segmenter.inference
