"""The training loop: learning rates, best state, and bit-identical results after stopping and resuming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import Augment
from samtailor.errors import ArtefactError, InputError
from samtailor.registry import find
from samtailor.train import checkpoint, loop
from samtailor.train.checkpoint import State
from samtailor.train.config import FitConfig, load, resolve
from samtailor.train.feed import Feed
from samtailor.train.interrupt import Interrupted, signals
from samtailor.train.joint import clip_gradients, decay_groups
from samtailor.train.processes import make_accelerator
from samtailor.train.validate import Validation, validate

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SETTINGS = {
    "method": "plm-pmm",
    "steps": 7,
    "batch_size": 2,
    "grad_accum_steps": 2,
    "views": 2,
    "eval_every": 3,
    "trackers": [],
    "device": "cpu",
}


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return EmbeddingCache(tmp_path_factory.mktemp("cache"))


class Run:
    """A small fit without its folder."""

    def __init__(self, base, samples, store, file: Path, **settings) -> None:
        self.config: FitConfig = resolve(load(None, SETTINGS | settings))
        torch.manual_seed(self.config.seed)
        self.segmenter, step = find("methods", self.config.method).build(base, **self.config.options)
        self.accelerator = make_accelerator(self.config, file.parent)
        self.optimizers = {
            name: torch.optim.AdamW(decay_groups(group, 0.01)) for name, group in self.segmenter.groups.items()
        }
        self.step = step(
            self.segmenter, {n: self.accelerator.prepare(o) for n, o in self.optimizers.items()}, self.accelerator
        )
        sizes = {"batch_size": self.config.batch_size, "seed": self.config.seed}
        points = 64 if self.config.method == "plm-pmm" else None
        make = partial(Feed, base, classes=None, store=store, **sizes)
        augment = Augment(self.config.views)
        self.feed = make(samples[:5], source=find("prompts", "sampled-click").build(), contours=points, augment=augment)
        self.held_out = make(samples[5:], source=find("prompts", "mask-center").build())
        self.file = file

    def __call__(self, **options) -> State:
        parts = (self.segmenter, self.step, self.optimizers, self.feed, self.held_out, self.config, self.accelerator)
        return loop.run(*parts, file=self.file, **options)


def stop_after(count: int):
    calls = iter(range(1, 1000))
    return lambda: next(calls) == count


def test_a_resumed_fit_equals_an_uninterrupted_one(tiny_base, tiny_samples, store, tmp_path):
    """Stopped by `stop` and by Ctrl-C, at several places, with dropout and jittered contours (PMM), AdamW's moments,
    augmented views and accumulation: all tensors of checkpoint and result are equal, and the history too."""
    straight = Run(tiny_base, tiny_samples, store, tmp_path / "straight")
    want = straight()
    torch.manual_seed(12345)  # what the caller drew in between is not our business

    def interrupt(progress):
        if progress.done == 6:
            signal.raise_signal(signal.SIGINT)

    for index, options in enumerate([{"stop": stop_after(1)}, {"stop": stop_after(3)}, {"progress": interrupt}, {}]):
        run = Run(tiny_base, tiny_samples, store, tmp_path / "parts")
        torch.rand(index)
        if options:
            with pytest.raises(Interrupted, match="--resume") as stopped:
                run(resume=True, **options)
            assert f"step {(1, 4, 6)[index]} of 7" in str(stopped.value)
        else:
            got = run(resume=True)
    assert got.history == want.history
    assert got.best_step == want.best_step
    for name, tensor in straight.segmenter.learned().items():
        assert torch.equal(tensor, run.segmenter.learned()[name]), name
    one, other = load_file(tmp_path / "straight"), load_file(tmp_path / "parts")
    assert one.keys() == other.keys()
    assert any(name.startswith("optimizer/lower/") for name in one)
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_dropout_is_active_in_training_and_differs_between_steps(tiny_sam, tiny_samples, store, tmp_path):
    recorded = []
    run = Run(tiny_sam, tiny_samples, store, tmp_path / "c", steps=3, grad_accum_steps=1)
    dropout = next(m for m in run.segmenter.modules() if isinstance(m, torch.nn.Dropout))
    run.segmenter.eval()  # whatever mode it comes in
    dropout.register_forward_hook(lambda module, inputs, output: recorded.append(output.detach() == 0))
    run()
    assert len(recorded) == 3
    assert not torch.equal(recorded[0], recorded[1])


def test_the_global_generator_is_restored(tiny_sam, tiny_samples, store, tmp_path):
    run = Run(tiny_sam, tiny_samples, store, tmp_path / "c", method="plm", steps=2)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    run()
    assert torch.equal(torch.get_rng_state(), before)


def test_only_trained_parameters_change(tiny_sam, tiny_samples, store, tmp_path):
    run = Run(tiny_sam, tiny_samples, store, tmp_path / "c", steps=3, lr=1e-2)
    base = {name: tensor.clone() for name, tensor in tiny_sam.model.state_dict().items()}
    first = run.segmenter.learned()
    first = {name: tensor.clone() for name, tensor in first.items()}
    run.held_out = None
    state = run()
    assert all(torch.equal(tensor, base[name]) for name, tensor in tiny_sam.model.state_dict().items())
    moved = [name for name, tensor in run.segmenter.learned().items() if not torch.equal(tensor, first[name])]
    assert len(moved) > 0.8 * len(first)
    assert state.best_step is None
    assert not tiny_sam.model.training


def test_the_best_state_is_kept_and_ties_go_to_the_earlier(tiny_sam, tiny_samples, store, tmp_path, monkeypatch):
    figures = iter([0.2, 0.5, 0.5, 0.4])
    states = []

    def scripted(segmenter, *_):
        states.append({name: tensor.clone() for name, tensor in segmenter.learned().items()})
        value = next(figures)
        return Validation((value,), (value,), ("a",), ("s",))

    monkeypatch.setattr(loop, "validate", scripted)
    run = Run(tiny_sam, tiny_samples, store, tmp_path / "c", method="plm", steps=6, eval_every=2, lr=1e-2)
    state = run()
    assert [entry["step"] for entry in state.history["held_out"]] == [0, 2, 4, 6]
    assert (state.best_step, state.best_miou) == (2, 0.5)
    kept = run.segmenter.learned()
    assert all(torch.equal(kept[name], states[1][name]) for name in kept)
    assert not all(torch.equal(kept[name], states[3][name]) for name in kept)


def test_validation_before_training_measures_the_base(tiny_base, tiny_samples, store, tmp_path):
    run = Run(tiny_base, tiny_samples, store, tmp_path / "c", method="plm")
    figures = validate(run.segmenter, run.held_out, 64, torch.device("cpu"))
    bare, _ = find("methods", "sam").build(tiny_base)
    plain = validate(bare, run.held_out, 64, torch.device("cpu"))
    assert figures.figures() == pytest.approx(plain.figures(), abs=1e-6)
    assert figures.ious == pytest.approx(plain.ious, abs=1e-6)
    assert 0 <= figures.miou <= figures.oracle_miou <= 1


def test_validation_takes_the_mask_of_highest_predicted_iou(tiny_sam, tiny_samples, store, tmp_path, monkeypatch):
    """A segmenter predicts the truth in one of three masks, and its predicted IoU decides which mask is chosen."""
    from samtailor.train import validate as module

    run = Run(tiny_sam, tiny_samples, store, tmp_path / "c", method="plm")

    class Oracle(torch.nn.Module):
        def forward(self, batch):
            output = run.segmenter(batch)
            logits = torch.full_like(output.logits, -9.0)
            logits[:, :, 2] = batch.targets - 0.5
            iou = torch.zeros_like(output.iou)
            iou[:, :, self.sure] = 1
            iou[:, :, 0] = 5  # the single-mask token takes no part
            return module.Output(logits, iou, output.keys, output.upscaled, output.hyper)

    oracle = Oracle()
    oracle.sure = 2
    good = validate(oracle, run.held_out, 64, torch.device("cpu"))
    oracle.sure = 1
    bad = validate(oracle, run.held_out, 64, torch.device("cpu"))
    assert good.miou == good.oracle_miou == bad.oracle_miou > 0.75
    assert bad.miou == 0


def test_validation_is_a_mean_over_classes():
    """Three masks of class b do not outweigh the one of class a."""
    validation = Validation((0.9, 0.1, 0.2, 0.3), (1.0, 0.4, 0.4, 0.4), ("a", "b", "b", "b"), ("s", "s", "t", "u"))
    assert validation.miou == pytest.approx((0.9 + 0.2) / 2)
    assert validation.oracle_miou == pytest.approx((1.0 + 0.4) / 2)
    assert validation.n_images == 3
    assert validation.gain_interval(validation) == [0.0, 0.0]
    low, high = validation.interval()
    assert 0.1 <= low < validation.miou < high <= 0.9
    assert Validation((0.5, 0.7), (0.5, 0.7), ("a", "a"), ("s", "s")).interval() is None


def test_validation_of_a_segmenter_keeps_classes_apart(tiny_base, tiny_samples, store, tmp_path, monkeypatch):
    few_a = [
        replace(s, read_annotations=lambda s=s, i=i: [replace(s.annotations[0], label="a" if i == 5 else "b")])
        for i, s in enumerate(tiny_samples)
    ]
    run = Run(tiny_base, few_a, store, tmp_path / "c", method="plm")
    by_label = {"a": (0.8, 0.9), "b": (0.2, 0.5)}
    monkeypatch.setattr(
        "samtailor.train.validate.mask_ious", lambda output, part: [by_label[label] for label in part.batch.labels]
    )
    validation = validate(run.segmenter, run.held_out, 64, torch.device("cpu"))
    assert sorted(validation.labels) == ["a", "b", "b"]
    assert validation.figures() == pytest.approx({"miou": 0.5, "oracle_miou": 0.7, "dice": (1.6 / 1.8 + 0.4 / 1.2) / 2})


def test_rates_of_the_paper():
    config = FitConfig(steps=20_000, lr=1e-5, warmup=250)
    rates = [loop.rate(config, step) for step in range(20_000)]
    assert rates[0] == pytest.approx(1e-5 / 250)
    assert rates[249] == rates[250] == rates[13_332] == 1e-5
    assert rates[13_333] == rates[17_332] == pytest.approx(1e-6)
    assert rates[17_333] == rates[-1] == pytest.approx(1e-7)
    assert sum(rates) == pytest.approx(0.136, abs=0.001)


def test_other_schedules():
    cosine = FitConfig(steps=100, lr={"lower": 1.0, "upper": 3.0}, warmup=0, schedule="cosine")
    assert loop.rate(cosine, 0, "lower") == 1.0
    assert loop.rate(cosine, 50, "upper") == pytest.approx(1.5)
    assert 0 < loop.rate(cosine, 99, "lower") < 1e-3
    assert loop.rate(FitConfig(steps=9, lr=2.0, warmup=0, schedule="constant"), 8) == 2.0


def test_the_learning_rate_reaches_the_optimizer(tiny_sam, tiny_samples, store, tmp_path):
    run, recorded = (
        Run(tiny_sam, tiny_samples, store, tmp_path / "c", method="plm", steps=4, warmup=2, lr=1.0, schedule="step"),
        [],
    )
    run.optimizers["lower"].register_step_pre_hook(lambda o, *_: recorded.append([g["lr"] for g in o.param_groups]))
    run()
    assert recorded == [[rate, rate] for rate in (0.5, 1.0, pytest.approx(0.1), pytest.approx(0.01))]


def test_progress_has_all_figures(tiny_sam, tiny_samples, store, tmp_path):
    run, recorded = Run(tiny_sam, tiny_samples, store, tmp_path / "c", method="plm", steps=4), []
    run(progress=recorded.append)
    assert [update.done for update in recorded] == [1, 2, 3, 4]
    last = recorded[-1]
    assert (last.stage, last.total, last.seconds_left) == ("fit", 4, 0)
    assert last.images_per_second > 0
    assert last.loss > 0
    assert last.best_miou >= last.miou >= 0


def test_a_loss_that_is_not_finite_stops_the_fit(tiny_sam, tiny_samples, store, tmp_path):
    run = Run(tiny_sam, tiny_samples, store, tmp_path / "c", method="plm")
    run.step = lambda train, held_out: {"loss": float("nan")}
    with pytest.raises(InputError, match="step 1"):
        run()


def test_a_second_signal_interrupts_immediately():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell starts with it ignored
    with signals() as recorded:
        signal.raise_signal(signal.SIGINT)
        assert recorded == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_damaged_and_foreign_checkpoints(tiny_sam, tiny_samples, store, tmp_path):
    file = tmp_path / "c"
    run = Run(tiny_sam, tiny_samples, store, file, method="plm", steps=4)
    with pytest.raises(Interrupted):
        run(stop=stop_after(1))
    content = file.read_bytes()
    for damaged in (content[:-3], content[:9], b"", b"\0" * 99):
        file.write_bytes(damaged)
        with pytest.raises(ArtefactError, match="Cannot resume from"):
            Run(tiny_sam, tiny_samples, store, file, method="plm", steps=4)(resume=True)
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match="Cannot resume from"):
        Run(tiny_sam, tiny_samples, store, file, method="plm-pmm", steps=4)(resume=True)
    with pytest.raises(InputError, match="masks per step"):
        Run(tiny_sam, tiny_samples, store, file, method="plm", steps=4, batch_size=3)(resume=True)


def test_an_interrupted_write_keeps_the_old_checkpoint(tiny_sam, tiny_samples, store, tmp_path, monkeypatch):
    file = tmp_path / "c"
    run = Run(tiny_sam, tiny_samples, store, file, method="plm", steps=4)
    with pytest.raises(Interrupted):
        run(stop=stop_after(1))
    before = file.read_bytes()

    def broken(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", broken)
    with pytest.raises(OSError, match="No space"):
        Run(tiny_sam, tiny_samples, store, file, method="plm", steps=4)(resume=True, stop=stop_after(1))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_an_unknown_device_is_a_readable_error(tmp_path):
    for device in ("cuda:99", "toaster"):
        with pytest.raises(InputError, match="Devices: auto, cpu"):
            make_accelerator(FitConfig(device=device, trackers=()), tmp_path)
    with pytest.raises(InputError):
        make_accelerator(FitConfig(device="cpu", trackers=("pencil",)), tmp_path)


def test_bf16_trains(tiny_sam, tiny_samples, store, tmp_path):
    state = Run(tiny_sam, tiny_samples, store, tmp_path / "c", method="plm", steps=2, precision="bf16")()
    assert state.step == 2


PROCESSES = """
import sys, torch
sys.path[:0] = [{tests!r}, {unit!r}]
from pathlib import Path
from tiny import SAM, disc_sample, standard_normal_fourier
from transformers import SamConfig, SamModel
from samtailor.bases.sam import Sam
from samtailor.cache.embeddings import EmbeddingCache
from test_loop import Run
torch.set_num_threads(1)
torch.manual_seed(0)
model = SamModel(SamConfig(**SAM)).eval()
standard_normal_fourier(model)
run = Run(Sam(model, "tiny"), [disc_sample(i) for i in range(8)], EmbeddingCache({cache!r}), Path(sys.argv[1]),
          method="plm", steps=3, batch_size=int(sys.argv[2]), grad_accum_steps=1)
