"""Recipes hold the published figures exactly, and make rows beside them."""

from __future__ import annotations

import pytest

from samtailor.cli.recipe_table import lines_of, section
from samtailor.compare.recipes import (
    Recipe,
    Run,
    beside,
    config_of,
    differences,
    differing,
    fit_settings,
    head,
    narrowed,
    read,
    recipe_names,
    text,
    variants_of,
)
from samtailor.errors import InputError
from samtailor.train.config import resolve
from samtailor.train.departures import flat


def test_names_of_the_recipes():
    assert recipe_names() == [
        "am-sam-figure6",
        "am-sam-figure6-isic",
        "am-sam-figure6-tiktok",
        *AM_SAM,
        "banner",
        "car-plate",
        "celebamask-hq",
    ]


def test_published_averages_are_those_of_their_columns():
    recipe = read("celebamask-hq")
    assert len(recipe.columns) == 18
    for title, cells in recipe.published.items():
        if "not legible" in cells:
            assert title == "SAM+PLM+PMM (oracle)"
            assert cells.count("not legible") == 10
            continue
        assert sum(cells[:18]) / 18 == pytest.approx(cells[18], abs=0.0101), title


@pytest.mark.parametrize(
    ("name", "row", "column", "figure"),
    [
        ("celebamask-hq", "SAM", "nose", 12.62),
        ("celebamask-hq", "SAM+PLM", "ear_r", 34.77),
        ("celebamask-hq", "SAM+PLM+PMM", "average", 71.67),
        ("celebamask-hq", "SAM (oracle)", "neck", 30.87),
        ("banner", "SAM", "banner", 30.27),
        ("banner", "SAM+PLM+PMM (oracle)", "banner", 97.44),
        ("car-plate", "SAM-F", "licence", 53.90),
        ("car-plate", "SAM+PLM+PMM (oracle)", "licence", 81.80),
    ],
)
def test_published_figures(name, row, column, figure):
    recipe = read(name)
    assert recipe.published[row][head(recipe).index(column)] == figure


def test_columns_are_the_parts_of_the_data_set():
    from samtailor.data.sets.celebamask_hq import PARTS

    assert read("celebamask-hq").columns == PARTS


def test_measured_figures_next_to_published_ones():
    recipe = read("celebamask-hq")
    figures = {"miou": 0.5, "miou_interval": [0.4, 0.7], "oracle_miou": 0.6, "masks": 9}
    classes = {name: figures for name in recipe.columns if name != "hat"}
    rows = {row["title"]: row for row in beside(recipe, {title: {"classes": classes} for title in recipe.runs})}
    sam = rows["SAM"]
    assert sam["ours"][0] == 50.0
    assert sam["ours"][recipe.columns.index("hat")] is None
    assert sam["ours"][-1] == pytest.approx(50.0)
    assert sam["published"][0] == 71.37
    assert sam["intervals"][0] == pytest.approx([40, 70])
    assert (sam["masks"][0], sam["masks"][-1], sam["intervals"][-1]) == (9, 17 * 9, None)
    assert rows["SAM (oracle)"]["published"][-1] == 43.36
    assert rows["SAM+PLM (oracle)"]["published"] == [None] * 19  # announced in the paper and not there
    assert [text(cell) for cell in rows["SAM+PLM+PMM (oracle)"]["published"][8:10]] == ["77.07", "not legible"]
    assert text(None) == "-"


