"""Evaluation of a folder with an adapter for each class: each on its class, all together."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from samtailor import artefact
from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.evaluation.api import evaluate, select
from samtailor.evaluation.parts import choose_part
from samtailor.evaluation.prompted import evaluate_scopes, joined
from samtailor.report.evaluation import write_evaluation
from saved import save

CLASSES = ("disc", "square")


@pytest.fixture
def both(tiny_sam, tmp_path):
    """A folder with an adapter of each class, which differ."""
    for number, name in enumerate(CLASSES):
        folder = save(tmp_path / "both" / name, tiny_sam, seed=number)
        artefact.update(folder, classes=(name,))
        Split(("p000", f"p00{number + 1}"), ("p003",), ("p005", "p006", "p007")).write(folder / artefact.SPLIT)
    return tmp_path / "both"


def test_each_adapter_is_evaluated_on_its_class(both, tiny_sam, tiny_samples):
    together = evaluate(tiny_samples, both, tiny_sam, verbose=False)
    assert together.labels == CLASSES
    assert {row.id for row in together.rows} == {"p005", "p006", "p007"}
    assert together.part == "test"
    for name in CLASSES:
        alone = evaluate(tiny_samples, both / name, tiny_sam, verbose=False)
        assert together.of(name).rows == alone.rows
        assert together.reference.of(name).rows == alone.reference.rows
    assert together.of("disc").values("miou").tolist() != together.reference.of("disc").values("miou").tolist()


def test_images_that_one_adapter_was_fitted_on_are_left_out(both, tiny_samples, tmp_path):
    folders = [both / name for name in CLASSES]
    part = choose_part(tiny_samples, folders, tmp_path, CLASSES, split="all")
    assert set(part.left_out) == {"p000", "p001", "p002"}
    Split(("p000", "p005"), (), ("p006", "p007")).write(folders[1] / artefact.SPLIT)
    part = choose_part(tiny_samples, folders, tmp_path, CLASSES)
    assert [one.id for one in part.samples] == ["p006", "p007"]
    assert part.name == "test"


def test_classes_without_an_object_are_named_and_the_others_evaluated(both, tiny_sam, tiny_samples, caplog):
    discs = [replace(one, read_annotations=lambda one=one: tuple(one.of(["disc"]))) for one in tiny_samples]
    some = [discs[index] if index >= 5 else one for index, one in enumerate(tiny_samples)]
    evaluation = evaluate(some, both, tiny_sam, verbose=False)
    assert evaluation.labels == ("disc",)
    assert "no object of square" in caplog.text
    nothing = [replace(one, read_annotations=tuple) if one.id >= "p005" else one for one in tiny_samples]
    with pytest.raises(InputError, match="no mask to evaluate"):
        evaluate(nothing, both, tiny_sam, verbose=False)


def test_a_class_without_an_adapter_and_a_detector_are_refused(both, tiny_sam, tiny_samples):
    named = [replace(one, read_annotations=lambda one=one: (*one.annotations, replace(one.annotations[0], label="x")))
             for one in tiny_samples]  # fmt: skip
    with pytest.raises(InputError, match=r"no adapter for x\. Its classes: disc, square"):
        evaluate(named, both, tiny_sam, classes=["x"], verbose=False)
    with pytest.raises(InputError, match="detector prompts a single adapter"):
        evaluate(tiny_samples, both, tiny_sam, prompt="auto", detector="full-frame", verbose=False)


def test_adapters_of_regions_and_of_objects_are_not_evaluated_together(both, tiny_sam, tiny_samples):
    inference = artefact.read_meta(both / "disc").inference
    artefact.update(both / "disc", inference=replace(inference, regions=True))
    with pytest.raises(InputError, match="Evaluate them one by one"):
        evaluate(tiny_samples, both, tiny_sam, verbose=False)


def test_the_report_shows_images_of_each_class(both, tiny_sam, tiny_samples, tmp_path):
    subject = select(tiny_samples, both, tiny_sam)
    parts = evaluate_scopes(subject, prompt="mask-box")
    content = {name: {"too_few": True, "masks": 6} for name in ("base", "adapter")}
    content |= {"data": "d", "adapter_folder": "f", "adapter_meta": [], "part": {"about": "All."}, "versions": {}}
    content |= {"ids": [], "left_out_ids": [], "protocol": {"seed": 0}}
    write_evaluation(tmp_path / "page.html", subject, parts, content)
    page = (tmp_path / "page.html").read_text()
    assert "Images: disc" in page
    assert "Images: square" in page
    assert list(joined(parts)) == ["base", "adapter"]


def test_automatic_mode_has_the_objects_of_all_classes(tiny_lite, tiny_samples, tmp_path):
    for number, name in enumerate(CLASSES):
        folder = save(tmp_path / "auto" / name, tiny_lite, "tailor", seed=number, members=1, width=16)
        inference = artefact.read_meta(folder).inference
        artefact.update(folder, classes=(name,), inference=replace(inference, single_instance=False))
    together = evaluate(tiny_samples, tmp_path / "auto", tiny_lite, prompt="auto", verbose=False)
    assert together.classes == CLASSES
    assert together.reference is None
    for name in CLASSES:
        alone = evaluate(tiny_samples, tmp_path / "auto" / name, tiny_lite, prompt="auto", verbose=False)
        for one, other in zip(together.images, alone.images, strict=True):
            assert [p for p in one.predictions if p.label == name] == list(other.predictions)


def test_the_command_takes_the_folder(run, base_folder, data_folder, tmp_path):
    options = ("--method", "plm", "--per-class", "--steps", 1, "--val", 2)
    run("fit", data_folder, "--base", base_folder, *options, "--out", "a")
    said = run("evaluate", data_folder, "--adapter", "a", "--json", "e.json", "--html", "e.html")
    content = json.loads((tmp_path / "e.json").read_text())
    assert set(content["adapter"]["classes"]) == set(CLASSES)
    assert [meta["classes"] for meta in content["adapter_meta"]] == [["disc"], ["square"]]
    assert "mean over classes" in said.stdout
    assert "Images: square" in (tmp_path / "e.html").read_text()
    refused = run("batch", "evaluate", data_folder, "--adapter", "a", "--out", "b", "--engine", "processes", code=2)
    assert "single adapter" in refused.stderr.replace("\n", " ")
