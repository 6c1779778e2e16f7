"""The bi-level step against exact double back-propagation, D1 and D2, and whole fits with two levels."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from batches import batch_of
from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.evaluation.masks import evaluate, evaluate_many
from samtailor.fitting import fit
from samtailor.registry import find
from samtailor.train import loop
from samtailor.train.bilevel import Bilevel, update_slope
from samtailor.train.bilevel_split import bilevel_split, second_seed
from samtailor.train.config import FitConfig, load, resolve
from samtailor.train.interrupt import Interrupted

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
RATE, BETAS, EPS, DECAY = 5e-2, (0.9, 0.999), 1e-8, 0.1


class Problem(nn.Module):
    """Seven weights, three numbers above them; double precision."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.lower = nn.Parameter(torch.randn(7, generator=generator, dtype=torch.double))
        self.upper = nn.Parameter(torch.randn(3, generator=generator, dtype=torch.double))
        self.mix = torch.randn(7, 3, generator=generator, dtype=torch.double)

    def loss(self, w, a, data):
        return (torch.sin(w * (self.mix @ a)) - data).square().sum() + (w * data).tanh().sum() * a.square().sum()


class Small(Bilevel):
    """The step on that problem instead of on images."""

    def losses(self, batch):
        model = self.segmenter
        return {"loss": model.loss(model.lower, model.upper, batch)}


def data(seed: int) -> torch.Tensor:
    return torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def optimizers(model: Problem, kind: str = "adamw") -> dict[str, torch.optim.Optimizer]:
    if kind == "sgd":
        lower = torch.optim.SGD([model.lower], lr=RATE)
    else:
        lower = torch.optim.AdamW([model.lower], lr=RATE, betas=BETAS, eps=EPS, weight_decay=DECAY)
    return {"lower": lower, "upper": torch.optim.SGD([model.upper], lr=0.0)}


def upper_gradients(step: Small) -> list[torch.Tensor]:
    """Gradients at each step of the upper optimizer."""
    gradients = []
    step.optimizers["upper"].register_step_pre_hook(lambda *a: gradients.append(step.segmenter.upper.grad.clone()))
    return gradients


def exact(model: Problem, moments, t: int, train, held_out):
    """Hypergradient and direct gradient by autograd through AdamW's update, written out; and the new moments."""
    w, a = model.lower.detach().requires_grad_(), model.upper.detach().requires_grad_()
    (g,) = torch.autograd.grad(model.loss(w, a, train), w, create_graph=True)
    m = BETAS[0] * moments[0] + (1 - BETAS[0]) * g
    v = BETAS[1] * moments[1] + (1 - BETAS[1]) * g.square()
    root = (v / (1 - BETAS[1] ** t)).sqrt()
    after = w * (1 - RATE * DECAY) - RATE * m / (1 - BETAS[0] ** t) / (root + EPS)
    loss = model.loss(after, a, held_out)
    (whole,) = torch.autograd.grad(loss, a, retain_graph=True)
    direct_w = after.detach().requires_grad_()
    direct, pull = torch.autograd.grad(model.loss(direct_w, a, held_out), (a, direct_w))
    (plain,) = torch.autograd.grad(g, a, grad_outputs=-RATE * pull)
    return whole, direct, direct + plain, (m.detach(), v.detach()), after.detach()


@pytest.mark.parametrize("hypergradient", ["first-order", "unrolled"])
def test_upper_gradient_is_the_exact_one(hypergradient):
    model = Problem()
    step = Small(model, optimizers(model), Accelerator(cpu=True), hypergradient=hypergradient, limit=None)
    gradients, moments = upper_gradients(step), (torch.zeros(7).double(), torch.zeros(7).double())
    for t in range(1, 9):
        whole, direct, _, moments, after = exact(model, moments, t, data(t), data(100 + t))
        figures = step(data(t), data(100 + t))
        torch.testing.assert_close(model.lower.detach(), after, atol=1e-12, rtol=1e-10)
        torch.testing.assert_close(gradients[-1], whole if step.unrolled else direct, atol=1e-9, rtol=1e-7)
        assert set(figures) == {"loss", "upper_loss"}
        assert model.lower.grad is None
        assert model.upper.grad is None


