"""A file outside the package is a method, format, prompt source, detector, base, baseline or writer.

Each kind is used through the command line, with the toys of the folder beside this file.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from samtailor import registry
from samtailor.errors import InputError

TOYS = Path(__file__).parent / "toys"
FAST = ["--steps", 1, "--batch-size", 2, "--val", 2, "--set", "trackers=[]", "--set", "near_duplicates=false"]


@pytest.fixture
def toys(run, monkeypatch):
    """The command line with the folder of toys."""
    monkeypatch.setenv(registry.PLUGINS, str(TOYS))
    return run


def adapter(folder: Path) -> dict:
    return json.loads((folder / "adapter.json").read_text())


def test_a_method(toys, base_folder, data_folder, tmp_path):
    assert "toy" in toys("fit", "--help").stdout
    command = ["fit", data_folder, "--base", base_folder, "--classes", "disc", "--method", "toy", "--out", "a", *FAST]
    toys(*command, "--set", "options.scale=2.0")
    meta = adapter(tmp_path / "a")
    assert (meta["method"], meta["options"], meta["parameters"]) == ("toy", {"scale": 2.0}, {"shift": 32})
    assert "toy" in toys("info", "a").stdout
    toys("evaluate", data_folder, "--adapter", "a", "--include-train", "--json", "e.json")
    assert 0 <= json.loads((tmp_path / "e.json").read_text())["adapter"]["miou"] <= 1
    misspelt = toys(*command[: -len(FAST)], "--overwrite", "--set", "options.scales=2", code=2)
    assert "Did you mean 'scale'?" in misspelt.stderr


def test_a_format(toys, base_folder, data_folder, tmp_path):
    photos = tmp_path / "set" / "photos"
    photos.mkdir(parents=True)
    for number in range(4):
        shutil.copy(data_folder / "images" / f"p00{number}.png", photos)
        (photos / f"p00{number}.box").write_text(f"{5 + number} 8 30 28")
    report = toys("check", "set").stdout
    assert "toy" in report
    assert "thing" in report
    toys("fit", "set", "--base", base_folder, "--method", "plm", "--out", "a", *FAST)
    assert adapter(tmp_path / "a")["classes"] == ["thing"]
    toys("fit", "set", "--format", "toy", "--base", base_folder, "--method", "plm", "--out", "b", *FAST)


def test_a_prompt_source(toys, base_folder, data_folder, tmp_path):
    toys("fit", data_folder, "--base", base_folder, "--classes", "disc", "--method", "plm", "--set", "prompt=toy",
         "--out", "a", *FAST)  # fmt: skip
    assert "prompt: toy" in (tmp_path / "a" / "config.yaml").read_text()
    table = toys("evaluate", data_folder, "--adapter", "a", "--prompt", "toy", "--json", "e.json").stdout
    assert "Prompt: toy" in table
    assert json.loads((tmp_path / "e.json").read_text())["protocol"]["prompt"] == "toy"


def test_a_detector(toys, base_folder, data_folder, tmp_path):
    toys("predict", data_folder / "images", "--base", base_folder, "--detector", "toy", "--out", "p")
    predictions = json.loads((tmp_path / "p" / "predictions.json").read_text())
    assert {row["name"] for row in predictions["categories"]} == {"disc"}
    assert predictions["annotations"][0]["prompt"]["box"] == [0, 0, 40, 48]
    command = ["compare", data_folder, "--base", base_folder, "--classes", "disc", "--methods", "am-sam", "--out", "c"]
    toys(*command, "--detector", "toy", "--set", "steps=1", "--set", "eval_masks=2", "--set", "near_duplicates=false")
    settings = json.loads((tmp_path / "c" / "compare.json").read_text())["settings"]
    assert settings["AM-SAM"]["prompt_options"] == {"detector": "toy"}


def test_a_base(toys, data_folder, tmp_path):
    toys("fit", data_folder, "--base", "toy", "--classes", "disc", "--method", "plm", "--out", "a", *FAST)
    assert adapter(tmp_path / "a")["base"]["name"] == "toy"
    toys("evaluate", data_folder, "--adapter", "a", "--limit", 2, "--include-train")  # loads the base by its name


def test_a_baseline(toys, base_folder, data_folder, tmp_path):
    assert "toy-net" in toys("compare", "--help").stdout
    toys("compare", data_folder, "--base", base_folder, "--classes", "disc", "--methods", "sam,toy-net", "--out", "c",
         "--set", "near_duplicates=false")  # fmt: skip
    rows = json.loads((tmp_path / "c" / "compare.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["sam", "toy-net"]
    assert rows[1]["dice"] > 0.8  # the discs are brighter than everything else


def test_a_writer(toys, base_folder, data_folder, tmp_path):
    assert "toy" in toys("label", "--help").stdout
    toys("label", data_folder / "images", "--base", base_folder, "--detector", "toy", "--format", "toy", "--out", "l")
    lines = (tmp_path / "l" / "toy.txt").read_text().splitlines()
    assert lines
    assert {line.split()[1] for line in lines} == {"disc"}


def test_a_matcher(toys, base_folder, data_folder, tmp_path):
    assert "toy" in toys("find", "--help").stdout
    shown = data_folder / "images" / "p000.png", data_folder / "masks" / "disc" / "p000.png"
    toys("find", data_folder / "images", "--like", *shown, "--base", base_folder, "--matcher", "toy",
         "--matcher-option", "match=0.5", "--out", "f")  # fmt: skip
    settings = json.loads((tmp_path / "f" / "label.json").read_text())["settings"]
    assert (settings["matcher"], settings["matcher_options"]) == ("toy", {"match": 0.5})


def test_an_entry_point_of_an_installed_package(run, base_folder, data_folder, tmp_path, monkeypatch):
    package = tmp_path / "site"
    (package / "toy_package-1.0.dist-info").mkdir(parents=True)
    (package / "toy_package-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\n")
    entry = "[samtailor.methods]\nfrom-package = toy_package_method\n"
    (package / "toy_package-1.0.dist-info" / "entry_points.txt").write_text(entry)
    shutil.copy(TOYS / "methods" / "toy.py", package / "toy_package_method.py")
    monkeypatch.syspath_prepend(package)
    assert "from-package" in registry.names("methods")
    run("fit", data_folder, "--base", base_folder, "--classes", "disc", "--method", "from-package", "--out", "a",
        *FAST)  # fmt: skip
    assert adapter(tmp_path / "a")["method"] == "from-package"


def test_a_plugin_that_cannot_be_imported_is_an_error(run, tmp_path, monkeypatch):
    (tmp_path / "plugins" / "methods").mkdir(parents=True)
    (tmp_path / "plugins" / "methods" / "broken.py").write_text("import no_such_module\n")
    monkeypatch.setenv(registry.PLUGINS, str(tmp_path / "plugins"))
    message = run("fit", ".", "--out", "a", "--method", "broken", code=2).stderr
    assert "The plug-in 'broken' (methods) cannot be imported: ModuleNotFoundError" in message.replace("\n", " ")


def test_a_plugin_does_not_replace_a_name_of_the_package(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "plm.py").write_text("raise RuntimeError('not imported')\n")
    monkeypatch.setenv(registry.PLUGINS, str(tmp_path))
    assert registry.find("methods", "plm").__name__ == "samtailor.methods.plm"


def test_a_missing_folder_of_plugins_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(registry.PLUGINS, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="which is not a folder"):
        registry.names("methods")
