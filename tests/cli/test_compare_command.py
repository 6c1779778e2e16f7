"""`samtailor compare` and `samtailor recipe` over shots, from folders to table, JSON and page."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from PIL import Image

from samtailor.cli.rows import detector_options, seeds_of, settings_by_method, shots_of
from samtailor.errors import InputError

RESNET = "{embedding_size: 16, hidden_sizes: [16, 32, 64, 128], depths: [1, 1, 2, 1]}"
NETWORK = {"weights": "scratch", "size": 64, "width": 32, "output_stride": 8, "batch": 2, "backbone": RESNET}
FAST = ["--set", "steps=1", "--set", "batch_size=2", "--set", "eval_masks=2", "--set", "near_duplicates=false"]


def test_seeds_and_shots():
    assert seeds_of("3") == [0, 1, 2]
    assert seeds_of("0,1,2") == [0, 1, 2]
    assert seeds_of("7,") == [7]
    with pytest.raises(InputError, match="write 0,"):
        seeds_of("0")
    with pytest.raises(InputError, match="twice"):
        seeds_of("1,1")
    with pytest.raises(InputError, match="whole numbers"):
        seeds_of("two")
    assert shots_of("16,4,8") == [4, 8, 16]
    with pytest.raises(InputError, match="from 1"):
        shots_of("0,4")


def test_settings_of_single_methods_and_detectors():
    pairs = ["steps=5", "options.x=1", "ssp.steps=2", "baselines.options.weights=scratch", "ssp.options.size=64"]
    general, by_method = settings_by_method(pairs, ["plm", "ssp", "deeplabv3"])
    assert general == ["steps=5", "options.x=1"]
    assert by_method == {
        "plm": {},
        "ssp": {"options": {"weights": "scratch", "size": 64}, "steps": 2},
        "deeplabv3": {"options": {"weights": "scratch"}},
    }
    given = detector_options("people.onnx", "person", ["sam", "am-sam", "blo-sam", "ssp"])
    expected = {"detector": "onnx", "weights": "people.onnx", "classes": ["person"]}
    assert given == {"am-sam": {"prompt_options": expected}}
    with pytest.raises(InputError, match="needs a --detector"):
        detector_options(None, "person", ["am-sam"])


def test_compare_over_shots_with_a_baseline_and_a_test_set(run, base_folder, data_folder, tmp_path):
    network = [part for key, value in NETWORK.items() for part in ("--set", f"deeplabv3.options.{key}={value}")]
    methods = "sam,am-sam,deeplabv3"
    shutil.copytree(data_folder, tmp_path / "other")
    command = ["compare", data_folder, "--base", base_folder, "--classes", "disc", "--shots", "2,3"]
    assert "DATA itself" in run(*command, "--test", data_folder, "--out", "d", code=2).stderr
    command += ["--test", "other"]
    result = run(
        *command, "--methods", methods, "--seeds", 2, "--detector", "full-frame", "--out", "c", *FAST, *network
    )
    assert "one region" in result.stdout
    made = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert len(made["base"]["fingerprint"]) == 16
    assert [(row["method"], row["shots"]) for row in made["rows"]] == [
        (name, k) for k in (2, 3) for name in methods.split(",")
    ]
    row = made["rows"][1]
    for key in ("dice", "iou", "dice_interval", "iou_interval", "seeds", "cost", "difference"):
        assert key in row
    spent = {"parameters", "seconds", "cpu_seconds", "encode_seconds", "peak_memory_mib", "encoder_cached"}
    assert set(row["cost"]) == spent
    assert row["dice"] == pytest.approx(sum(seed["dice"] for seed in row["seeds"].values()) / 2)
    assert (row["prompt"], row["undetected"]) == ("detector", 0)
    assert len(made["judged_on"]["0"]) == 8
    assert set(made["trained_on"]["2"]["0/all"]) < set(made["trained_on"]["3"]["0/all"])
    assert set(made["learning_curve"]) == {"AM-SAM", "DeepLabV3"}
    assert (tmp_path / "c" / "table.md").read_text().count("\n| ") == 6
    page = (tmp_path / "c" / "report.html").read_text()
    for words in ("Learning curve", "Dice of training batches", "one region"):
        assert words in page
    assert "Known" in run(*command, "--methods", "sam,samm", "--out", "d", code=2).stderr
    assert not (tmp_path / "d").exists()


def test_a_recipe_over_shots(run, base_folder, data_folder, tmp_path):
    """Table 2 and Fig. 6 of AM-SAM on a small copy in the data set's layout."""
    for folder, source in (("Training_Images", "images"), ("Ground_Truth", "masks/disc")):
        (tmp_path / "humans" / folder).mkdir(parents=True)
        for number, path in enumerate(2 * sorted((data_folder / source).iterdir()), 1):
            end = "jpg" if folder == "Training_Images" else "png"
            Image.open(path).save(tmp_path / "humans" / folder / f"{number}.{end}")
    arguments = ["--data", "humans", "--base", base_folder, "--shots", 4, "--detector", "full-frame", *FAST]
    result = run("recipe", "am-sam-table2", *arguments, "--out", "r")
    assert "90.4" in result.stdout
    assert "number of masks" in result.stdout
    assert "BLO-SAM, 95 %" in result.stdout
    table = json.loads((tmp_path / "r" / "am-sam-table2.json").read_text())
    assert table["columns"] == ["4 shots"]
    assert [(row["title"], row["published"]) for row in table["rows"]] == [("BLO-SAM", [89.1]), ("AM-SAM", [90.4])]
    dice = [row["dice"] for row in table["measured"]]
    assert [row["ours"] for row in table["rows"]] == [[pytest.approx(100 * value)] for value in dice]
    run("recipe", "am-sam-figure6", *arguments, "--out", "f")
    swept = json.loads((tmp_path / "f" / "am-sam-figure6.json").read_text())
    assert [row["title"] for row in swept["measured"]][-1] == "alpha 1.0"
    assert "Dice over alpha" in (tmp_path / "f" / "report.html").read_text()
    assert "no number of shots 5" in run("recipe", "am-sam-table2", "--data", "humans", "--shots", 5, code=2).stderr