import os
rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
run.feed._shard = (rank, world)
run()
"""


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    tests = Path(__file__).parents[1]
    code = tmp_path / "run.py"
    code.write_text(PROCESSES.format(tests=str(tests), unit=str(tests / "unit"), cache=str(tmp_path / "cache")))
    base = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29513"}
    subprocess.run([sys.executable, str(code), str(tmp_path / "one"), "4"], env=base, check=True, timeout=300)
    env = [
        base | {"RANK": str(r), "LOCAL_RANK": str(r), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"} for r in (0, 1)
    ]
    runs = [subprocess.Popen([sys.executable, str(code), str(tmp_path / "two"), "2"], env=e) for e in env]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    one, two = load_file(tmp_path / "one"), load_file(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("longest", "moved"), [(0.0, 5.0), (1.0, 1.0), (9.0, 5.0)])
def test_only_long_gradients_are_clipped(longest, moved):
    parameters = [
        torch.nn.Parameter(torch.zeros(1)),
        torch.nn.Parameter(torch.zeros(2, 1)),
        torch.nn.Parameter(torch.ones(3)),
    ]
    optimizer = torch.optim.SGD(parameters[:2], lr=1.0)
    handle = clip_gradients(optimizer, longest)
    for _ in range(2):
        before = [p.detach().clone() for p in parameters]
        parameters[0].grad, parameters[1].grad = torch.full((1,), 3.0), torch.tensor([[4.0], [0.0]])
        optimizer.step()
        steps = torch.cat([(a - p.detach()).flatten() for a, p in zip(before, parameters, strict=True)])
        assert float(steps.norm()) == pytest.approx(moved, rel=1e-4)
        assert torch.allclose(steps[:3] / steps[:3].norm(), torch.tensor([0.6, 0.8, 0.0]), atol=1e-4)
    handle.remove()


def test_gradients_are_clipped_after_accumulation(tiny_base, tiny_samples, store, tmp_path):
    lengths: dict[float, list[float]] = {}
    for clip in (0, 1e-3):
        run = Run(tiny_base, tiny_samples, store, tmp_path / f"{clip}.safetensors", steps=2, max_grad_norm=clip)
        recorded = lengths[clip] = []
        for optimizer in run.optimizers.values():
            everything = [p for group in optimizer.param_groups for p in group["params"]]

            def record(*_, everything=everything, recorded=recorded):
                recorded.append(float(torch.stack([p.grad.norm() for p in everything if p.grad is not None]).norm()))

            optimizer.register_step_post_hook(record)
        run()
    assert len(lengths[0]) == 2
    assert min(lengths[0]) > 0.1
    assert lengths[1e-3] == pytest.approx([1e-3, 1e-3], rel=1e-3)