def test_the_preconditioner_is_what_makes_it_exact():
    """Without it (BLO-SAM's code: -lr instead of P) the direction is another one."""
    model, moments = Problem(), (torch.zeros(7).double(), torch.zeros(7).double())
    step = Small(model, optimizers(model), Accelerator(cpu=True), hypergradient="unrolled", limit=None)
    gradients, cosines = upper_gradients(step), []
    for t in range(1, 6):
        whole, direct, plain, moments, _ = exact(model, moments, t, data(t), data(100 + t))
        step(data(t), data(100 + t))
        cosine = nn.functional.cosine_similarity
        if t > 1:  # the first step goes by the sign of g alone: its slope is 0 but for eps
            cosines.append([float(cosine(v - direct, whole - direct, dim=0)) for v in (gradients[-1], plain)])
    assert all(ours == pytest.approx(1) for ours, _ in cosines)
    assert min(theirs for _, theirs in cosines) < 0.9


def test_with_sgd_the_plain_product_is_exact():
    model = Problem()
    step = Small(model, optimizers(model, "sgd"), Accelerator(cpu=True), hypergradient="unrolled", limit=None)
    gradients, w, a = (
        upper_gradients(step),
        model.lower.detach().clone().requires_grad_(),
        model.upper.detach().requires_grad_(),
    )
    (g,) = torch.autograd.grad(model.loss(w, a, data(1)), w, create_graph=True)
    (want,) = torch.autograd.grad(model.loss(w - RATE * g, a, data(2)), a)
    step(data(1), data(2))
    torch.testing.assert_close(gradients[0], want)


@pytest.mark.parametrize("method", ["blo-sam", "am-sam"])
@pytest.mark.parametrize("limit", [None, 1.0, 0.01, 0.0])
def test_the_second_term_is_limited_as_the_method_is_set(tiny_sam, method, limit):
    """Along the whole run: direct + min(1, limit |direct| / |second|) second, with both terms by autograd."""
    built = find("methods", method).build(tiny_sam, hypergradient="unrolled", limit=limit)[1].keywords
    model = Problem()
    step = Small(
        model, optimizers(model), Accelerator(cpu=True), hypergradient=built["hypergradient"], limit=built["limit"]
    )
    gradients, moments, cut = upper_gradients(step), (torch.zeros(7).double(), torch.zeros(7).double()), 0
    for t in range(1, 9):
        whole, direct, _, moments, _ = exact(model, moments, t, data(t), data(100 + t))
        step(data(t), data(100 + t))
        longest = float("inf") if limit is None else limit * float(direct.norm())
        cut += float((whole - direct).norm()) > longest
        second = (whole - direct) * min(1.0, longest / float((whole - direct).norm()))
        torch.testing.assert_close(gradients[-1], direct + second, atol=1e-9, rtol=1e-7)
    assert (cut > 0) == (limit in (0.01, 0.0)), "the problem must distinguish the limits"


def test_a_limit_is_not_negative():
    model = Problem()
    for wrong in (-1.0, float("nan"), "much"):
        with pytest.raises(InputError, match="limit must be"):
            Small(model, optimizers(model), Accelerator(cpu=True), hypergradient="unrolled", limit=wrong)


def test_the_slope_is_zero_without_any_gradient():
    p = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([p], lr=0.1)
    p.grad = torch.tensor([0.0, 1.0])
    optimizer.step()
    assert update_slope(optimizer)[0][0] == 0
    assert torch.isfinite(update_slope(optimizer)[0]).all()


def test_unsupported_settings_of_a_bilevel_step():
    model = Problem()
    with pytest.raises(InputError, match="lower and upper"):
        Small(model, {"lower": optimizers(model)["lower"]}, Accelerator(cpu=True))
    with pytest.raises(InputError, match="grad_accum_steps"):
        Small(model, optimizers(model), Accelerator(cpu=True, gradient_accumulation_steps=2))
    with pytest.raises(InputError, match="first-order"):
        Small(
            model,
            optimizers(model),
            SimpleNamespace(num_processes=2, scaler=None, gradient_accumulation_steps=1),
            hypergradient="unrolled",
        )
    with pytest.raises(InputError, match="a batch of D1 and a batch of D2"):
        Small(model, optimizers(model), Accelerator(cpu=True))(data(1))


