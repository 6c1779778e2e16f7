"""The figures of README and docs are those of results/, and the tool that fills them in reports what differs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import make_figures  # noqa: E402
import results  # noqa: E402
from figures import blocks, markdown, plots, views  # noqa: E402
from results import BaseModelUsed, Column, Figure, Record, Table  # noqa: E402

NAMES = sorted(file.stem for file in (ROOT / "results").glob("*.json"))
PAGES = [str(page.relative_to(ROOT)) for page in make_figures.pages(ROOT)]
GENERATED = [page for page in PAGES if page.startswith(("docs/measurements/", "docs/research/"))]
TYPED = {"docs/research/bundled-base-training.md"}
"""Pages of these folders whose figures are not generated yet."""
UNUSED: dict[str, str] = {}
"""Results that no page shows, and why they are kept."""
OTHER = BaseModelUsed(name="lite", fingerprint="0123456789abcdef")
MEASURED = results.read("one-head").record("figures").base
"""The base model of a result that a page shows."""


@pytest.fixture(scope="module")
def bundled() -> BaseModelUsed:
    return results.bundled()


@pytest.fixture
def copy(tmp_path) -> Path:
    """README, docs and results, to be changed."""
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "results", tmp_path / "results")
    return tmp_path


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def stale(root: Path, base: BaseModelUsed) -> list[str]:
    found = results.read_all(root / "results")
    changed = [*make_figures.stale_pages(root, found, base), *make_figures.stale_plots(root, found)]
    return [str(file.relative_to(root)) for file, _ in changed]


def test_the_results_that_other_pages_rely_on_exist():
    expected = "demo demo-seeds real-data few-shot-8 few-shot-every instances speed users-hour closer-look label-rate"
    assert {*expected.split(), "views", "one-head"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_follows_the_schema_and_is_written_as_the_tools_write_it(name, tmp_path):
    file = ROOT / "results" / f"{name}.json"
    written = results.write(results.read(name), tmp_path / file.name)
    assert written.read_text(encoding="utf-8") == file.read_text(encoding="utf-8")
    assert "NaN" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_agree_with_the_results(page, bundled):
    text = (ROOT / page).read_text(encoding="utf-8")
    filled = blocks.fill(text, ROOT / page, results.read_all(), bundled, plots.ASSETS)
    assert filled == text, f"{page} differs from results/: run python tools/make_figures.py"


def test_the_plots_agree_with_the_results():
    assert [file.name for file, _ in make_figures.stale_plots(ROOT, results.read_all())] == []


def test_every_result_is_shown_or_listed_as_unused():
    assert set(NAMES) - make_figures.used(ROOT) == set(UNUSED)


def test_every_result_that_a_page_shows_has_its_command_on_that_page():
    for page in PAGES:
        found = list(blocks.blocks((ROOT / page).read_text(encoding="utf-8")))
        shown = {block.name for block in found if not block.inline}
        told = {block.name for block in found if block.options.get("command") != "no"}
        assert shown <= told, page


@pytest.mark.parametrize("page", sorted(set(GENERATED) - TYPED))
def test_no_figure_is_typed_outside_of_a_block(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    outside, place = [], 0
    for block in blocks.blocks(text):
        outside.append(text[place : block.start])
        place = block.end
    quoted = re.compile(r"```.*?```|`[^`]*`|\bversion \d+\.\d+", re.DOTALL | re.IGNORECASE)
    typed = quoted.sub("", "".join([*outside, text[place:]]))
    assert re.findall(r"(?<![\w.])[-+]?\d*\.\d+", typed) == []


def test_a_changed_number_in_a_result_is_reported(copy, bundled):
    assert stale(copy, bundled) == []
    replaced(copy / "results" / "one-head.json", '"four": 66.8', '"four": 66.9')
    assert stale(copy, bundled) == ["docs/research/one-head.md"]


def test_a_changed_number_in_a_page_is_reported(copy, bundled):
    replaced(copy / "docs" / "research" / "one-head.md", "66.8", "67.8")
    assert stale(copy, bundled) == ["docs/research/one-head.md"]


def test_a_plot_of_other_figures_is_reported(copy, bundled):
    file = copy / "results" / "real-data.json"
    made = json.loads(file.read_text(encoding="utf-8"))
    made["tables"]["humans"]["rows"]["sam"]["miou"]["value"] += 0.1
    file.write_text(json.dumps(made), encoding="utf-8")
    assert {"docs/measurements/real-data.md", "docs/assets/real-data.png"} <= set(stale(copy, bundled))


def test_a_plot_holds_the_digest_of_its_figures(tmp_path):
    result = results.read("real-data")
    assert not plots.is_current(result, tmp_path)
    plots.draw(result, tmp_path)
    assert plots.is_current(result, tmp_path)
    assert not plots.is_current(result.model_copy(update={"tables": {}}), tmp_path)


def test_the_command_line_names_the_file_and_exits_with_1(copy, bundled, monkeypatch, capsys):
    monkeypatch.setattr(make_figures, "ROOT", copy)
    monkeypatch.setattr(make_figures, "FOLDER", copy / "results")
    monkeypatch.setattr(make_figures, "bundled", lambda: bundled)
    monkeypatch.setattr(sys, "argv", ["make_figures.py", "--check"])
    with pytest.raises(SystemExit) as end:
        make_figures.main()
    assert end.value.code in (0, False)
    replaced(copy / "results" / "one-head.json", '"four": 66.8', '"four": 66.9')
    with pytest.raises(SystemExit) as end:
        make_figures.main()
    assert end.value.code in (1, True)
    assert "docs/research/one-head.md differs from results/" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["make_figures.py"])
    with pytest.raises(SystemExit):
        make_figures.main()
    assert "66.9" in (copy / "docs" / "research" / "one-head.md").read_text(encoding="utf-8")
    assert stale(copy, bundled) == []


def test_results_of_other_weights_of_the_bundled_base_are_marked(copy, bundled):
    page = copy / "docs" / "research" / "few-shot-every.md"
    assert "**Measured on an earlier bundled base** (fingerprint `cacc862df32f0a73`;" in page.read_text("utf-8")
    found = results.read_all()
    now = dict(make_figures.stale_pages(copy, found, bundled))
    later = {str(page.relative_to(copy)): text for page, text in make_figures.stale_pages(copy, found, OTHER)}
    assert now == {}
    text = later["docs/measurements/real-data.md"]
    assert f"(fingerprint `{bundled.fingerprint}`; the bundled base is now `{OTHER.fingerprint}`)" in text


def test_a_base_model_that_is_not_the_bundled_one_is_never_marked(bundled):
    record = Record(command="c", base=BaseModelUsed(name="vit-b", fingerprint="x"), code="1", date="2026-01-01")
    assert markdown.mark([record], bundled) == ""
    assert markdown.mark([record.model_copy(update={"base": None})], bundled) == ""


PAGE = "text <!-- results: one-head value=figures/nuclei/four --><!-- /results --> more\n"


def filled(text: str, base: BaseModelUsed) -> str:
    return blocks.fill(text, ROOT / "README.md", results.read_all(), base, plots.ASSETS)


def test_a_block_in_a_line_holds_one_cell(bundled):
    assert "four -->66.8<!-- /results --> more" in filled(PAGE, MEASURED)
    assert "four -->66.8 (earlier bundled base)<!--" in filled(PAGE, OTHER)
    text = "<!-- results: demo value=figures/sam/miou{} --><!-- /results -->"
    base = results.read("demo").base
    cell = results.read("demo").tables["figures"].rows["sam"]["miou"]
    assert f">{cell.value:.1f} [{cell.low:.1f}, {cell.high:.1f}]<" in filled(text.format(""), base)
    assert f">{cell.low:.1f}<" in filled(text.format(" part=low"), base)


def test_examples_in_code_are_left_alone(bundled):
    text = "```\n<!-- results: none -->\n<!-- /results -->\n```\nand `<!-- results: none -->`\n"
    assert filled(text, bundled) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- results: nothing -->\n<!-- /results -->", "there is no results/nothing.json"),
        ("<!-- results: demo view=nothing -->\n<!-- /results -->", "demo has no view 'nothing'; it has figures, paper"),
        ("<!-- results: demo view=plot -->\n<!-- /results -->", "demo: there is no plot of it"),
        ("<!-- results: demo -->\n", "has no end"),
        ("<!-- results: demo -->\n<!-- results: demo -->\n<!-- /results -->", "has no end"),
        ("<!-- results: demo veiw=x -->\n<!-- /results -->", "unknown options: veiw"),
        ("<!-- results: demo value=figures/sam --><!-- /results -->", "is not TABLE/ROW/COLUMN"),
        ("<!-- results: demo value=figures/sma/miou --><!-- /results -->", "no row 'sma' among sam, sam-f"),
    ],
)
def test_a_block_that_cannot_be_filled_says_why(text, message, bundled):
    with pytest.raises(blocks.BlockError, match=re.escape(message)):
        filled(text, bundled)


def test_the_summaries_are_computed_from_the_tables(bundled):
    few = results.read("few-shot-8")
    (part,) = views.parts(few, None, bundled)
    dice = [table.rows["8-tailor"]["dice"].value for table in few.tables.values()]
    assert part.table.rows["tailor"]["mean"] == pytest.approx(sum(dice) / len(dice))
    real = results.read("real-data")
    (part,) = views.parts(real, None, bundled)
    assert part.table.rows["plates"]["sam"] == real.tables["plates"].rows["sam"]["miou"].value
    labels = [part.table.columns[0].label for part in views.parts(results.read("few-shot-every"), None, bundled)]
    assert labels == ["4 masks", "8 masks", "16 masks"]


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (47.12, {}, "47.1"),
        (0.3, {"digits": 2}, "0.30"),
        (1234567, {"digits": 0}, "1,234,567"),
        (7.4, {"signed": True}, "+7.4"),
        (-0.04, {}, "0.0"),
        (Figure(value=3.0, low=-0.1, high=6.6), {"signed": True}, "+3.0 [-0.1, +6.6]"),
        (Figure(value=81.6, seeds=(85.9, 81.1)), {}, "81.6 (85.9, 81.1)"),
        (Figure(seeds=(63.6, 56.6), sd=7.2), {}, "63.6, 56.6 (sd 7.2)"),
        (Figure(low=0.68, high=0.81), {"digits": 2}, "0.68 to 0.81"),
        (46.9, {"digits": None}, "46.9"),
        (1586, {"digits": None}, "1,586"),
        (True, {}, "yes"),
        ("a | b", {}, "a \\| b"),
        (None, {}, ""),
    ],
)
def test_cells(value, options, text):
    assert markdown.cell(value, Column(key="a", label="A", **options)) == text


def test_the_best_value_is_bold():
    columns = [Column(key="name", label=""), Column(key="a", label="A"), Column(key="b", label="B")]
    rows = {"x": {"name": "X", "a": 1.0, "b": 2.0}, "y": {"name": "Y", "a": 3.0, "b": None}}
    across = markdown.table(Table(columns=columns, rows=rows, best=("a", "b")))
    assert across.splitlines()[2:] == ["| X | 1.0 | **2.0** |", "| Y | 3.0 |  |"]
    down = markdown.table(Table(columns=columns, rows=rows, best_row=("a", "b")))
    assert down.splitlines()[2:] == ["| X | 1.0 | 2.0 |", "| Y | **3.0** |  |"]


@pytest.mark.parametrize("change", [{"low": 1.0}, {"low": 2.0, "high": 3.0, "value": 1.0}, {}, {"vlaue": 1.0}])
def test_a_figure_that_cannot_be_is_refused(change):
    with pytest.raises(ValidationError):
        Figure(**change)


def test_a_table_with_an_unknown_column_is_refused():
    with pytest.raises(ValidationError, match="no column"):
        Table(columns=[Column(key="a", label="A")], rows={"x": {"b": 1}})


def test_the_bundled_base_needs_its_fingerprint():
    with pytest.raises(ValidationError, match="fingerprint is required"):
        BaseModelUsed(name="lite", fingerprint=None)
    with pytest.raises(ValidationError, match="fingerprint is required"):
        BaseModelUsed(name="nano", fingerprint=None)


def one(value: float) -> Table:
    return Table(columns=[Column(key="a", label="A")], rows={"x": {"a": value}})


def test_a_run_keeps_the_tables_that_it_did_not_measure_with_their_record(tmp_path, monkeypatch):
    tool = str(ROOT / "tools" / "measure_real.py")
    monkeypatch.setattr(sys, "argv", [tool, "--data", "/somewhere/data", "--results=x"])
    file, about = tmp_path / "a.json", {"title": "A", "units": "none", "seeds": [0]}
    results.save("a", {"p": one(1), "q": one(2)}, base=OTHER, command="first", file=file, **about)
    results.save("a", {"q": one(3)}, base=None, file=file, **about)
    found = results.Result.model_validate_json(file.read_text(encoding="utf-8"))
    assert list(found.tables) == ["p", "q"]
    assert (found.tables["p"].rows["x"]["a"], found.tables["q"].rows["x"]["a"]) == (1, 3)
    assert (found.record("p").command, found.record("p").base) == ("first", OTHER)
    assert found.record("q").command.endswith("python tools/measure_real.py --data DATA")
    assert found.record("q").base is None


def test_the_make_targets_in_the_pages_exist():
    made = set(re.findall(r"^(results-[\w-]+|figures):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in GENERATED)
    named = set(re.findall(r"make (results-[\w-]+|figures)", text))
    assert named
    assert named <= made


def test_a_demo_of_one_part_keeps_the_tables_of_the_other(tmp_path, monkeypatch):
    import measure_demo

    score = {"iou": 0.5, "iou_interval": [0.4, 0.6], "dice": 0.625, "dice_interval": None, "clicks": 0.0, "images": 8}
    leaves = {
        "classes": {"lesion": {"adapter, no click": score, "base model, a click on each": {**score, "clicks": 6.25}}},
        "diseased": {"healthy": 3, "healthy_right": 3, "true": 0.05, "predicted": 0.06, "difference": 0.0125},
        "images": {"train": ["a"] * 8, "test": ["b"] * 11},
        "settings": {"lesion": {"steps": 7}},
    }
    report = {"leaves": leaves, "base": OTHER.model_dump(), "seed": 3}
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    file = tmp_path / "demo.json"
    shutil.copy(ROOT / "results" / "demo.json", file)
    monkeypatch.setattr(sys, "argv", ["measure_demo.py", str(tmp_path / "demo"), "--results", str(file)])
    measure_demo.main()
    made, before = (
        results.Result.model_validate_json(f.read_text("utf-8")) for f in (file, ROOT / "results/demo.json")
    )
    rows = made.tables["leaves"].rows
    assert rows["lesion-adapter"]["iou"] == Figure(value=50.0, low=40.0, high=60.0)
    assert rows["lesion-adapter"]["dice"].value == 62.5
    assert rows["lesion-each"]["clicks"] == 6.25
    assert "1.2 points off" in made.tables["leaves"].note
    assert made.record("leaves").command.endswith("samtailor demo --only leaves --out demo")
    assert made.record("leaves").seeds == (3,)
    assert made.tables["figures"].rows == before.tables["figures"].rows
    assert made.record("figures") == before.record("figures")
