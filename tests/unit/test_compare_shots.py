"""Methods and baselines over numbers of shots: the same images, nested subsets, paired rows, costs, going on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import compare, compare_shots, limit_shots, rows_of, split_for_seed, variants
from samtailor.compare.cost import Cost, Meter
from samtailor.compare.entries import kind_of, make_entry
from samtailor.compare.seed_split import few_shot_config
from samtailor.errors import InputError
from samtailor.train.config import load
from tiny import disc_sample

RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]}
NETWORK = {"backbone": RESNET, "weights": "scratch", "size": 64, "width": 32, "output_stride": 8, "batch": 2}
FAST = {"steps": 2, "batch_size": 2, "trackers": (), "eval_masks": 2, "near_duplicates": False}
METHODS = ["sam", "plm", "blo-sam", "deeplabv3"]


def runs(**deeplab):
    return variants(load(None, FAST), METHODS, {"deeplabv3": {"options": NETWORK, **deeplab}})


def two_discs(index):
    """Both objects of the image are of one class, so that a region is neither of them."""
    sample = disc_sample(index)
    both = tuple(replace(annotation, label="disc") for annotation in sample.annotations)
    return replace(sample, read_annotations=lambda: both)


@pytest.fixture(scope="module")
def arguments(tiny_sam, tmp_path_factory):
    """Arguments of one comparison: fit on seven images, a test set of its own of three."""
    store = EmbeddingCache(tmp_path_factory.mktemp("embeddings"))
    samples = [two_discs(i) for i in range(10)]
    places = (tmp_path_factory.mktemp("out"), tiny_sam, samples[:7], samples[7:])
    return places, {"shots": [2, 4], "seeds": [0, 1], "classes": ["disc"], "store": store}


@pytest.fixture(scope="module")
def comparisons(arguments):
    places, more = arguments
    return compare_shots(runs(), *places, **more)


def split_of(one, name, seed):
    return json.loads((one.folders[f"{name}/{seed}/all"] / "split.json").read_text())


def test_all_methods_get_the_same_images_and_smaller_sets_are_subsets(comparisons):
    for seed in (0, 1):
        parts = []
        for one, count in zip(comparisons, (2, 4), strict=True):
            trained = [split_of(one, name, seed)["train"] for name in ("SAM+PLM", "BLO-SAM", "DeepLabV3")]
            assert trained[0] == trained[1] == trained[2]
            assert len(trained[0]) == count
            parts.append(trained[0])
        assert parts[1][:2] == parts[0]
        assert split_of(comparisons[0], "SAM+PLM", seed)["val"] == []  # no further mask selects a state
        assert set(comparisons[0].held_out[seed]) == {"p007", "p008", "p009"}
    assert split_of(comparisons[0], "SAM+PLM", 0)["train"] != split_of(comparisons[0], "SAM+PLM", 1)["train"]


def test_all_are_evaluated_on_the_same_regions(comparisons):
    for one in comparisons:
        assert one.regions
        for parts in zip(*one.scores.values(), strict=True):
            keys = [[(row.id, row.label, row.index, row.area) for row in part.rows] for part in parts]
            assert all(key == keys[0] for key in keys)
            assert [key[:3] for key in keys[0]] == [(f"p00{i}", "disc", 0) for i in (7, 8, 9)]


def test_rows_are_means_over_seeds_with_paired_differences(comparisons):
    rows = rows_of(comparisons)
    assert [(row["method"], row["shots"]) for row in rows] == [(name, k) for k in (2, 4) for name in METHODS]
    assert [row["prompt"] for row in rows[:4]] == ["mask-center", "mask-center", "none", "none"]
    assert rows[3]["weights"] == "scratch"
    sam, blo = rows[0], rows[2]
    assert sam["kept_step"] == {}
    assert rows[1]["kept_step"] == {"0/all": None, "1/all": None}  # nothing to choose with
    assert set(blo["kept_step"].values()) <= {0, 1, 2}
    for name, figure in (("dice", "dice"), ("iou", "miou")):
        own = [float(part.values(figure).mean()) for part in comparisons[0].scores["BLO-SAM"]]
        assert [blo["seeds"][str(seed)][name] for seed in (0, 1)] == own
        assert blo[name] == pytest.approx(np.mean(own), abs=1e-12)
        half = 12.706 * np.std(own, ddof=1) / 2**0.5
        bounds = [max(0, np.mean(own) - half), min(1, np.mean(own) + half)]
        assert blo[f"{name}_interval"] == pytest.approx(bounds)
        assert blo["difference"][name] == pytest.approx(blo[name] - sam[name], abs=1e-12)
    assert sam["difference"] is None
    assert blo["difference"]["to"] == "SAM"
    assert rows[4]["seeds"] == sam["seeds"]  # nothing was fitted, and the test images are the same
    against = rows_of(comparisons, "BLO-SAM")
    assert against[0]["difference"]["dice"] == pytest.approx(-blo["difference"]["dice"])
    with pytest.raises(InputError, match="no 'HSNet'"):
        rows_of(comparisons, "HSNet")


def test_costs_of_each_method(comparisons, tiny_sam):
    costs = {row["method"]: row["cost"] for row in rows_of(comparisons[:1])}
    assert costs["sam"] == {
        "parameters": 0,
        "seconds": 0,
        "cpu_seconds": 0,
        "encode_seconds": 0,
        "peak_memory_mib": None,
        "encoder_cached": True,
    }
    row = make_entry(runs()["BLO-SAM"], tiny_sam, ["disc"])
    assert costs["blo-sam"]["parameters"] == row.learns > 0
    assert costs["blo-sam"]["encoder_cached"]
    assert not costs["deeplabv3"]["encoder_cached"]
    assert costs["deeplabv3"]["encode_seconds"] == 0.0
    for name in ("plm", "blo-sam", "deeplabv3"):
        assert costs[name]["seconds"] > 0
        assert costs[name]["peak_memory_mib"] > 50


def test_a_restarted_comparison_continues_and_refuses_other_settings(arguments, comparisons, monkeypatch):
    places, more = arguments
    with monkeypatch.context() as patch:
        patch.setattr("samtailor.train.loop.run", None)
        patch.setattr("samtailor.compare.baselines._state.run", None)
        patch.setattr("samtailor.compare.scoring.evaluate_many", None)
        patch.setattr("samtailor.compare.baselines.evaluate_baseline", None, raising=False)
        again = compare_shots(runs(), *places, **more)
    assert [one.scores for one in again] == [one.scores for one in comparisons]
    assert rows_of(again) == rows_of(comparisons)
    with pytest.raises(InputError, match="another steps"):
        compare_shots(runs(steps=3), *places, **more)
    out, base, samples, held_out = places
    with pytest.raises(InputError, match="other images"):
        compare_shots(runs(), out, base, samples[:5], held_out, **more)


def test_shots_hold_nothing_out_by_default():
    assert few_shot_config(load(None, {}), 4).val == 0
    assert few_shot_config(load(None, {"val": 0.25}), 4).val == 0.25
    assert few_shot_config(load(None, {}), None).val == 0.15


def test_shots_of_one_group_come_last(tiny_samples):
    """Near-copies that the split keeps together are one example."""
    config = load(None, FAST | {"shots": 2})
    images = split_for_seed(tiny_samples, config, 0, ["disc"])
    train = images.split.train
    grouped = replace(images, split=replace(images.split, groups=(train[:-1],)))
    kept = limit_shots(grouped, config, ["disc"]).split.train
    assert train[-1] in kept


def test_names_and_classes_are_checked_before_anything_is_fitted(tiny_sam, tiny_samples, tmp_path):
    assert (kind_of("AM_SAM"), kind_of("swin-unet")) == ("methods", "baselines")
    with pytest.raises(InputError, match="Did you mean 'am-sam'"):
        kind_of("am-sm")
    rows = variants(load(None, FAST), ["plm", "blo-sam"])
    with pytest.raises(InputError, match="one class"):
        compare_shots(rows, tmp_path, tiny_sam, tiny_samples, shots=[2])
    with pytest.raises(InputError, match="rising"):
        compare_shots(rows, tmp_path, tiny_sam, tiny_samples, shots=[4, 2])
    with pytest.raises(InputError, match="no option 'nose'"):
        make_entry(load(None, FAST | {"method": "plm", "options": {"nose": 1}}), tiny_sam, ["disc"])
    assert list(tmp_path.iterdir()) == []


def test_memory_and_time_are_measured_and_parts_of_a_fit_add_up(tmp_path):
    import torch

    with Meter(torch.device("cpu")) as small:
        sum(range(1000))
    with Meter(torch.device("cpu")) as large:
        held = np.ones(40_000_000)  # 305 MiB
    assert large.mib - small.mib > 250
    assert held.sum() == 40_000_000
    assert large.seconds >= large.cpu_seconds * 0.5 > 0
    first, second = Cost(5, 2.0, 1.0, 300.0, True), Cost(5, 3.0, 1.0, 200.0, True, cpu_seconds=1.0)
    both = second.after(first)
    assert both.cpu_seconds is None  # not measured in the first part
    assert (both.seconds, both.peak_memory_mib, both.encode_seconds, both.resumed) == (5.0, 300.0, 1.0, True)
    both.write(tmp_path)
    assert Cost.read(tmp_path) == both
    assert Cost.read(tmp_path / "nowhere") is None


PLUGIN = '''
"""A baseline that paints every pixel in which an image is bright."""

import numpy as np
import torch

from samtailor.compare.baselines import BaselineFit

TITLE = "Bright pixels"


class Bright(torch.nn.Module):
    name, weights, classes = "bright", "scratch", ()

    def __init__(self, count, **options):
        super().__init__()
        self.options = {"classes": count, **options}
        self.level = torch.nn.Parameter(torch.zeros(()))

    def fit(self, samples, held_out, classes, *, seed=0, steps=None, epochs=None, device=None, progress=None):
        self.classes = tuple(classes)
        self.level.data.fill_(float(np.mean([sample.image.mean() for sample in samples])))
        return BaselineFit(1, 1, None)

    @torch.no_grad()
    def segment(self, image):
        values = torch.from_numpy(image).float().mean(2) - self.level.cpu()
        return values.expand(len(self.classes), -1, -1).contiguous()

    def learned(self):
        return {"level": self.level.detach().cpu()}

    def load_learned(self, tensors):
        self.level.data.copy_(tensors["level"])

    def parameters_by_use(self):
        return {"all": 1, "trained": 1}


def build(classes=1, *, weights=None, seed=0):
    return Bright(classes, seed=seed)
'''


def test_a_file_outside_the_package_is_a_baseline(tiny_sam, tiny_samples, tmp_path, monkeypatch):
    (tmp_path / "plugins" / "baselines").mkdir(parents=True)
    (tmp_path / "plugins" / "baselines" / "bright.py").write_text(PLUGIN)
    monkeypatch.setenv("SAMTAILOR_PLUGINS", str(tmp_path / "plugins"))
    runs = variants(load(None, FAST), ["bright"])
    assert list(runs) == ["Bright pixels"], "the title comes from the file"
    result = compare(runs, tmp_path / "out", tiny_sam, tiny_samples[:7], tiny_samples[7:], classes=["disc"])
    (row,) = rows_of([result])
    assert row["cost"]["parameters"] == 1
    assert row["dice"] > 0.2
    assert result.weights == {"Bright pixels": "scratch"}