def test_each_level_learns_from_its_batch(tiny_base, tiny_samples):
    """The lower step does not depend on D2; the upper one uses the updated weights of the lower level."""
    one, two, three = (batch_of(tiny_base, tiny_samples[i : i + 1]) for i in range(3))
    states = []
    for held_out in (two, three):
        torch.manual_seed(0)
        segmenter, step = find("methods", "blo-sam").build(tiny_base)
        moving = {name: torch.optim.AdamW(group, lr=1e-2) for name, group in segmenter.groups.items()}
        step(segmenter.train(), moving, Accelerator(cpu=True))(one, held_out)
        states.append(segmenter.learned())
    differing = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert differing <= {"tokens.dense.weight"}
    assert moving["lower"].state
    assert moving["upper"].state


def test_unrolled_works_on_the_decoder(tiny_base, tiny_samples):
    one, two = (batch_of(tiny_base, tiny_samples[i : i + 1]) for i in range(2))
    states = []
    for hypergradient in ("first-order", "unrolled"):
        torch.manual_seed(0)
        segmenter, step = find("methods", "blo-sam").build(tiny_base, hypergradient=hypergradient)
        moving = {name: torch.optim.SGD(group, lr=1e-2) for name, group in segmenter.groups.items()}
        step(segmenter.train(), moving, Accelerator(cpu=True))(one, two)
        states.append(segmenter.learned())
    assert {n for n in states[0] if not torch.equal(states[0][n], states[1][n])} == {"tokens.dense.weight"}


# -- D1 and D2


def test_halves_are_disjoint_seeded_and_independent_of_order():
    ids = [f"p{i}" for i in range(7)]
    one, two = bilevel_split(ids, 0)
    assert (len(one), len(two)) == (4, 3)
    assert not set(one) & set(two)
    assert {*one, *two} == set(ids)
    assert bilevel_split(ids[::-1], 0) == (one, two)
    assert any(bilevel_split(ids, seed) != (one, two) for seed in range(1, 4))
    assert len({second_seed(seed) for seed in range(50)} | set(range(50))) == 100


def test_near_duplicates_stay_in_one_half():
    ids = [f"p{i}" for i in range(8)]
    for seed in range(10):
        one, two = bilevel_split(ids, seed, [ids[:2], ids[2:4], ids[4:6], ids[6:]])
        assert all((a in one) == (b in one) for a, b in zip(ids[::2], ids[1::2], strict=True))
        assert len(one) == len(two)


def test_a_single_image_is_both_halves_with_a_warning(caplog):
    assert bilevel_split(["a"], 0) == (("a",), ("a",))
    assert "cannot be split in halves" in caplog.text


# -- rates and epochs


def test_poly_rates_by_group():
    config = resolve(load(None, {"method": "am-sam", "steps": 10}))
    assert config.epochs is None, "steps were given"
    assert loop.rate(config, 0, "lower") == 5e-3
    assert loop.rate(config, 0, "upper") == 1e-3
    assert loop.rate(config, 5, "upper") == pytest.approx(1e-3 * 0.5**0.9)
    again = resolve(load(None, {"method": "blo-sam"}))
    assert again.epochs == 100
    assert resolve(again) == again
    assert again.lr == {"lower": 5e-3, "upper": 5e-3}


# -- whole fits

SMALL = {
    "method": "blo-sam",
    "classes": "disc",
    "epochs": 4,
    "trackers": "none",
    "device": "cpu",
    "near_duplicates": False,
    "val": 2,
    "test": 2,
}


@pytest.fixture
def go(tiny_sam, tiny_samples, tmp_path, tmp_path_factory):
    store = EmbeddingCache(tmp_path_factory.getbasetemp() / "bilevel-cache")

    def run(out="out", **given):
        arguments = {"samples": tiny_samples, "base": tiny_sam, "store": store}
        arguments |= {name: given.pop(name) for name in ("resume", "stop") if name in given}
        return fit(load(None, SMALL | {"out": str(tmp_path / out)} | given), **arguments)

    return run


