"""README and documentation: length, spelling, code, generated parts, and a strict build of the site."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from samtailor import registry

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PYTHON = re.compile(r"^( *)```python\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_blocks(page: Path) -> list[str]:
    blocks = PYTHON.finditer(page.read_text(encoding="utf-8"))
    return [inspect.cleandoc(match[2]) if match[1] else match[2] for match in blocks]


def tool(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file, ROOT / "tools" / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_readme_links_to_files_that_exist():
    links = re.findall(r'(?:\]\(|src=")([^)"#]+)', (ROOT / "README.md").read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert len(links) > 8
    assert missing == []


def test_pages_named_in_the_code_exist():
    files = [path for folder in ("src", "tools", "tests") for path in (ROOT / folder).rglob("*.py")]
    named = {(path, page) for path in files for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text("utf-8"))}
    assert sorted(f"{name(path)}: {page}" for path, page in named if not (ROOT / page).is_file()) == []


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=name)
def test_python_in_the_pages_compiles(page):
    for block in python_blocks(page):
        assert compile(block, name(page), "exec").co_filename == name(page)


@pytest.mark.parametrize("page", sorted((DOCS / "plug-ins").glob("*.md")), ids=name)
def test_plug_in_examples_can_be_imported(page, monkeypatch):
    for block in python_blocks(page):
        module = ModuleType("example")
        monkeypatch.setitem(sys.modules, "example", module)
        exec(compile(block, name(page), "exec"), module.__dict__)
        assert {"build", "write"} & set(vars(module))
        assert module.__doc__


@pytest.mark.parametrize("kind", ["methods", "baselines"])
def test_the_page_of_a_method_lists_all_its_options(kind):
    for method in registry.names(kind):
        page = DOCS / "methods" / f"{method}.md"
        if not page.is_file():
            continue
        parameters = inspect.signature(registry.find(kind, method).build).parameters.values()
        options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY or p.name == "classes"}
        section = page.read_text(encoding="utf-8").partition("## Options")[2].partition("\n## ")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == options, method


def test_generated_pages_are_of_today():
    for file in ("make_cli_docs", "make_settings_docs", "make_presets_docs"):
        module = tool(file)
        assert module.PAGE.read_text(encoding="utf-8") == module.page(), f"run tools/{file}.py"
    for page, text in tool("make_names_docs").pages().items():
        assert page.read_text(encoding="utf-8") == text, f"run tools/make_names_docs.py for {name(page)}"


def test_spelling():
    pytest.importorskip("codespell_lib")
    files = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "NOTICE", "docs", "src"]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *files], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("page", sorted([*(DOCS / "guides").glob("*.md"), *(DOCS / "plug-ins").glob("*.md")]), ids=name)
def test_a_guide_says_what_it_is_for_and_what_comes_next(page):
    if page.stem == "index":
        return
    title, _, purpose, *rest = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert purpose.startswith("You ")
    assert "## Next" in rest


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "python" / "index.html").is_file()
