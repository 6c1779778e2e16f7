"""The tables of results/auto.json, made from rows as tools/measure_auto.py writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from auto.memory import run
from auto.tables import tables


def row(name: str, seed: int, shots: int, dice: dict[str, float], gain: float | None = None) -> dict:
    best = max(dice, key=dice.get)
    part = {
        "regions": {"dice": dice, "chosen": "tailor", "best": best, "regret": dice[best] - dice["auto"]},
        "clicks": {"base": 0.4, "auto": 0.5, "plm": 0.45},
        "instances": {"ap50": 0.3, "count_error": 2.5, "count_bias": -0.5} if name == "plates" else {},
        "forecast": {} if gain is None else {"rows": [{"masks": 8, "gain": gain, "error": 0.01}]},
        "budget": {"cpu_seconds": 100.0},
    }
    compared = {"auto": dice["auto"], "tailor": 0.5, "AM-SAM": 0.4}
    return {"set": name, "seed": seed, "shots": shots, "parts": {"all": part}, "compare": compared, "seconds": 60.0,
            "mib": 900.0}  # fmt: skip


def test_regret_forecast_and_means_over_seeds():
    rows = [
        row("humans", 0, 8, {"auto": 0.60, "zoom": 0.62}, gain=0.05),
        row("humans", 1, 8, {"auto": 0.70, "zoom": 0.66}, gain=0.01),
        row("humans", 0, 16, {"auto": 0.64}),
        row("humans", 1, 16, {"auto": 0.75}),
        row("plates", 0, 8, {"auto": 0.50, "zoom": 0.50}),
    ]
    made = tables(rows)
    assert set(made) == {"regions", "clicks", "cost", "instances", "forecast"}
    cells = made["regions"].rows["humans-8"]
    assert cells["auto"].value == pytest.approx(65)
    assert cells["am-sam"].value == pytest.approx(40)
    assert cells["regret"].value == pytest.approx(1)
    assert cells["chosen"] == "tailor 2"
    assert made["regions"].rows["all-sets-8"]["auto"].value == pytest.approx(57.5)  # of sets: 65 and 50
    said = made["forecast"].rows["humans-8"]
    assert (said["runs"], said["within"]) == (2, 50)  # 5 and 1 points said, 4 and 5 came
    assert said["error"] == pytest.approx(2.5)
    assert list(made["instances"].rows) == ["plates-8", "all-sets-8"]
    assert made["cost"].rows["humans-8"]["mib"] == 900


def test_harm_is_counted_by_the_interval_of_the_difference():
    one, two = row("humans", 0, 8, {"auto": 0.6}), row("humans", 1, 8, {"auto": 0.6})
    better = {"base": 0.4, "auto": 0.5, "interval": [0.02, 0.2]}
    one["parts"]["all"] |= {"clicks": better, "boxes": {"base": 0.4, "auto": 0.4, "interval": [0.0, 0.0]}}
    worse = {"base": 0.4, "auto": 0.3, "interval": [-0.2, -0.01]}
    two["parts"]["all"] |= {"clicks": worse, "boxes": {"base": 0.4, "auto": 0.39, "interval": [-0.03, 0.01]}}
    made = tables([one, two])
    cells = made["harm"].rows["humans-8"]
    counted = [cells[f"clicks-{key}"] for key in ("runs", "better", "same", "worse")]
    assert counted == [2, 1, 0, 1]
    assert [cells[f"boxes-{key}"] for key in ("runs", "better", "same", "worse")] == [2, 0, 1, 0]
    assert made["boxes"].rows["humans-8"]["auto"].value == pytest.approx(39.5)


def test_the_memory_of_a_command_contains_its_children(tmp_path):
    child = "x = bytearray(200_000_000); import time; time.sleep(2)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    spent = run([sys.executable, "-c", parent], tmp_path / "log")
    if not Path("/proc/self/smaps_rollup").is_file():
        pytest.skip("needs /proc/PID/smaps_rollup")
    assert spent.mib > 150
    with pytest.raises(SystemExit, match="code 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")
