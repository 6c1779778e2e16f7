"""From images to an adapter: folders, splits, resuming, one adapter per class, bounded memory."""

from __future__ import annotations

import gc
import json
import os
import signal
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.encoders import BaseEncoder
from samtailor.data.split import Split
from samtailor.errors import DataError, InputError
from samtailor.fitting import fit
from samtailor.registry import find
from samtailor.structures import Annotation, Sample
from samtailor.train.config import load
from samtailor.train.interrupt import Interrupted

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SMALL = {
    "method": "plm",
    "options": {"heads": 2, "mlp_dim": 32},
    "steps": 4,
    "batch_size": 2,
    "classes": "disc",
    "trackers": "none",
    "device": "cpu",
    "near_duplicates": False,
    "val": 2,
}


@pytest.fixture
def store(tmp_path_factory):
    return EmbeddingCache(tmp_path_factory.getbasetemp() / "fit-cache")


@pytest.fixture
def go(tiny_sam, tiny_samples, store, tmp_path):
    """Fit with small settings; keyword arguments are settings, or arguments of `fit`."""

    def run(out="out", **given):
        names = ("samples", "base", "split", "store", "resume", "overwrite", "progress", "stop")
        arguments = {"samples": tiny_samples, "base": tiny_sam, "store": store}
        arguments |= {name: given.pop(name) for name in names if name in given}
        return fit(load(None, SMALL | {"out": str(tmp_path / out)} | given), **arguments)

    return run


def write(samples: list[Sample], root: Path) -> Path:
    for sample in samples:
        for folder, pixels in (("images", sample.image), ("masks", sample.annotations[0].mask.astype(np.uint8) * 255)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / folder / f"{sample.id}.png")
    return root


@pytest.mark.parametrize("method", ["sam", "sam-f", "plm", "plm-pmm"])
def test_every_method_fits_saves_and_loads(go, tiny_sam, tiny_samples, method):
    result = go(method=method, options={}, steps=0 if method == "sam" else 2, trackers=None)
    adapter = artefact.load(result.folder, tiny_sam)
    assert adapter.meta.method == method
    assert adapter.meta.classes == ("disc",)
    assert adapter.meta.figures == result.figures
    assert 0 <= result.figures["start_miou"] <= result.figures["start_oracle_miou"] <= 1
    best = max(entry["miou"] for entry in result.history["held_out"])  # the start included
    assert result.figures["held_out_miou"] in (best, result.history["held_out"][0]["miou"])
    files = {path.name for path in result.folder.iterdir()}
    want = {"README.md", "adapter.json", "adapter.safetensors", "config.yaml", "history.json", "split.json"}
    assert files - {"logs"} == want
    split = Split.read(result.folder / "split.json")
    assert len(split.val) == 2
    assert set(split.train) | set(split.val) == {sample.id for sample in tiny_samples}
    assert json.loads((result.folder / "history.json").read_text()) == result.history
    assert load(result.folder / "config.yaml") == result.config


def test_from_files(go, tiny_samples, tmp_path):
    result = go(data=str(write(tiny_samples, tmp_path / "data")), classes=None, samples=None)
    assert len(artefact.read_meta(result.folder).classes) == 1


