"""A fit into the folder of an adapter, and with an adapter in use: a worse one does not replace it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import Split, split
from samtailor.errors import InputError
from samtailor.fitting import fit
from samtailor.fitting.gate import Difference, gate_of
from samtailor.serve.annotators.training import Training, outcome
from samtailor.train.config import load
from samtailor.train.interrupt import Interrupted

SETTINGS = {
    "method": "plm",
    "classes": "disc",
    "steps": 1,
    "batch_size": 2,
    "eval_masks": 4,
    "trackers": "none",
    "val": 2,
}


@pytest.fixture
def go(tiny_sam, tiny_samples, tmp_path_factory, tmp_path):
    made = split(tiny_samples, val=2, test=0, seed=0, near_duplicates=False)
    store = EmbeddingCache(tmp_path_factory.getbasetemp() / "replacement-cache")

    def run(out="a", **given):
        arguments = {name: given.pop(name) for name in ("resume", "overwrite", "stop") if name in given}
        parts = None if given.pop("another_split", False) else made
        config = load(None, {**SETTINGS, "near_duplicates": False, "out": str(tmp_path / out), **given})
        return fit(config, samples=tiny_samples, base=tiny_sam, store=store, split=parts, **arguments)

    return run


def outcome_of_comparison(monkeypatch, mean):
    """Let each comparison with the adapter in use have this mean difference."""
    change = Difference(mean, 0.01, (mean - 0.02, mean + 0.02), 9, 4)
    monkeypatch.setattr(
        "samtailor.fitting.judge.against_present",
        lambda decision, *_: replace(decision, present=0.5, over_present=change),
    )


def test_a_worse_adapter_is_left_beside_the_present_one(go, tmp_path, monkeypatch):
    first = go()
    files = {path.name: path.read_bytes() for path in first.folder.iterdir() if path.is_file()}
    outcome_of_comparison(monkeypatch, -0.2)
    second = go(seed=5)
    assert (second.folder, second.kept) == (tmp_path / "a.new", tmp_path / "a")
    assert {path.name: path.read_bytes() for path in first.folder.iterdir() if path.is_file()} == files
    assert artefact.read_meta(second.folder).seed == 5
    third = go(seed=6)  # the earlier candidate is replaced
    assert artefact.read_meta(third.folder).seed == 6
    assert go(resume=True).figures == first.figures
    assert go(seed=7, overwrite=True).kept is None
    assert artefact.read_meta(tmp_path / "a").seed == 7


def test_a_better_adapter_replaces_the_present_one(go, tiny_sam, tmp_path, monkeypatch):
    go()
    outcome_of_comparison(monkeypatch, 0.1)
    second = go(seed=5)
    assert (second.folder, second.kept) == (tmp_path / "a", None)
    assert artefact.load(tmp_path / "a", tiny_sam).meta.seed == 5
    assert not (tmp_path / "a.new").exists()
    saved = load(tmp_path / "a" / "config.yaml")
    assert (saved.out, saved.present) == (tmp_path / "a", None)
    assert go(seed=5, resume=True).figures == second.figures


def test_only_images_that_are_new_to_both_are_compared(go, tmp_path, monkeypatch):
    seen = []

    def record(decision, new, present, groups, objects=None):
        seen.append(set(groups))
        return decision

    monkeypatch.setattr("samtailor.fitting.judge.against_present", record)
    first = go("first", seed=1, another_split=True)
    second = go("second", seed=4, another_split=True, present=str(first.folder))
    train = {*Split.read(first.folder / "split.json").train, *Split.read(second.folder / "split.json").train}
    assert all(not groups & train for groups in seen)
    assert gate_of(second.figures).replaces is False  # too few objects, and no more images than the first


def test_an_adapter_of_other_classes_is_not_replaced(go, tmp_path):
    go()
    with pytest.raises(InputError, match=r"of disc, not of square.*--overwrite"):
        go(classes="square")
    assert not (tmp_path / "a.new" / "config.yaml").exists()
    assert artefact.read_meta(tmp_path / "a").classes == ("disc",)
    other = go("b", classes="square", present=str(tmp_path / "a"))
    gate = gate_of(other.figures)
    assert gate.replaces is False
    assert "does not segment disc" in gate.reason
    both = gate_of(go("c", classes="disc,square", present=str(tmp_path / "a")).figures)
    assert both.replaces is True
    assert "cannot be compared" in both.reason


def test_an_interrupted_replacement_is_continued(go, tmp_path):
    go(steps=2)
    with pytest.raises(Interrupted):
        go(steps=2, seed=3, stop=lambda: True)
    assert artefact.read_meta(tmp_path / "a").seed == 0
    result = go(steps=2, seed=3, resume=True)
    assert result.figures["comparison"]["replaces"] is not None


def test_annotators_keep_the_present_adapter_if_a_fit_is_worse(go, tmp_path, monkeypatch):
    fits = tmp_path / "fits"
    go("fits/0001")
    outcome_of_comparison(monkeypatch, -0.2)
    go("fits/0002", seed=2, present=str(fits / "0001"))
    training = Training(fits, tmp_path, "lite", done=lambda folder: None)
    assert [folder.name for folder in training.finished()] == ["0001", "0002"]
    assert training.in_use() == fits / "0001"
    assert "does not replace" in outcome(fits / "0002")[-1]
    outcome_of_comparison(monkeypatch, 0.2)
    go("fits/0003", seed=3, present=str(training.in_use()))
    assert training.in_use() == fits / "0003"
    (command,) = training._commands(fits / "0004", training.in_use())
    assert command[command.index("--present") + 1] == str(fits / "0003")


def test_the_command_says_which_adapter_is_used(run, base_folder, data_folder, tmp_path):
    command = ["fit", data_folder, "--base", base_folder, "--method", "plm", "--classes", "disc", "--out", "a"]
    command += ["--steps", 1, "--batch-size", 2, "--val", 2, "--set", "trackers=[]", "--set", "eval_masks=2"]
    run(*command)
    output = run(*command).stderr.replace("\n", " ")
    assert "The new adapter does not replace the present one: there are too few objects" in output
    assert "The adapter in a is unchanged. The new one is in a.new; --overwrite replaces it." in output
    assert json.loads((tmp_path / "a.new" / "adapter.json").read_text())["figures"]["comparison"]["replaces"] is False
