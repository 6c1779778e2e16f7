"""`import samtailor`: exactly the public names, without importing PyTorch."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.resources import files

import pytest

import samtailor

PUBLIC = {
    *("FitConfig", "Predictor", "Reference", "__version__", "evaluate", "find", "fit", "label"),
    *("load_adapter", "load_base", "open_dataset"),
}
FUNCTIONS = ("evaluate", "find", "fit", "label", "load_adapter", "load_base", "open_dataset")


def test_dir_lists_the_public_names():
    assert set(dir(samtailor)) == set(samtailor.__all__) == PUBLIC


def test_import_does_not_import_torch():
    code = "import sys, samtailor; dir(samtailor); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        samtailor.fitt  # noqa: B018


def test_the_package_ships_its_types():
    assert (files("samtailor") / "py.typed").is_file()


def test_importing_a_subpackage_does_not_hide_a_function():
    import samtailor.evaluation
    import samtailor.fitting
    import samtailor.labelling

    assert all(inspect.isfunction(getattr(samtailor, name)) for name in FUNCTIONS)


@pytest.mark.parametrize("name", ["evaluate", "fit", "label"])
def test_every_argument_is_documented(name):
    function = getattr(samtailor, name)
    text = inspect.getdoc(function)
    arguments = text[text.index("Args:") : text.index("Returns:")]
    missing = [
        p for p in inspect.signature(function).parameters if f"{p}:" not in arguments and f"{p}," not in arguments
    ]
    assert missing == []
    assert "Raises:" in text
    assert "Example:" in text