def test_the_seed_decides(go, tiny_sam):
    def learnt(out, **given):
        torch.rand(3)
        return artefact.load(go(out, lr=1e-2, val=0, **given).folder, tiny_sam).segmenter.learned()

    one, same, other = learnt("a", seed=1), learnt("b", seed=1), learnt("c", seed=2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_stopped_and_resumed(go, tiny_sam, tmp_path):
    whole = go("whole", lr=1e-2)
    with pytest.raises(Interrupted):
        go("parts", lr=1e-2, stop=lambda: True)
    folder = tmp_path / "parts"
    assert not (folder / "adapter.json").exists()
    split = (folder / "split.json").read_bytes()
    with pytest.raises(InputError, match=r"unfinished fit.*--resume"):
        go("parts", lr=1e-2)
    with pytest.raises(InputError, match=r"lr: 0.01 became 0.02"):
        go("parts", lr=2e-2, resume=True)
    resumed = go("parts", lr=1e-2, resume=True)
    assert resumed.history == whole.history
    assert resumed.figures == whole.figures
    assert (folder / "adapter.safetensors").read_bytes() == (whole.folder / "adapter.safetensors").read_bytes()
    assert (folder / "split.json").read_bytes() == split
    assert not (folder / "checkpoint.safetensors").exists()
    again = go("parts", lr=1e-2, resume=True, stop=lambda: pytest.fail("nothing is left to do"))
    assert (again.figures, again.history) == (whole.figures, whole.history)


OLD_NAMES = {"max_grad_norm": "clip", "milestones": "decay_at", "gamma": "decay", "color_jitter": "colour"}


def test_a_run_folder_of_0_1_is_resumed_without_warnings(go, tiny_base, tmp_path, caplog):
    """Old names in config.yaml and in the tensors of the checkpoint."""
    options = {"members": 2, "width": 16, "heads": 4, "mlp_dim": 64}
    of_0_1 = options | {"convolutions": "full", "member_batch": None, "companion": "none"}  # not named there
    given = {"method": "tailor", "options": of_0_1, "lr": None, "base": tiny_base, "val": 0}
    whole = go("whole", **given)
    with pytest.raises(Interrupted):
        go("parts", **given, stop=lambda: True)
    folder = tmp_path / "parts"
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings = {OLD_NAMES.get(name, name): value for name, value in settings.items()}
    settings["accumulate"] = settings.pop("grad_accum_steps")
    settings["options"] = options | {"others": 0.5}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
        header = file.metadata()
        tensors = {name.replace("map_gain", "leaning"): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = json.loads(header["samtailor"])
    del state["state"]["start_validation"], state["state"]["best_validation"], state["crc32"], state["tensors"]
    save_file(tensors, folder / "checkpoint.safetensors", metadata={"samtailor": json.dumps(state)})
    caplog.clear()
    resumed = go("parts", **given | {"options": of_0_1 | {"multimask_dice_weight": 0.5}}, resume=True)
    assert "is now called" not in caplog.text
    assert resumed.history["train"] == whole.history["train"]


PLUGIN = """
from samtailor.methods.plm import build as build_plm
from samtailor.train.joint import Joint
from samtailor.train.step import StepFeeds

DEFAULTS = {"steps": 3, "batch_size": 2}
batches = []


class Alternating(Joint):
    def feeds(self, data):
        first, *others = data.prompted
        return StepFeeds(data.masks([first]), data.masks(others, second=True), selection=others)

    def __call__(self, train, second=None):
        batches.append((set(train.ids), set(second.ids)))
        return super().__call__(train) | {"second": super().__call__(second)["loss"]}


def build(base, **options):
    return build_plm(base, **options)[0], Alternating
"""


def test_a_plugin_brings_its_step_and_its_feeds(go, tmp_path, monkeypatch):
    (tmp_path / "plugins" / "methods").mkdir(parents=True)
    (tmp_path / "plugins" / "methods" / "alternating.py").write_text(PLUGIN)
    monkeypatch.setenv("SAMTAILOR_PLUGINS", str(tmp_path / "plugins"))
    result = go(method="alternating", steps=None, val=0)
    batches = find("methods", "alternating").batches
    train = Split.read(result.folder / "split.json").train
    assert len(batches) == 3
    assert all(first == {train[0]} and not second & first for first, second in batches)
    assert "second" in result.history["train"][-1]
    assert result.figures["selection"] == "paper", "its second images select the state, since none is held out"


def test_stopped_before_the_first_step_can_be_resumed(go, tmp_path):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(progress=interrupt, store=EmbeddingCache(tmp_path / "new"))
    assert go(resume=True).history["train"]


def test_folders_in_use(go, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    for given in ({}, {"overwrite": True}, {"resume": True}, {"per_class": True}):
        with pytest.raises(InputError, match=r"not empty.*thesis.tex"):
            go("full", **given)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        go("file")
    first = go()
    second = go(overwrite=True, seed=5)
    assert artefact.read_meta(first.folder).seed == second.config.seed == 5


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"classes": "wheel"}, "wheel"),
        ({"method": "plmm"}, "Did you mean"),
        ({"options": {"haeds": 3}}, "heads"),
        ({"prompt": "mask-centre"}, "mask-center"),
        ({"prompt_options": {"gama": 1}}, "gamma"),
        ({"lr": {"upper": 1e-3}}, "groups"),
        ({"device": "toaster"}, "toaster"),
        ({"shots": 50}, "50 shots"),
        ({"val": 8}, "8 images"),
    ],
)
def test_an_invalid_setting_leaves_no_folder_behind(go, tmp_path, given, error):
    with pytest.raises((InputError, DataError), match=error):
        go(**given)
    assert not (tmp_path / "out").exists()


def test_required_settings(tiny_sam):
    with pytest.raises(InputError, match="--out"):
        fit(load())
    with pytest.raises(InputError, match="data set"):
        fit(load(None, {"out": "nowhere", "trackers": []}), base=tiny_sam)