def test_epochs_count_d1_and_cover_all_of_d2(go, monkeypatch):
    ids = {"lower": [], "upper": []}
    real = Bilevel.__call__

    def spy(self, train, held_out=None):
        ids["lower"] += train.ids
        ids["upper"] += held_out.ids
        return real(self, train, held_out)

    monkeypatch.setattr(Bilevel, "__call__", spy)
    result = go()
    assert len(ids["lower"]) == 4 * 2, "four images: two in D1, four epochs"
    assert len(set(ids["lower"])) == len(set(ids["upper"])) == 2
    assert not set(ids["lower"]) & set(ids["upper"])
    assert all(ids["upper"].count(id) == 4 for id in ids["upper"])
    assert result.figures["selection"] == "held-out"


def test_selection_by_name(go, monkeypatch):
    judged, real = set(), loop.validate
    monkeypatch.setattr(
        loop, "validate", lambda s, feed, *a: judged.update(p.id for p, _ in feed.images()) or real(s, feed, *a)
    )
    paper = go("paper", val=0)
    assert judged == set(bilevel_split(Split.read(paper.folder / "split.json").train, 0)[1]), "D2 and nothing else"
    assert paper.figures["selection"] == "paper"
    assert go("forced", selection="paper").figures["selection"] == "paper"
    assert go("last", selection="last").figures == {}
    with pytest.raises(InputError, match="no held-out mask"):
        go("none", val=0, selection="held-out")
    with pytest.raises(InputError, match="no second level"):
        go("plm", method="plm", selection="paper", steps=1)


@pytest.mark.parametrize("options", [{}, {"hypergradient": "unrolled"}])
def test_a_resumed_fit_equals_an_uninterrupted_one(go, options):
    whole = go("whole", options=options)
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        go("parts", options=options, stop=lambda: next(calls) == 2)
    resumed = go("parts", options=options, resume=True)
    assert resumed.history == whole.history
    assert resumed.figures == whole.figures
    files = [(result.folder / "adapter.safetensors").read_bytes() for result in (whole, resumed)]
    assert files[0] == files[1]


def test_the_unrolled_hypergradient_refuses_gradient_clipping(go):
    go("first-order", max_grad_norm=1.0, steps=1)
    with pytest.raises(InputError, match="max_grad_norm: 0"):
        go("unrolled", max_grad_norm={"lower": 0, "upper": 1.0}, options={"hypergradient": "unrolled"})


def test_an_adapter_stores_its_prompt_source(go, tiny_sam, tiny_samples):
    adapter = artefact.load(go().folder, tiny_sam)
    assert (adapter.meta.inference.prompt, adapter.meta.inference.regions) == ("none", True)
    assert adapter.segmenter.inference.prompt == "none"
    own = evaluate(adapter.segmenter, tiny_samples, classes=["disc"])
    assert own.prompt == "none"
    assert evaluate(adapter.segmenter, tiny_samples, classes=["disc"], prompt="mask-box").prompt == "mask-box"
    both = evaluate_many({"base": tiny_sam, "it": adapter.segmenter}, tiny_samples)
    assert [both[name].prompt for name in both] == ["mask-center", "none"]
    assert [row.label for row in both["base"].rows] == [row.label for row in both["it"].rows]
    boxed = artefact.load(go("am", method="am-sam", prompt="mask-box").folder, tiny_sam)
    assert (boxed.meta.inference.prompt, boxed.segmenter.inference.prompt) == ("mask-box", "mask-box")
    third = artefact.load(go("r3", method="am-sam", prompt="mask-box", options={"reading": "R3"}).folder, tiny_sam)
    assert third.meta.inference.prompt == "none"


def test_several_classes_are_refused(go):
    with pytest.raises(InputError, match="per_class"):
        go(classes=None)
    assert set(go(classes=None, per_class=True).parts) == {"disc", "square"}


def test_given_steps_override_epochs():
    assert resolve(FitConfig(method="blo-sam", steps=5)).steps == 5
    assert resolve(FitConfig(method="blo-sam", steps=5)).epochs is None
    assert resolve(FitConfig(method="plm")).epochs is None


def test_methods_that_adapt_the_encoder_get_images(go, tiny_sam, tiny_samples):
    result = go("samed", method="samed", epochs=1)
    adapter = artefact.load(result.folder, tiny_sam)
    assert (adapter.meta.inference.prompt, adapter.meta.inference.regions) == ("none", True)
    assert evaluate(adapter.segmenter, tiny_samples[:2], classes=["disc"]).figures()["masks"] == 2
    assert go("med-sa", method="med-sa", epochs=1).history["train"]
