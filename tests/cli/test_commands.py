"""The commands, on a tiny base, from files to files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco


def figures_are_shares(part):
    for name in ("miou", "oracle_miou", "dice"):
        assert 0 <= part[name] <= 1
        low, high = part[f"{name}_interval"]
        assert 0 <= low <= part[name] <= high <= 1


def test_fit_resume_and_overwrite(run, base_folder, data_folder, tmp_path):
    asked = ["fit", data_folder, "--base", base_folder, "--method", "plm", "--classes", "disc", "--out", "a"]
    asked += ["--steps", 2, "--batch-size", 2, "--val", 2, "--set", "trackers=[]", "--set", "eval_masks=2"]
    result = run(*asked)
    assert "Held-out mIoU" in result.stderr
    meta = json.loads((tmp_path / "a" / "adapter.json").read_text())
    assert (meta["method"], meta["classes"], meta["steps"]) == ("plm", ["disc"], 2)
    assert "finished fit" in run(*asked, code=2).stderr
    run(*asked, "--resume")
    run(*asked, "--overwrite")


def test_fit_without_held_out_images_tells_what_new_images_chose(run, base_folder, data_folder, tmp_path):
    asked = ["fit", data_folder, "--base", base_folder, "--classes", "disc", "--val", 0, "--test", 2, "--steps", 1]
    asked += ["--set", "trackers=[]", "--set", "options.width=32", "--set", "near_duplicates=false"]
    told = run(*asked, "--out", "a").stderr
    assert "No held-out images: the last state was kept." in told
    assert "Without a prompt: Dice" in told
    assert "new to whoever answered" in told
    asked_again = ["evaluate", data_folder, "--adapter", "a", "--prompt", "auto", "--json", "e.json"]
    told = run(*asked_again, "--part", "test").stderr
    assert "only the adapter is judged" in told  # it finds its objects by itself; the base would have to be asked
    found = json.loads((tmp_path / "e.json").read_text())
    assert "base" not in found
    assert 0 <= found["adapter"]["ap50"] <= 1
    told = run(*asked, "--out", "b", "--set", "options.settle=false").stderr
    assert "Without a prompt" not in told


def test_a_tempered_fit_says_so():
    from samtailor.cli.fit import _tempered

    found = {"share": 0.5, "share_miou": 0.52, "share_base_miou": 0.5}
    assert "go 50 % of the way from the base: mIoU 52.0" in _tempered(found)
    assert "are the base's own" in _tempered({**found, "share": 0.0})
    assert _tempered({**found, "share": 1.0}) == ""


def test_evaluate_writes_base_and_adapter(run, adapter_folder, data_folder, tmp_path):
    result = run("evaluate", data_folder, "--adapter", adapter_folder, "--json", "e.json", "--html", "e.html", "--rows")
    found = json.loads((tmp_path / "e.json").read_text())
    split = json.loads((adapter_folder / "split.json").read_text())
    for name in ("base", "adapter"):
        figures_are_shares(found[name])
        assert list(found[name]["classes"]) == ["disc"]
        figures_are_shares(found[name]["classes"]["disc"])
    assert set(found["left_out_ids"]) == set(split["train"])
    assert not set(found["ids"]) & set(split["train"])
    assert found["protocol"]["prompt"] == "mask-center"
    assert found["versions"]["samtailor"]
    assert len(found["rows"]["base"]) == found["base"]["masks"]
    assert "mIoU" in result.stdout
    assert "left out" in result.stderr
    assert "data:image/jpeg" in (tmp_path / "e.html").read_text()


def test_evaluate_other_classes_prompts_and_the_base_alone(run, adapter_folder, base_folder, data_folder, tmp_path):
    run("evaluate", data_folder, "--adapter", adapter_folder, "--classes", "square", "--prompt", "mask-box", "--all",
        "--refine", "--limit", 3, "--json", "e.json")  # fmt: skip
    found = json.loads((tmp_path / "e.json").read_text())
    assert list(found["adapter"]["classes"]) == ["square"]
    assert found["images"] == 3
    assert "adapter + refinement" in found
    run("evaluate", data_folder, "--base", base_folder, "--limit", 2, "--json", "b.json")
    alone = json.loads((tmp_path / "b.json").read_text())
    assert alone["adapter"] is None
    assert set(alone["base"]["classes"]) == {"disc", "square"}
    told = run("evaluate", data_folder, "--adapter", adapter_folder, "--classes", "nose", "--json", "n.json", code=2)
    assert "no class nose" in told.stderr.replace("'", "")
    assert not (tmp_path / "n.json").exists()


def test_predict_writes_coco_masks_and_overlays(run, adapter_folder, data_folder, tmp_path):
    run("predict", data_folder / "images", "--adapter", adapter_folder, "--with-base", "--click", "20,20",
        "--click", "70,5,0", "--out", "out")  # fmt: skip
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(found["images"]) == 8
    assert len(found["annotations"]) == 16
    assert {c["name"] for c in found["categories"]} == {"object", "disc"}
    one = found["annotations"][1]
    mask = coco.decode({"size": one["segmentation"]["size"], "counts": one["segmentation"]["counts"].encode()})
    with Image.open(tmp_path / "out" / "masks" / "p000_000_disc.png") as image:
        assert np.array_equal(np.asarray(image) > 0, mask > 0)
    assert mask.shape == (48, 80)
    assert one["area"] == mask.sum()
    assert one["prompt"] == {"points": [[20.0, 20.0], [70.0, 5.0]], "labels": [1, 0], "box": None}
    assert (tmp_path / "out" / "overlays" / "p000_base.png").is_file()


def test_predict_from_a_file_of_prompts(run, base_folder, data_folder, tmp_path):
    asked = {
        "p001.png": [{"points": [[20, 20]]}, {"box": [3, 3, 40, 40], "label": "plate"}],
        "p002": [{"box": [1, 1, 9, 9]}],
    }
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    images = [data_folder / "images" / f"p00{i}.png" for i in (1, 2, 3)]
    run("predict", *images, "--base", base_folder, "--prompts", "asked.json", "--out", "out")
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [a["image_id"] for a in found["annotations"]] == [1, 1, 2]
    assert {c["name"] for c in found["categories"]} == {"object", "plate"}
    assert len(found["images"]) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Say what to segment"),
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
def test_wrong_predictions_leave_nothing_behind(run, base_folder, data_folder, tmp_path, arguments, told):
    base = [] if "--adapter" in arguments else ["--base", base_folder]
    result = run("predict", data_folder / "images", "--out", "out", *base, *arguments, code=2)
    assert told in result.stderr
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == []


def test_predict_does_not_replace_what_is_not_its_own(run, base_folder, data_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("important")
    asked = ["predict", data_folder / "images" / "p000.png", "--base", base_folder, "--click", "9,9", "--out", "out"]
    assert "exists already" in run(*asked, code=2).stderr
    assert "not an earlier result" in run(*asked, "--overwrite", code=2).stderr
    assert (tmp_path / "out" / "thesis.txt").read_text() == "important"
    (tmp_path / "out" / "thesis.txt").unlink()
    run(*asked)
    assert "exists already" in run(*asked, code=2).stderr
    run(*asked, "--overwrite")
    assert "no image or folder" in run("predict", "nowhere.jpg", "--click", "1,1", code=2).stderr


def test_iou_map_of_a_file_and_of_a_data_set(run, adapter_folder, data_folder, tmp_path):
    image, mask = data_folder / "images" / "p000.png", data_folder / "masks" / "disc" / "p000.png"
    run("iou-map", image, "--mask", mask, "--adapter", adapter_folder, "--cells", 6, "--json", "m.json")
    found = json.loads((tmp_path / "m.json").read_text())
    assert set(found) == {"base", "disc"}
    assert (tmp_path / "iou-map.png").is_file()
    run("iou-map", "--data", data_folder, "--id", "p000", "--classes", "disc", "--cells", 6, "--adapter",
        adapter_folder, "--json", "n.json")  # fmt: skip
    assert json.loads((tmp_path / "n.json").read_text()) == found
    assert "no image 'p9'" in run("iou-map", "--data", data_folder, "--id", "p9", code=2).stderr
    assert "with --mask" in run("iou-map", image, code=2).stderr


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


def test_compare_and_recipe(run, base_folder, data_folder, tmp_path):
    fast = ["--set", "steps=1", "--set", "batch_size=2", "--set", "eval_masks=2", "--set", "near_duplicates=false"]
    run("compare", data_folder, "--base", base_folder, "--methods", "sam,plm", "--per-class", "--cross", "--out", "c",
        "--html", "c.html", *fast)  # fmt: skip
    found = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert list(found["methods"]) == ["SAM", "SAM+PLM"]
    assert found["cross_model"]["SAM+PLM"]["columns"] == ["disc", "square"]
    asked = ["recipe", "banner", "--base", base_folder, "--methods", "sam,plm", "--count", 4, "--test", 2, "--out", "r"]
    result = run(*asked, *fast)
    assert "95.31" in result.stdout
    table = json.loads((tmp_path / "r" / "banner.json").read_text())
    assert [row["published"] for row in table["rows"][:2]] == [[30.27], [95.31]]
    assert table["rows"][0]["ours"][0] is not None
    assert "celebamask-hq" in run("recipe").stdout
    assert "--data" in run("recipe", "car-plate", code=2).stderr


def test_demo_in_small(run, base_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("samtailor.cli._demo_fits.SIZE", (96, 128))
    asked = ["demo", "--out", "d", "--base", base_folder, "--steps", 1, "--train", 8, "--test", 3]
    result = run(*asked)
    assert "SAM+PLM+PMM" in result.stdout
    found = json.loads((tmp_path / "d" / "report.json").read_text())
    assert set(found["methods"]) >= {"SAM", "SAM-F", "SAM+PLM", "SAM+PLM+PMM"}
    html = (tmp_path / "d" / "report.html").read_text()
    for word in ("Before and after", "Where one may click", "Refinement by the PMM", "Training", "Parameters"):
        assert word in html
    assert "other images" in run(*asked, "--seed", 1, code=2).stderr