def test_one_adapter_for_each_class(go, tiny_sam):
    names = []
    result = go(classes=None, per_class=True, progress=lambda update: names.append(update.name))
    assert list(result.parts) == ["disc", "square"]
    assert set(names) == {"disc", "square"}
    for name, part in result.parts.items():
        assert part.folder == result.folder / name
        assert artefact.load(part.folder, tiny_sam).meta.classes == (name,)
    splits = [Split.read(part.folder / "split.json") for part in result.parts.values()]
    assert splits[0].val == splits[1].val, "what is held out for one class is held out for all"
    assert go(classes=None, per_class=True, resume=True).parts["disc"].history == result.parts["disc"].history


def test_shots_are_picked_from_the_train_part(go, tiny_samples):
    given = Split(train=tuple(s.id for s in tiny_samples[:5]), val=("p005",), test=("p006", "p007"))
    result = go(shots=2, split=given)
    used = Split.read(result.folder / "split.json")
    assert len(used.train) == 2
    assert set(used.train) <= set(given.train)
    assert (used.val, used.test) == (given.val, given.test)
    assert set(used.unused) == set(given.train) - set(used.train)


def test_without_held_out_images_the_last_state_is_kept(go, caplog):
    result = go(val=0)
    assert set(result.figures) == {"comparison"}
    assert [one["objects"] for one in result.figures["comparison"]["decisions"]] == [0, 0]
    assert "last state" in caplog.text


def test_the_base_is_encoded_once_for_all_fits(go, tmp_path, monkeypatch):
    calls, encode = [], BaseEncoder.__call__
    counted = lambda encoder, frames: (calls.append(len(frames)), encode(encoder, frames))[1]  # noqa: E731
    monkeypatch.setattr(BaseEncoder, "__call__", counted)
    store = EmbeddingCache(tmp_path / "new")
    stages = []
    go("a", views=2, steps=30, store=store, progress=lambda update: stages.append(update.stage))
    assert sum(calls) == 6 * 2 + 2  # so many steps draw every view of every image
    assert stages == ["encode"] * 14 + ["fit"] * 30
    go("b", views=2, seed=0, steps=3, store=EmbeddingCache(tmp_path / "new"))
    assert sum(calls) == 14


def test_pairs_of_sides_are_detected_from_names(go, tiny_samples):
    def named(sample, disc, square):
        one, two = sample.annotations
        return replace(sample, read_annotations=lambda: (replace(one, label=disc), replace(two, label=square)))

    pair = [named(sample, "l_eye", "r_eye") for sample in tiny_samples]
    lone = [named(sample, "l_eye", "nose") for sample in tiny_samples]
    assert go("pair", samples=pair, classes="l_eye", views=3).history["train"]
    assert go("lone", samples=lone, classes="l_eye", views=3).history["train"]


def made(index: int) -> Sample:
    """An image that is generated on access, as a file is read."""

    def pixels() -> np.ndarray:
        return np.random.default_rng(index).integers(0, 255, (200, 320, 3), dtype=np.uint8)

    def annotations() -> list[Annotation]:
        y, x = np.mgrid[:200, :320]
        return [Annotation.from_mask("disc", (y - 100) ** 2 + (x - 60 - index) ** 2 < 50**2)]

    return Sample(f"c{index:03d}", pixels, annotations)


@pytest.mark.parametrize(
    ("views", "steps", "fewer", "more"),
    [(1, 4, 8, 24), pytest.param(8, 40, 40, 100, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_the_number_of_images(go, views, steps, fewer, more):
    """Peak of what Python and numpy allocate (an image has 192,000 bytes, a mask 64,000, an embedding 8,192).

    With views the peak is while one is drawn (a megabyte more than without), however many images there are.
    """

    def peak(count: int) -> int:
        gc.collect()
        tracemalloc.start()
        go(f"of{count}", samples=[made(i) for i in range(count)], steps=steps, batch_size=4, val=0, views=views)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(6)  # what is imported and made once
    few, many = peak(fewer), peak(more)
    assert many - few < (more - fewer) * 8_000, "less than 8 kB for each further image"


def test_ctrl_c_saves(go, tmp_path):
    def pressed(progress):
        if progress.stage == "fit" and progress.done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"after step 2 of 4.*--resume"):
        go(progress=pressed)
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "out" / "adapter.json").exists()


@pytest.mark.parametrize(("prompt", "wanted"), [("sampled-click", None), ("mask-box", "mask-box")])
def test_an_adapter_fitted_on_boxes_is_validated_and_used_with_boxes(go, tiny_sam, prompt, wanted):
    result = go(prompt=prompt)
    assert artefact.load(result.folder, tiny_sam).meta.inference.prompt == wanted
