"""Leaving one data source of the bundled base out: which views remain, the runs, and the tables of their results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import measure_base_sources
import record_base_training
import results
from bundled_base import cache, compose, leave_one_out, network
from bundled_base.evaluation import Item
from bundled_base.images import Labelled
from figures import views
from results import Figure

SIDE = 64
NAMES = [next(iter(sources)) for _, sources in leave_one_out.GROUPS.values()]


def labelled(*sources: str) -> Labelled:
    objects = np.zeros((96, 96), np.uint16)
    objects[20:80, 20:70] = 1
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return Labelled(image, objects, np.zeros_like(objects), sources=sources)


def test_an_image_names_the_sources_of_its_background_and_of_what_is_pasted():
    item = compose.cut_out(labelled("street_fashion"), 1)
    pasted = compose.paste(np.random.default_rng(0), labelled("facades"), [item, item])
    assert pasted.sources == ("street_fashion", "facades")


@pytest.fixture(scope="module")
def model():
    return network.build(0, size=SIDE).eval()


@pytest.fixture(scope="module")
def cached(model, tmp_path_factory) -> Path:
    """Two views of each group, every second one on a background of facades."""
    images = [labelled(name, *more) for name in NAMES for more in ((), ("facades",))]

    def stream():
        rng = np.random.default_rng(0)
        while True:
            yield from ((rng, image) for image in images)

    folder = tmp_path_factory.mktemp("cache")
    trunk = model.vision_encoder.backbone.trunk
    cache.write(folder / "0001-0000", *cache.make(trunk, stream(), len(images), SIDE))
    return folder


def places(kept: list[leave_one_out.View]) -> list[int]:
    return [index for _, index in kept]


def test_what_is_left_out_is_in_no_view_and_the_order_stays(cached):
    all_views = leave_one_out.cached_views(cached)
    assert len(all_views) == 2 * len(NAMES)
    for seed in (0, 1):
        order = places(leave_one_out.chosen(all_views, "all", len(all_views), seed))
        for group, (_, sources) in leave_one_out.GROUPS.items():
            kept = leave_one_out.chosen(all_views, group, 7, seed)
            assert not any(sources & set(shard.meta[index]["sources"]) for shard, index in kept)
            assert places(kept) == [i for i in order if i in places(kept)]
    assert places(leave_one_out.chosen(all_views, "all", 16, 0)) != places(
        leave_one_out.chosen(all_views, "all", 16, 1)
    )
    without = places(leave_one_out.chosen(all_views, "facades", 7, 0))
    assert all(index % 2 == 0 for index in without)  # the odd ones have facades behind


def test_a_cache_that_does_not_do_is_refused(cached, tmp_path):
    all_views = leave_one_out.cached_views(cached)
    with pytest.raises(SystemExit, match=r"Without drawings the cache has 14 views; --different 15"):
        leave_one_out.chosen(all_views, "drawings", 15, 0)
    with pytest.raises(SystemExit, match="holds no views"):
        leave_one_out.cached_views(tmp_path)
    changed = tmp_path / "cache"
    changed.mkdir()
    for file in (cached / "0001-0000").iterdir():
        (changed / "1").mkdir(exist_ok=True)
        (changed / "1" / file.name).write_bytes(file.read_bytes())
    meta = json.loads((changed / "1" / "meta.json").read_text())
    without = [one | {"sources": ["scenes"]} for one in meta]
    (changed / "1" / "meta.json").write_text(json.dumps(without))
    with pytest.raises(SystemExit, match="holds no view of: street fashion, drawings"):
        leave_one_out.cached_views(changed)
    for one in without:
        del one["sources"]
    (changed / "1" / "meta.json").write_text(json.dumps(without))
    with pytest.raises(SystemExit, match="does not state the sources"):
        leave_one_out.cached_views(changed)


def test_each_run_is_made_once_and_its_row_written_at_once(cached, tmp_path, monkeypatch):
    item = Item(np.zeros((network.SIZE, network.SIZE, 3), np.uint8), np.eye(2, dtype=bool)[:, :, None].repeat(2, 2))
    monkeypatch.setattr(
        leave_one_out, "held_out_sets", lambda *_, **__: {name: [item] for name in ("humans", "dev_open")}
    )
    monkeypatch.setattr(leave_one_out, "GROUPS", {k: leave_one_out.GROUPS[k] for k in ("drawings",)})
    monkeypatch.setattr(measure_base_sources, "GROUPS", leave_one_out.GROUPS)
    monkeypatch.setattr(measure_base_sources, "TITLES", {name: name for name in ("humans", "dev_open")})
    monkeypatch.setattr(network, "load_trunk", lambda *_: None)
    file, made = tmp_path / "base-sources.json", []
    words = [str(cached), str(tmp_path / "runs"), "--trunk=none", "--data=none", "--data-open=none", "--seeds=0,1"]
    words += ["--views=4", "--different=4", f"--size={SIDE}", "--batch=2", f"--results={file}"]
    monkeypatch.setattr(sys, "argv", ["measure_base_sources.py", *words])
    train = measure_base_sources.train

    def counted(*arguments):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(measure_base_sources, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        measure_base_sources.main()
    tables = results.read("base-sources", tmp_path).tables
    assert list(tables["oracle"].rows) == ["all", "drawings"]
    assert [len(tables["oracle"].rows[name]["humans"].seeds) for name in ("all", "drawings")] == [2, 1]
    assert list(tables["views"].rows) == ["2", "4"]
    made.clear()
    measure_base_sources.main()
    assert len(made) == 1
    tables = results.read("base-sources", tmp_path).tables
    assert len(tables["box"].rows["drawings"]["dev-open"].seeds) == 2
    assert tables["box"].rows["drawings"]["share"] == 12.5
    monkeypatch.setattr(sys, "argv", ["measure_base_sources.py", *words, "--early=3"])
    with pytest.raises(SystemExit, match="was made with other settings"):
        measure_base_sources.main()


def test_differences_are_those_of_the_same_seeds():
    one, other = Figure(value=2, seeds=(1.0, 3.0)), Figure(value=5, seeds=(3.0, 4.0, 8.0))
    assert views.difference(one, other) == Figure(value=-1.5, seeds=(-2.0, -1.0))
    assert views.difference(Figure(value=1, seeds=(1.0,)), other) == Figure(value=-2.0)
    assert views.spread_of(other) == 5
    assert views.spread_of(Figure(value=1, seeds=(1.0,))) is None


def test_figures_of_a_training_come_from_its_log_and_from_its_export(tmp_path, monkeypatch):
    figures = {name: {"center_oracle": 0.5, "center_default": 0.4, "box_default": 0.6} for name in ("scenes", "humans")}
    entry = {"images": 4000, "held_out": figures}
    log, export = tmp_path / "log.jsonl", tmp_path / "training.json"
    log.write_text("\n".join(json.dumps(one) for one in ({"images": 100, "mask": 1.0}, entry)) + "\n")
    export.write_text(json.dumps({"progress": {}, "held_out": entry | {"images": 900}}))
    file = tmp_path / "base-training.json"
    for source in (log, export):
        monkeypatch.setattr(sys, "argv", ["record_base_training.py", str(source), f"--results={file}"])
        record_base_training.main()
    table = results.read("base-training", tmp_path).tables["box"]
    assert list(table.rows) == ["900", "4000"]
    assert table.rows["4000"] == {"views": 4000, "scenes": 60.0, "humans": 60.0}
    log.write_text(json.dumps({"images": 100, "mask": 1.0}))
    monkeypatch.setattr(sys, "argv", ["record_base_training.py", str(log), f"--results={file}"])
    with pytest.raises(SystemExit, match="no measurement"):
        record_base_training.main()