def test_figures_of_fewer_than_five_masks_are_not_shown():
    """Neither in the terminal nor in the page, and not as a part of the average."""
    recipe = narrowed(read("celebamask-hq"), classes=["nose", "hat"], methods=["sam"])
    bounds = {"miou_interval": [0.4, 0.7]}
    classes = {"nose": {"miou": 0.5, "masks": 5, **bounds}, "hat": {"miou": 0.9, "masks": 4, **bounds}}
    row = beside(recipe, {"SAM": {"classes": classes, "macro_miou_interval": [0.1, 0.2]}})[0]
    assert row["ours"] == [50.0, None, 50.0]
    assert row["intervals"] == [[40.0, 70.0], None, None]
    lines = dict(lines_of([row | {"settings": "both"}]))
    assert lines["measured"] == ["SAM", "50.00", "too few to say", "50.00"]
    assert lines["interval"] == ["SAM, 95 %", "[40.0, 70.0]", "", ""]
    assert lines["published"] == ["SAM, published", "12.62", "58.95", "-"]
    assert lines["count"] == ["number of masks", "5", "4", "9"]
    shown = section(recipe, [row])["rows"]
    assert [line["strong"] for line in shown] == [True, False, False, False]
    assert "90.0" not in str(shown)
    all_columns = {name: {"miou": 0.5, "masks": 5} for name in recipe.columns}
    row = beside(recipe, {"SAM": {"classes": all_columns, "macro_miou_interval": [0.4, 0.6]}})[0]
    assert row["intervals"][-1] == [40.0, 60.0]


def test_settings_of_the_paper():
    settings = fit_settings("paper")
    assert settings["steps"] == 20000
    assert settings["lr"] == 1e-5
    assert (settings["warmup"], settings["weight_decay"], settings["batch_size"]) == (250, 0.01, 10)
    assert settings["milestones"] == [0.66667, 0.86666]
    config = resolve(config_of(read("banner").runs["SAM+PLM"], read("banner").preset, steps=7, base=None))
    assert (config.method, config.steps, config.lr) == ("plm", 7, 1e-5)
    assert config.max_grad_norm == 0  # the paper names none
    assert resolve(config_of(read("banner").runs["SAM-F"], "kim-2024")).steps == 1000  # its own


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'banner'"):
        read("baner")
    with pytest.raises(InputError, match="Known: paper"):
        fit_settings("papers of all kinds")
    (tmp_path / "own.yaml").write_text("steps: 5\nlr: 1.0e-4\n")
    assert fit_settings(str(tmp_path / "own.yaml")) == {"steps": 5, "lr": 1e-4}
    with pytest.raises(InputError, match="no configuration file"):
        fit_settings("missing.yaml")


AM_SAM = ["am-sam-table1", "am-sam-table2", "am-sam-table3", "am-sam-table4-isic", "am-sam-table4-tiktok"]


@pytest.mark.parametrize(
    ("name", "row", "shots", "dice"),
    [
        ("am-sam-table1", "DeepLab", 4, 31.8),
        ("am-sam-table1", "HSNet", 8, 55.8),
        ("am-sam-table1", "SAM", 8, 26.0),
        ("am-sam-table1", "AM-SAM", 4, 81.3),
        ("am-sam-table2", "BLO-SAM", 16, 92.4),
        ("am-sam-table2", "AM-SAM", 8, 92.9),
        ("am-sam-table3", "BLO-SAM", 8, 62.3),
        ("am-sam-table3", "AM-SAM", 16, 71.9),
        ("am-sam-table4-isic", "boxes", 4, 67.7),
        ("am-sam-table4-isic", "calibration", 8, 68.6),
        ("am-sam-table4-tiktok", "boxes and calibration", 4, 83.4),
        ("am-sam-table4-tiktok", "neither", 8, 84.0),
    ],
)
def test_published_figures_over_shots(name, row, shots, dice):
    recipe = read(name)
    assert recipe.published[row][head(recipe).index(f"{shots} shots")] == dice


@pytest.mark.parametrize("name", AM_SAM)
def test_tables_over_shots_name_a_reader_and_every_published_row(name):
    from samtailor.registry import names

    recipe = read(name)
    assert recipe.format in names("sets")
    assert [run.published for run in recipe.runs.values()] == list(recipe.published)
    assert recipe.figure == "dice"


