"""Renamed flags and names in help texts."""

from __future__ import annotations

import pytest

from samtailor.cli.group import renamed_flags, with_names
from samtailor.registry import KINDS, names
from samtailor.structures.renames import FLAGS


@pytest.mark.parametrize(("old", "new"), FLAGS.items())
def test_an_old_flag_is_replaced_with_a_note(capsys, old, new):
    assert renamed_flags([old, "x", "--json", "e.json"]) == [new, "x", "--json", "e.json"]
    assert capsys.readouterr().err == f"Note: {old} is now called {new}. The old name works until version 0.3.\n"
    assert renamed_flags([f"{old}=x"]) == [f"{new}=x"]


def test_other_arguments_stay(capsys):
    arguments = ["--all-masks", "--", "--all"]
    assert renamed_flags(arguments) == arguments
    assert capsys.readouterr().err == ""


def test_a_command_accepts_old_flags_and_does_not_list_them(run, base_folder, data_folder):
    result = run("evaluate", data_folder, "--base", base_folder, "--limit", 1, "--all")
    assert "--all is now called --include-train" in result.stderr
    assert "mIoU" in result.stdout
    text = run("evaluate", "--help").stdout
    for old in FLAGS:
        assert f"{old} " not in text


def test_help_texts_list_the_names_of_the_registry(run):
    # a table of rich breaks lines: only the words are compared
    words = " ".join(run("fit", "--help").stdout.replace("│", " ").split())
    assert ", ".join(names("methods")) in words
    for kind in KINDS:
        assert with_names(f"{{{kind}}}") == ", ".join(names(kind))
    assert "banner" in with_names("{recipes}")
    assert with_names('{"street.jpg": []}') == '{"street.jpg": []}'