def test_the_cache_of_a_comparison_is_that_of_its_settings(run, base_folder, data_folder, tmp_path):
    """The folder and the limit, which the images of this fit exceed: it trains on a part of them at a time."""
    command = ["compare", data_folder, "--base", base_folder, "--classes", "disc", "--methods", "sam-f", "--out", "c"]
    command += [*FAST, "--set", "steps=8", "--set", "val=0", "--set", f"cache={tmp_path / 'here'}"]
    result = run(*command, "--set", "cache_gb=0.00002")
    assert list((tmp_path / "here").rglob("*.safetensors"))
    assert "images at a time" in " ".join(result.output.split())
    (plan,) = (tmp_path / "c").rglob("resources.json")
    assert json.loads(plan.read_text())["resident"] < 6
    wrong = run(*command, "--set", "sam-f.cache_gb=1", "--set", "plm.cache_gb=2", "--methods", "sam-f,plm", code=2)
    assert "cache_gb must be the same" in wrong.stderr


def test_a_recipe_with_the_settings_of_the_paper_and_with_the_defaults(run, base_folder, data_folder, tmp_path):
    """Table 3 of Kim et al. on a small copy of the plates: both rows where the settings differ, one where not."""
    (tmp_path / "plates" / "annotations").mkdir(parents=True)
    shutil.copytree(data_folder / "images", tmp_path / "plates" / "images")
    for path in (tmp_path / "plates" / "images").iterdir():
        box = "<xmin>20</xmin><ymin>10</ymin><xmax>50</xmax><ymax>30</ymax>"
        size = "<size><width>80</width><height>48</height><depth>3</depth></size>"
        xml = f"<annotation>{size}<object><name>licence</name><bndbox>{box}</bndbox></object></annotation>"
        (tmp_path / "plates" / "annotations" / f"{path.stem}.xml").write_text(xml)
    command = ["recipe", "car-plate", "--data", "plates", "--base", base_folder, "--methods", "sam,plm", *FAST]
    refused = run(*command, "--preset", "am-sam-2024", "--out", "x", code=2).stderr
    assert "kim-2024, defaults, both" in " ".join(refused.split())
    result = run(*command, "--preset", "both", "--out", "r")
    assert "preset kim-2024" in result.stderr
    assert "the defaults of each method" in result.stderr
    assert "options.head" in result.stdout
    assert "paper_plain" in result.stdout
    rows = json.loads((tmp_path / "r" / "car-plate.json").read_text())["rows"]
    assert [(row["title"], row["settings"]) for row in rows if "oracle" not in row["title"]] == [
        ("SAM", "both"),
        ("SAM+PLM", "kim-2024"),
        ("SAM+PLM", "defaults"),
    ]
    made = {
        name: json.loads((tmp_path / "r" / name / "car-plate.json").read_text()) for name in ("kim-2024", "defaults")
    }
    assert [one["preset"] for one in made.values()] == ["kim-2024", None]
    heads = [yaml.safe_load(next((tmp_path / "r" / name).rglob("config.yaml")).read_text()) for name in made]
    assert [(one["options"].get("head"), one["selection"]) for one in heads] == [
        ("paper_plain", "last"),
        (None, "auto"),
    ]
    assert "needs a row of sam-f" in " ".join(run("figures", "r/defaults", "--figure", "kim-4", code=2).stderr.split())
    assert "r/kim-2024" in " ".join(run("figures", "r", "--figure", "kim-9", code=2).stderr.split())


def test_the_schedule_of_the_paper_needs_a_method(run, base_folder, data_folder):
    fit = ["fit", data_folder, "--base", base_folder, "--out", "a", "--config", "paper"]
    for more in ([], ["--method", "am-sam"]):
        assert "--preset kim-2024" in " ".join(run(*fit, *more, code=2).stderr.split())
    compare = ["compare", data_folder, "--base", base_folder, "--out", "c", "--config", "paper"]
    assert "the method is sam-f" in " ".join(run(*compare, "--methods", "sam,sam-f", code=2).stderr.split())
    assert "already" in run("recipe", "banner", "--config", "paper", code=2).stderr


def test_a_detector_of_a_fit(run, base_folder, data_folder):
    fit = ["fit", data_folder, "--base", base_folder, "--classes", "disc", "--shots", 2, "--out", "a", *FAST]
    refused = " ".join(run(*fit, "--method", "am-sam", code=2).stderr.split())
    assert "--detector FILE" in refused
    assert "says nothing about the place of the object" in refused
    wrong = run(*fit, "--method", "plm", "--detector", "full-frame", code=2).stderr
    assert "plm is prompted by sampled-click" in " ".join(wrong.split())
    run(*fit, "--method", "am-sam", "--detector", "full-frame")