def test_measured_figures_over_shots_next_to_published_ones():
    recipe = read("am-sam-table2")
    by_shots = {k: {"classes": {"person": {"dice": k / 100, "miou": 0.0, "masks": 9}}} for k in (4, 8, 16)}
    rows = beside(recipe, dict.fromkeys(recipe.runs, by_shots))
    assert [row["title"] for row in rows] == ["BLO-SAM", "AM-SAM"]
    assert rows[1] == {
        "title": "AM-SAM",
        "ours": [4.0, 8.0, 16.0],
        "intervals": [None] * 3,
        "masks": [9] * 3,
        "published": [90.4, 92.9, 93.3],
    }
    with pytest.raises(InputError, match="8 has none"):
        beside(recipe, {title: {4: by_shots[4]} for title in recipe.runs})


def test_only_some_of_a_table():
    recipe = narrowed(read("am-sam-table2"), methods=["am-sam"], shots=[4, 16])
    assert (list(recipe.runs), recipe.shots) == (["AM-SAM"], (4, 16))
    assert recipe.published["AM-SAM"] == (90.4, 93.3)
    faces = narrowed(read("celebamask-hq"), classes=["nose", "hat"])
    assert [len(cells) for cells in faces.published.values()] == [3] * len(faces.published)
    assert faces.published["SAM"][-1] is None  # the paper's average is over all columns
    with pytest.raises(InputError, match="no number of shots 5"):
        narrowed(recipe, shots=[5])


def test_a_sweep_has_a_number_in_every_row():
    recipe = read("am-sam-figure6")
    assert [run.options["alpha"] for run in recipe.runs.values()] == [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
    run = Run(method="am-sam", options={"alpha": "much"})
    with pytest.raises(ValueError, match="sweeps"):
        Recipe(kind="table", title="", source="", columns=("a",), sweep="alpha", runs={"x": run}, published={})


def test_options_of_a_row_are_merged_with_given_ones():
    run = Run(method="am-sam", options={"alpha": 0.3})
    assert config_of(run, options={"rank": 2}).options == {"alpha": 0.3, "rank": 2}


@pytest.mark.parametrize("data", ["isic", "tiktok"])
def test_the_ablation_differs_in_nothing_but_what_it_ablates(data):
    recipe = read(f"am-sam-table4-{data}")
    detector = {"prompt_options": {"detector": "full-frame"}}
    runs = {title: flat(config_of(run, recipe.preset, **detector)) for title, run in recipe.runs.items()}
    full = runs["boxes and calibration"]
    boxes = {name for name in full if name.startswith("prompt")}
    for title, allowed in (
        ("boxes", {"options.calibration"}),
        ("calibration", boxes),
        ("neither", boxes | {"options.calibration"}),
    ):
        changed = {name for name in {*full, *runs[title]} if full.get(name) != runs[title].get(name)}
        assert changed, title
        assert changed <= allowed, title
    assert (runs["neither"]["prompt"], runs["boxes"]["prompt"]) == ("none", "detector")


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_shows_where_the_settings_of_the_paper_and_the_defaults_differ(name):
    recipe = read(name)
    runs = {title: config_of(run, recipe.preset, base="lite") for title, run in recipe.runs.items()}
    rows = {(setting, methods): values for setting, methods, *values in differences(recipe, runs)}
    assert len(rows) > 5
    for (setting, _), (paper, default, here) in rows.items():
        assert paper != default
        if setting == "base":
            assert (default, here) == ("lite", "lite")
        elif recipe.sweep is None and "table4" not in name:
            assert here == paper, setting
    assert "SAM" not in differing(recipe)
    assert differing(recipe)


def test_which_settings_a_recipe_runs_with():
    recipe = read("banner")
    assert variants_of(recipe, None) == ["kim-2024"] == variants_of(recipe, "kim-2024")
    assert variants_of(recipe, "defaults") == [None]
    assert variants_of(recipe, "both") == ["kim-2024", None]
    with pytest.raises(InputError, match="kim-2024, defaults, both"):
        variants_of(recipe, "am-sam-2024")


def test_a_table_over_shots_has_one_column():
    with pytest.raises(ValueError, match="one column"):
        Recipe(kind="table", title="", source="", columns=("a", "b"), shots=(4,), runs={}, published={})
