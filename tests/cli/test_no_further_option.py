"""After a fit and `propose-fit`, an adapter or a folder of adapters needs no other option."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import samtailor
from samtailor import artefact
from samtailor.cli.options import adapters_by_name
from samtailor.errors import ArtefactError, InputError
from samtailor.proposals import disk
from samtailor.workbench.start import open_session


@pytest.fixture
def folder(adapter_folder, tmp_path) -> Path:
    """Adapters of two classes, as `fit --per-class` writes them."""
    for name in ("disc", "square"):
        shutil.copytree(adapter_folder, tmp_path / "both" / name)
        artefact.update(tmp_path / "both" / name, classes=(name,))
    return tmp_path / "both"


def test_a_folder_of_adapters_labels_with_all_of_them(run, folder, data_folder, tmp_path):
    run("propose-fit", data_folder, "--adapter", folder, "--steps", 3, "--views", 2, "--json", "f.json")
    assert set(json.loads((tmp_path / "f.json").read_text())) == {"disc", "square"}
    for name in ("disc", "square"):
        assert disk.exists(folder / name)
    assert "already has proposals" in run("propose-fit", data_folder, "--adapter", folder, code=2).stderr
    assert "for each class" in run("propose-fit", data_folder, "--adapter", folder, "--classes", "disc", code=2).stderr
    images = data_folder / "images"
    result = run("label", images, "--adapter", folder, "--threshold", 0)  # two steps teach little
    report = json.loads((tmp_path / "labels" / "label.json").read_text())
    assert set(report["classes"]) == {"disc", "square"}
    assert sum(report["classes"].values()) == sum(sum(one.values()) for one in report["counts"].values()) > 0
    assert "Objects per image: " in result.stderr
    run("predict", images, "--adapter", folder, "--threshold", 0)
    content = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    assert {one["adapter"] for one in content["annotations"]} <= {"disc", "square"}
    assert content["annotations"]
    predictor = samtailor.Predictor.from_pretrained(folder)
    assert predictor.adapters == ("disc", "square")
    labeled = samtailor.label(images, {"mine": folder}, tmp_path / "named", threshold=0, verbose=False)
    assert labeled.objects == report["classes"]
    with_page = open_session(images, tmp_path / "project", adapters=adapters_by_name([str(folder)]))
    assert [loaded.automatic for loaded in with_page.engine.adapters.all()] == [True, True]
    with_page.close()
    with_page.engine.close()


def test_names_of_adapters_are_optional_everywhere(folder, adapter_folder):
    assert adapters_by_name([str(adapter_folder)]) == {"disc": str(adapter_folder)}
    assert adapters_by_name([f"one={adapter_folder}"]) == {"one": str(adapter_folder)}
    assert adapters_by_name([str(folder)]) == {name: str(folder / name) for name in ("disc", "square")}
    assert list(adapters_by_name([f"my={folder}"])) == ["my-disc", "my-square"]
    assert adapters_by_name(["anna/discs"]) == {"discs": "anna/discs"}
    with pytest.raises(InputError, match="have the name 'disc'"):
        adapters_by_name([str(folder), str(adapter_folder)])
    for wrong in ("=there", "name=", ""):
        with pytest.raises(InputError, match="Expected --adapter"):
            adapters_by_name([wrong])


def test_a_command_for_one_adapter_names_those_in_the_folder(folder, tmp_path):
    with pytest.raises(ArtefactError, match=r"one adapter for each class, disc, square: give one"):
        artefact.read_meta(folder)
    with pytest.raises(ArtefactError, match="finished fit"):
        artefact.read_meta(tmp_path)
