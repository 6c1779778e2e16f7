"""Start-up, error messages, exit codes, generated help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from samtailor import __version__
from samtailor.cli import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"], ["demo", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; from samtailor.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'cv2', 'matplotlib', 'jinja2', 'yaml', 'PIL'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_version(run):
    assert run("--version").stdout.strip() == f"samtailor {__version__}"


@pytest.mark.parametrize("command", [*COMMANDS, "synth", "synth banners", "synth scenes"])
def test_every_command_has_help(run, command):
    assert "--help" in run(*command.split(), "--help").stdout


def test_an_expected_error_is_one_message_and_exit_code_2(run, tmp_path):
    result = run("check", tmp_path / "nowhere", code=1)
    assert "There is no folder" in result.output
    result = run("evaluate", tmp_path / "nowhere", code=2)
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert "No method is called 'plmm'" in run("fit", ".", "--out", "x", "--method", "plmm", code=2).stderr
    assert "Did you mean 'steps'" in run("fit", ".", "--out", "x", "--set", "stepz=3", code=2).stderr
    assert "Expected KEY=VALUE" in run("fit", ".", "--out", "x", "--set", "steps", code=2).stderr
    assert not (tmp_path / "x").exists()


def test_ctrl_c_is_130(run, monkeypatch):
    from samtailor.fitting import api
    from samtailor.train.interrupt import Interrupted

    def stopped(*args, **kwargs):
        raise Interrupted("Stopped after step 3 of 9; saved. Go on with --resume.")

    monkeypatch.setattr(api, "fit", stopped)
    assert "Go on with --resume" in run("fit", ".", "--out", "x", code=130).stderr


def test_the_page_of_the_command_line_is_current():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from make_cli_docs import page
    finally:
        sys.path.pop(0)
    written = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written == page(), "run python tools/make_cli_docs.py"


def test_settings_are_yaml():
    from samtailor.cli.options import names, settings

    assert settings(["lr=1e-4", "steps=5", "options.head=paper_plain", "milestones=[0.5, 0.9]", "flip=false"]) == {
        "lr": 1e-4,
        "steps": 5,
        "options.head": "paper_plain",
        "milestones": [0.5, 0.9],
        "flip": False,
    }
    assert names("a, b") == ["a", "b"]
