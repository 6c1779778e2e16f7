"""The commands on a tiny base model, from input files to output files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from samtailor.structures import Annotation, Sample


def figures_are_shares(part):
    for name in ("miou", "oracle_miou", "dice"):
        assert 0 <= part[name] <= 1
        low, high = part[f"{name}_interval"]
        assert 0 <= low <= part[name] <= high <= 1


def test_fit_resume_and_overwrite(run, base_folder, data_folder, tmp_path):
    command = ["fit", data_folder, "--base", base_folder, "--method", "plm", "--classes", "disc", "--out", "a"]
    command += ["--steps", 2, "--batch-size", 2, "--val", 2, "--set", "trackers=[]", "--set", "eval_masks=2"]
    result = run(*command)
    said = result.stderr.replace("\n", " ")
    assert "Clicks: too few objects to say whether the adapter is better than the base model (n = 2)." in said
    assert "Next: samtailor predict IMAGES --adapter a --click X,Y" in result.stderr
    assert "Training ..." in result.stderr
    meta = json.loads((tmp_path / "a" / "adapter.json").read_text())
    assert (meta["method"], meta["classes"], meta["steps"]) == ("plm", ["disc"], 2)
    run(*command, "--resume")
    run(*command, "--overwrite")


def test_fit_without_held_out_images_reports_automatic_mode(run, base_folder, data_folder, tmp_path):
    command = ["fit", data_folder, "--base", base_folder, "--classes", "disc", "--val", 0, "--test", 2, "--steps", 1]
    command += [
        "--method",
        "tailor",
        "--set",
        "trackers=[]",
        "--set",
        "options.width=32",
        "--set",
        "near_duplicates=false",
    ]
    output = run(*command, "--out", "a").stderr
    assert "No image was held out, so the last state was kept." in output
    assert "Automatic mode: " in output
    assert f"Next: samtailor evaluate {data_folder} --adapter a --split test" in output
    evaluation = ["evaluate", data_folder, "--adapter", "a", "--prompt", "auto", "--json", "e.json"]
    output = run(*evaluation, "--split", "test").stderr
    assert "Only the adapter is evaluated" in output  # the base model has neither proposals nor a detector
    content = json.loads((tmp_path / "e.json").read_text())
    assert "base" not in content
    assert (content["adapter"]["ap50"], content["adapter"]["objects"]) == (None, 2)  # too few to say
    assert content["part"]["name"] == "test"
    output = run(*command, "--out", "b", "--set", "options.settle=false").stderr
    assert "'settle' is now called 'select_inference'" in output
    assert "Automatic mode" not in output


def test_the_next_command_of_a_fit(tmp_path):
    from samtailor.cli.fit import next_command
    from samtailor.fitting import FitResult
    from samtailor.structures import InferenceSpec
    from samtailor.train.config import FitConfig

    data, out = tmp_path / "my data", tmp_path / "a"
    assert next_command(FitResult(out, FitConfig()), data).startswith("samtailor predict IMAGES --adapter")
    tested = next_command(FitResult(out, FitConfig(test=0.2)), data)
    assert tested == f"samtailor evaluate '{data}' --adapter {out} --split test"
    automatic = FitResult(out, FitConfig(), inference=InferenceSpec(prompt="none"))
    by_class = FitResult(tmp_path, FitConfig(), parts={"disc": automatic})
    for result in (automatic, FitResult(out, FitConfig(), {"region_dice": 0.4})):
        assert next_command(result, data) == f"samtailor label IMAGES --adapter {out} --out labels"
    assert next_command(by_class, data) == f"samtailor label IMAGES --adapter {tmp_path} --out labels"


def test_evaluate_writes_base_and_adapter(run, adapter_folder, data_folder, tmp_path):
    result = run("evaluate", data_folder, "--adapter", adapter_folder, "--json", "e.json", "--html", "e.html", "--rows")
    content = json.loads((tmp_path / "e.json").read_text())
    split = json.loads((adapter_folder / "split.json").read_text())
    for name in ("base", "adapter"):
        assert list(content[name]["classes"]) == ["disc"]
        for one in (content[name], content[name]["classes"]["disc"]):  # two masks are too few to say
            assert (one["too_few"], one["masks"], one["images"], one["groups"]) == (True, 2, 2, 2)
            assert one["miou"] is None
            assert one["miou_interval"] is None
    assert content["difference"]["adapter"]["miou"] is None
    assert content["part"]["name"] == "validation"
    assert content["part"]["about"].startswith("2 validation images (validation part of")
    assert set(content["left_out_ids"]) == set(split["train"])
    assert not set(content["ids"]) & set(split["train"])
    assert content["protocol"]["prompt"] == "mask-center"
    assert content["versions"]["samtailor"]
    assert len(content["rows"]["base"]) == content["base"]["masks"]
    assert "too few to say" in result.stdout
    assert "2/2/2" in result.stdout
    assert "left out" in result.stderr
    page = (tmp_path / "e.html").read_text()
    assert "data:image/jpeg" in page
    assert "Too few masks to say" in page


def test_every_figure_has_its_counts_and_interval(run, adapter_folder, data_folder, tmp_path):
    command = ["evaluate", data_folder, "--adapter", adapter_folder, "--include-train"]
    result = run(*command, "--json", "e.json", "--html", "e.html")
    content = json.loads((tmp_path / "e.json").read_text())
    for name in ("base", "adapter"):
        figures_are_shares(content[name])
        figures_are_shares(content[name]["classes"]["disc"])
        row = next(line for line in result.stdout.splitlines() if line.strip().startswith(f"{name} "))
        assert row.count("[") == 4
        assert row.rstrip().endswith("8/8/8")
    assert content["part"]["name"] == "training"
    assert "of which the adapter was fitted on 6" in result.stderr.replace("\n", " ")
    assert "8 masks in 8 images of 8 groups" in (tmp_path / "e.html").read_text()


def test_evaluate_other_classes_prompts_and_the_base_alone(run, adapter_folder, base_folder, data_folder, tmp_path):
    said = run("evaluate", data_folder, "--adapter", adapter_folder, "--classes", "square", "--prompt", "mask-box",
        "--include-train", "--refine", "--limit", 3, "--json", "e.json")  # fmt: skip
    content = json.loads((tmp_path / "e.json").read_text())
    assert list(content["adapter"]["classes"]) == ["square"]
    assert content["images"] == 3
    assert "adapter + refinement" in content
    assert "it was not fitted to square" in said.stderr.replace("\n", " ")
    run("evaluate", data_folder, "--base", base_folder, "--limit", 2, "--json", "b.json")
    alone = json.loads((tmp_path / "b.json").read_text())
    assert alone["adapter"] is None
    assert set(alone["base"]["classes"]) == {"disc", "square"}
    result = run("evaluate", data_folder, "--adapter", adapter_folder, "--classes", "nose", "--json", "n.json", code=2)
    assert "no class nose" in result.stderr.replace("'", "")
    assert not (tmp_path / "n.json").exists()


def test_predict_writes_coco_masks_and_overlays(run, adapter_folder, data_folder, tmp_path):
    run("predict", data_folder / "images", "--adapter", adapter_folder, "--with-base", "--click", "20,20",
        "--click", "70,5,0", "--out", "out")  # fmt: skip
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(content["images"]) == 8
    assert len(content["annotations"]) == 16
    assert {c["name"] for c in content["categories"]} == {"object", "disc"}
    one = content["annotations"][1]
    mask = coco.decode({"size": one["segmentation"]["size"], "counts": one["segmentation"]["counts"].encode()})
    with Image.open(tmp_path / "out" / "masks" / "p000_000_disc.png") as image:
        assert np.array_equal(np.asarray(image) > 0, mask > 0)
    assert mask.shape == (48, 80)
    assert one["area"] == mask.sum()
    assert one["prompt"] == {"points": [[20.0, 20.0], [70.0, 5.0]], "labels": [1, 0], "box": None}
    assert (tmp_path / "out" / "overlays" / "p000_base.png").is_file()


def test_predict_from_a_file_of_prompts(run, base_folder, data_folder, tmp_path):
    prompts = {
        "p001.png": [{"points": [[20, 20]]}, {"box": [3, 3, 40, 40], "label": "plate"}],
        "p002": [{"box": [1, 1, 9, 9]}],
    }
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    images = [data_folder / "images" / f"p00{i}.png" for i in (1, 2, 3)]
    run("predict", *images, "--base", base_folder, "--prompts", "prompts.json", "--out", "out")
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [a["image_id"] for a in content["annotations"]] == [1, 1, 2]
    assert {c["name"] for c in content["categories"]} == {"object", "plate"}
    assert len(content["images"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "A prompt is missing"),
        (["--click", "20"], "a click as X,Y"),
        (["--click", "20,20,7"], "label of a click"),
        (["--click", "500,20"], "outside the image"),
        (["--box", "1,2,3"], "a box as"),
        (["--box", "9,9,3,3"], "x0 < x1"),
        (["--click", "1,1", "--prompts", "x.json"], "not both"),
        (["--prompts", "x.json"], "cannot be read"),
        (["--click", "1,1", "--adapter", "nowhere"], "no folder nowhere"),
        (["--click", "1,1", "--device", "quantum"], "cannot be used"),
    ],
)
def test_wrong_arguments_of_predict_write_no_files(run, base_folder, data_folder, tmp_path, arguments, message):
    base = [] if "--adapter" in arguments else ["--base", base_folder]
    result = run("predict", data_folder / "images", "--out", "out", *base, *arguments, code=2)
    assert message in result.stderr
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == []


def test_predict_does_not_replace_other_files(run, base_folder, data_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("important")
    command = ["predict", data_folder / "images" / "p000.png", "--base", base_folder, "--click", "9,9", "--out", "out"]
    assert "exists already" in run(*command, code=2).stderr
    assert "not an earlier result" in run(*command, "--overwrite", code=2).stderr
    assert (tmp_path / "out" / "thesis.txt").read_text() == "important"
    (tmp_path / "out" / "thesis.txt").unlink()
    run(*command)
    assert "exists already" in run(*command, code=2).stderr
    run(*command, "--overwrite")
    assert "no image or folder" in run("predict", "nowhere.jpg", "--click", "1,1", code=2).stderr


def test_iou_map_of_a_file_and_of_a_data_set(run, adapter_folder, data_folder, tmp_path):
    image, mask = data_folder / "images" / "p000.png", data_folder / "masks" / "disc" / "p000.png"
    run("iou-map", image, "--mask", mask, "--adapter", adapter_folder, "--cells", 6, "--json", "m.json")
    content = json.loads((tmp_path / "m.json").read_text())
    assert set(content) == {"base", "disc"}
    assert (tmp_path / "iou-map.png").is_file()
    run("iou-map", "--data", data_folder, "--id", "p000", "--classes", "disc", "--cells", 6, "--adapter",
        adapter_folder, "--json", "n.json")  # fmt: skip
    assert json.loads((tmp_path / "n.json").read_text()) == content
    assert "no image 'p9'" in run("iou-map", "--data", data_folder, "--id", "p9", code=2).stderr
    assert "needs the true mask" in run("iou-map", image, code=2).stderr


def test_check_synth_and_info(run, base_folder, adapter_folder, data_folder, tmp_path):
    assert "disc" in run("check", data_folder, "--json", "c.json").stdout
    assert json.loads((tmp_path / "c.json").read_text())["ok"]
    run("synth", "banners", "--out", "b", "--count", 1, "--test", 1, "--size", "96x80")
    run("check", "b/train")
    run("synth", "scenes", "--out", "s", "--count", 1, "--size", "64x64")
    assert "WIDTHxHEIGHT" in run("synth", "scenes", "--out", "t", "--size", "64", code=2).stderr
    assert "1,245,250" not in run("info", base_folder, "--json", "i.json").stdout  # D is 32 here
    assert json.loads((tmp_path / "i.json").read_text())["parameters"]["base"] > 0
    assert "plm-pmm" in run("info", adapter_folder).stdout
    assert f"samtailor check {data_folder}" in run("info", data_folder, code=2).stderr
    for name in ("disc", "square"):  # of a fit of several classes
        shutil.copytree(adapter_folder, tmp_path / "several" / name)
    assert run("info", "several", "--json", "i.json").stdout.count("plm-pmm") == 2
    assert set(json.loads((tmp_path / "i.json").read_text())) == {"several/disc", "several/square"}


def test_compare_and_recipe(run, base_folder, data_folder, tmp_path):
    fast = ["--set", "steps=1", "--set", "batch_size=2", "--set", "eval_masks=2", "--set", "near_duplicates=false"]
    run("compare", data_folder, "--base", base_folder, "--methods", "sam,plm", "--per-class", "--cross", "--out", "c",
        "--html", "c.html", *fast)  # fmt: skip
    content = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert list(content["methods"]) == ["SAM", "SAM+PLM"]
    assert content["cross_model"]["SAM+PLM"]["columns"] == ["disc", "square"]
    command = [
        "recipe",
        "banner",
        "--base",
        base_folder,
        "--methods",
        "sam,plm",
        "--count",
        7,
        "--test",
        5,
        "--out",
        "r",
    ]
    result = run(*command, *fast)
    assert "95.31" in result.stdout
    table = json.loads((tmp_path / "r" / "banner.json").read_text())
    assert [row["published"] for row in table["rows"][:2]] == [[30.27], [95.31]]
    assert table["rows"][0]["ours"][0] is not None
    assert "celebamask-hq" in run("recipe").stdout
    assert "--data" in run("recipe", "car-plate", code=2).stderr


def test_demo_in_small(run, base_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("samtailor.cli.demo_banners.SIZE", (96, 128))
    command = ["demo", "--out", "d", "--base", base_folder, "--steps", 1, "--train", 8, "--test", 3]
    result = run(*command, "--only", "banners")
    assert "SAM+PLM+PMM" in result.stdout
    content = json.loads((tmp_path / "d" / "report.json").read_text())
    assert set(content["banners"]["methods"]) >= {"SAM", "SAM-F", "SAM+PLM", "SAM+PLM+PMM"}
    assert "leaves" not in content
    assert content["base"]["fingerprint"]
    html = (tmp_path / "d" / "report.html").read_text()
    for word in ("Before and after", "IoU by click position", "Refinement by the PMM", "Training", "Parameters"):
        assert word in html
    assert "other images" in run(*command, "--seed", 1, code=2).stderr
    assert not (tmp_path / "d" / "leaves").exists()  # refused before the first minute of the other part


def test_demo_of_leaves_in_small(run, base_folder, tmp_path):
    command = ["demo", "--only", "leaves", "--out", "d", "--base", base_folder, "--steps", 1, "--workers", 1]
    result = run(*command)
    for row in ("leaf: base model, one click", "lesion: base model, a click on each", "lesion: adapter, no click"):
        assert row in result.stdout
    assert "leaf: base model, a click on each" not in result.stdout  # a leaf is one piece
    content = json.loads((tmp_path / "d" / "report.json").read_text())
    leaves = content["leaves"]
    assert (len(leaves["images"]["train"]), len(leaves["images"]["test"])) == (8, 11)
    assert not set(leaves["images"]["train"]) & set(leaves["images"]["test"])
    for rows in leaves["classes"].values():
        for one in rows.values():
            low, high = one["iou_interval"]
            assert 0 <= low <= one["iou"] <= high <= 1
    assert leaves["classes"]["lesion"]["adapter, no click"]["clicks"] == 0
    assert leaves["classes"]["lesion"]["base model, a click on each"]["clicks"] > 2
    html = (tmp_path / "d" / "report.html").read_text()
    assert "esgario/lara2018" in html
    assert all(id in html for id in leaves["images"]["test"])
    with Image.open(tmp_path / "d" / "leaves.jpg") as sheet:
        assert sheet.width > 4 * 300
        assert sheet.height > 11 * 150
    for name in ("leaf", "lesion"):
        split = json.loads((tmp_path / "d" / "adapters" / name / "split.json").read_text())
        assert split["train"] == leaves["images"]["train"]
    run("check", "d/leaves")
    assert "--only must be" in run("demo", "--only", "nothing", code=2).stderr
    before = (tmp_path / "d" / "adapters" / "leaf" / "adapter.json").stat().st_mtime_ns
    run(*command)  # finished fits are kept
    assert (tmp_path / "d" / "adapters" / "leaf" / "adapter.json").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "d" / "report.json").read_text())["leaves"] == leaves
    assert "other images" in run(*command, "--seed", 1, code=2).stderr


def test_the_scores_of_the_leaves_are_those_of_the_masks():
    from samtailor.cli import demo_leaves as leaves

    leaf, spots = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    leaf[2:18, 2:28] = True
    spots[4:6, 4:6] = spots[10:14, 10:15] = True
    marked = (Annotation.from_mask("leaf", leaf), Annotation.from_mask("lesion", spots))
    image = np.zeros((20, 30, 3), np.uint8)
    test = [Sample("ill", lambda: image, lambda: marked), Sample("well", lambda: image, lambda: marked[:1])]
    half = leaf.copy()
    half[:, 15:] = False
    nothing = np.zeros_like(leaf)
    masks = {row: {"leaf": {"ill": half, "well": leaf}, "lesion": {"ill": nothing, "well": nothing}}
             for row in (leaves.ONE_CLICK, leaves.EACH_CLICK)}  # fmt: skip
    masks[leaves.ADAPTER] = {"leaf": {"ill": leaf, "well": leaf}, "lesion": {"ill": spots, "well": spots}}
    scores = leaves._scores(test, "leaf", masks, 0)
    assert list(scores) == [leaves.ONE_CLICK, leaves.ADAPTER]
    assert scores[leaves.ONE_CLICK]["iou"] == pytest.approx((0.5 + 1) / 2)
    assert (scores[leaves.ADAPTER]["iou"], scores[leaves.ADAPTER]["images"]) == (1, 2)
    scores = leaves._scores(test, "lesion", masks, 0)
    assert {row: one["clicks"] for row, one in scores.items()} == {
        leaves.ONE_CLICK: 1,
        leaves.EACH_CLICK: 2,
        leaves.ADAPTER: 0,
    }
    assert [one["iou"] for one in scores.values()] == [0, 0, 1]
    assert all(one["images"] == 1 for one in scores.values())  # the healthy leaf has no lesion to compare with
    diseased = leaves._diseased(test, masks[leaves.ADAPTER])
    share = spots.sum() / leaf.sum()
    assert (diseased["healthy"], diseased["healthy_right"]) == (1, 0)
    assert diseased["true"] == pytest.approx(share / 2)
    assert diseased["difference"] == pytest.approx(share / 2)
