"""The wheel, installed into an environment of its own and used from another folder, has all that it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Folder of the programs of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    constraints = ROOT / "constraints.txt"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("samtailor-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    own = [folder / "venv" / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*own, "install", "-c", constraints, f"{wheel}[ui]"], check=True)
    return folder / "venv" / "bin"


@pytest.fixture
def run(installed, tmp_path):
    def run(*command: str) -> str:
        environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [installed / command[0], *command[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_wheel_works_from_another_folder(run, tmp_path):
    assert run("samtailor", "--version").strip()
    run("samtailor", "synth", "scenes", "--out", "data", "--count", "8", "--size", "96x96", "--seed", "1")
    run("samtailor", "check", "data")
    run(
        "samtailor",
        "fit",
        "data",
        "--method",
        "tailor",
        "--out",
        "adapter",
        "--steps",
        "2",
        "--set",
        "views=1",
        "--set",
        "val=2",
    )
    assert (tmp_path / "adapter" / "adapter.json").is_file()
    run("samtailor", "evaluate", "data", "--adapter", "adapter", "--html", "report.html", "--limit", "2")
    assert "<html" in (tmp_path / "report.html").read_text("utf-8")
    assert "celebamask-hq" in run("samtailor", "recipe")


def test_the_wheel_has_the_page_and_the_type_marker(run):
    code = (
        "import importlib.resources as r, samtailor; p = r.files(samtailor); "
        "print((p / 'py.typed').is_file(), (p / 'workbench/page/index.html').is_file(), "
        "(p / 'bases/lite/model.safetensors').is_file(), "
        "len(list((p / 'data/coffee_leaves/images').iterdir())))"
    )
    assert run("python", "-c", code).split() == ["True"] * 3 + ["19"]
