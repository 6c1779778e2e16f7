"""Guarantees of every method on every base (registry x decoder family)."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator

from batches import batch_of
from samtailor.errors import InputError
from samtailor.registry import find, names
from samtailor.segmenter import Segmenter
from samtailor.structures import Batch, Prompts

METHODS = names("methods")
VARIANTS = [
    *((name, {}) for name in METHODS),
    ("plm", {"head": "paper_plain", "supervise": "best"}),
    ("plm-pmm", {"form": "reference", "matching": "paper", "points": 32}),
    ("plm-pmm", {"matching": "cyclic", "shape_code": False}),
    ("blo-sam", {"upper": "both", "iou": "idle", "start": "random"}),
    ("blo-sam", {"hypergradient": "unrolled"}),
    *(("am-sam", {"reading": reading}) for reading in ("R2", "R3", "R4", "R5")),
    *(("am-sam", {"calibration": kind}) for kind in ("channel_weights", "none")),
    ("tailor", {"companion": "tiny"}),
    ("tailor", {"linear": True, "members": 2}),
]


ADAPTS_ENCODER = ("samed", "med-sa")


@pytest.fixture(params=VARIANTS, ids=lambda v: "-".join([v[0], *map(str, v[1].values())]))
def built(request, tiny_base, tiny_companion):
    name, options = request.param
    if "companion" in options:
        options = options | {"companion": tiny_companion}
    if name in ADAPTS_ENCODER and not any(site.startswith("encoder.") for site in tiny_base.sites):
        pytest.skip("the encoder of EdgeTAM has no place for adapters")
    torch.manual_seed(0)
    segmenter, step = find("methods", name).build(tiny_base, **options)
    return name, options, segmenter, step


def steps(segmenter: Segmenter, step, batch: Batch, count: int = 3) -> list[dict[str, float]]:
    optimizers = {name: torch.optim.AdamW(group, lr=1e-2) for name, group in segmenter.groups.items() if group}
    bound = step(segmenter.train(), optimizers, Accelerator(cpu=True))
    figures = [bound(batch, batch) for _ in range(count)] if optimizers else []
    segmenter.eval()
    return figures


def predict(segmenter: Segmenter, batch: Batch):
    with torch.no_grad():
        return segmenter(batch)


def test_starts_as_the_base_where_declared(built, tiny_base, tiny_samples):
    name, options, segmenter, _ = built
    batch = batch_of(tiny_base, tiny_samples[:2], companions=segmenter.companions)
    with torch.no_grad():
        plain = tiny_base.decode(batch.features, tiny_base.encode_prompts(batch.prompts))
    got = predict(segmenter, batch)
    same = got.logits.shape == plain.logits.shape and torch.equal(got.logits, plain.logits)
    declared = getattr(find("methods", name), "STARTS_AT_BASE", False)
    assert same == (declared and options.get("head") != "paper_plain")


def test_trains_exactly_the_declared_parameters(built, tiny_base, tiny_samples):
    _, _, segmenter, step = built
    frozen = {key: value.clone() for key, value in tiny_base.model.state_dict().items()}
    before = segmenter.learned()
    before = {key: value.clone() for key, value in before.items()}
    figures = steps(segmenter, step, batch_of(tiny_base, tiny_samples[:4], companions=segmenter.companions))
    assert all(torch.equal(value, frozen[key]) for key, value in tiny_base.model.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in tiny_base.model.parameters())
    declared = [p for group in segmenter.groups.values() for p in group]
    assert {id(p) for p in declared} == {id(p) for p in segmenter.parameters() if p.requires_grad}
    assert len({id(p) for p in declared}) == len(declared)
    moved = {key for key, value in segmenter.learned().items() if not torch.equal(value, before[key])}
    closed = ("bias_k", ".linear.weight", ".linear.bias")  # not trained by steps
    assert moved == {key for key in before if not key.endswith(closed)}  # every declared tensor is trained
    assert all(torch.isfinite(torch.tensor(f["loss"])) for f in figures)
    assert bool(figures) == bool(declared)


def test_loaded_tensors_give_the_same_predictions(built, tiny_base, tiny_samples):
    name, options, segmenter, step = built
    batch = batch_of(tiny_base, tiny_samples[:4], companions=segmenter.companions)
    steps(segmenter, step, batch)
    other = find("methods", name).build(tiny_base, **options)[0].eval()
    other.load_learned({key: value.clone() for key, value in segmenter.learned().items()})
    mine, theirs = predict(segmenter, batch), predict(other, batch)
    assert torch.equal(mine.logits, theirs.logits)
    assert torch.equal(mine.iou, theirs.iou)
    assert all(value.device.type == "cpu" and not value.requires_grad for value in segmenter.learned().values())


def test_unknown_tensors_are_refused(built):
    _, _, segmenter, _ = built
    with pytest.raises(InputError, match=r"unknown \['tokens.x"):
        segmenter.load_learned(segmenter.learned() | {"tokens.x": torch.zeros(1)})
    if learned := segmenter.learned():
        with pytest.raises(InputError, match="missing"):
            segmenter.load_learned(dict(list(learned.items())[1:]))


@pytest.mark.parametrize("prompt", ["mask-center", "mask-box"])
def test_a_batch_of_images_equals_single_images(built, tiny_base, tiny_samples, prompt):
    _, _, segmenter, step = built
    steps(segmenter, step, batch_of(tiny_base, tiny_samples[:4], companions=segmenter.companions))
    together = predict(segmenter, batch_of(tiny_base, tiny_samples[:3], prompt=prompt, companions=segmenter.companions))
    for row, sample in enumerate(tiny_samples[:3]):
        alone = predict(segmenter, batch_of(tiny_base, [sample], prompt=prompt, companions=segmenter.companions))
        torch.testing.assert_close(alone.logits[0], together.logits[row], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.iou[0], together.iou[row], atol=1e-5, rtol=1e-4)


def test_prompts_of_an_image_equal_single_prompts(built, tiny_base, tiny_samples):
    _, _, segmenter, step = built
    batch = batch_of(tiny_base, tiny_samples[:4], companions=segmenter.companions)
    steps(segmenter, step, batch)
    features, points = batch.features[:1], batch.prompts.points.transpose(0, 1)
    many = Prompts((64, 64), points=points, labels=torch.ones(points.shape[:3]).long())
    with torch.no_grad():
        together = segmenter.decode(features, many)
        for p in range(4):
            one = Prompts((64, 64), points=points[:, p : p + 1], labels=torch.ones(1, 1, 1).long())
            alone = segmenter.decode(features, one)
            torch.testing.assert_close(alone.logits[:, 0], together.logits[:, p], atol=1e-5, rtol=1e-4)


def test_candidates_are_masks_of_the_output(built, tiny_base, tiny_samples):
    name, _, segmenter, _ = built
    output = predict(segmenter, batch_of(tiny_base, tiny_samples[:2], companions=segmenter.companions))
    assert max(output.candidates) < output.logits.shape[2] == output.iou.shape[2]
    # methods that start at the base keep its three candidates, others predict a single mask
    assert output.candidates == ((1, 2, 3) if getattr(find("methods", name), "STARTS_AT_BASE", False) else (0,))


@pytest.mark.parametrize("name", METHODS)
def test_unknown_option_is_refused(tiny_base, name):
    with pytest.raises(InputError, match="has no option 'colour'"):
        find("methods", name).build(tiny_base, colour="red")


@pytest.mark.parametrize("name", METHODS)
def test_the_docstring_names_the_paper(name):
    module = find("methods", name)
    assert "arXiv" in module.__doc__
    assert module.build.__doc__
    assert isinstance(module.DEFAULTS, dict)
