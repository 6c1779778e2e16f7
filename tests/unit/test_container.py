"""The container file fits the project. Nothing here builds it, but a stale version, file, extra or option is seen."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from samtailor.cli import app

tomllib = pytest.importorskip("tomllib")  # Python 3.11
ROOT = Path(__file__).parents[2]
PYTHON = "3.12"  # of Ubuntu 24.04
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCS = (ROOT / "docs" / "guides" / "container.md").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """(name, rest) of each, continued lines joined."""
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def those(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def constraints() -> dict[str, Requirement]:
    """Pins that hold for the container's Python, by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        _name(pin.name): pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": PYTHON})
    }


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def parsed(arguments: list[str]) -> typer.Context:
    """The command line as samtailor itself reads it, without running it."""
    root = typer.main.get_command(app)
    return root.commands[arguments[0]].make_context(arguments[0], arguments[1:])


def test_both_bases_are_named_with_their_version():
    assert [rest for rest in those("FROM") if not rest.startswith("${BASE}")] == []
    bases = [those("ARG")[0].partition("=")[2], *re.findall(r"BASE=(\S+)", DOCS)]
    assert len(bases) == 2
    for base in bases:
        assert re.search(r":[\w.-]*24\.04$", base), f"{base}: both are Ubuntu 24.04, with Python {PYTHON}"
    comment = (ROOT / "Containerfile").read_text(encoding="utf-8").partition("\nARG")[0]
    assert re.findall(r"(?:BASE|TORCH_INDEX)=(\S+)", comment) == re.findall(r"(?:BASE|TORCH_INDEX)=(\S+)", DOCS)
    assert PYTHON in SpecifierSet(PROJECT["requires-python"])


def test_what_is_installed_is_pinned():
    (install,) = (part for rest in those("RUN") for part in rest.split("&&") if "pip install" in part)
    words = shlex.split(install)
    assert words[words.index("-c") + 1] == "constraints.txt"
    assert "--no-cache-dir" in words
    extras = re.fullmatch(r"\.\[(.*)\]", words[-1])[1].split(",")
    groups = PROJECT["optional-dependencies"]
    assert set(extras) <= set(groups)
    pins = constraints()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in groups[extra])]:
        wanted = Requirement(text)
        (pin,) = pins[_name(wanted.name)].specifier
        assert wanted.specifier.contains(pin.version), f"{text}, but constraints.txt has {pin}"
    whole = (ROOT / "Containerfile").read_text(encoding="utf-8") + DOCS
    for name, version in re.findall(r"([\w-]+)==([\w.]+)", whole):
        assert str(pins[_name(name)].specifier) == f"=={version}"


def test_base_and_torch_are_of_one_cuda():
    for text in ((ROOT / "Containerfile").read_text(encoding="utf-8"), DOCS):
        (major, minor), *_ = re.findall(r"BASE=nvidia/cuda:(\d+)\.(\d+)", text)
        assert re.findall(r"TORCH_INDEX=\S+/(cu\d+)", text) == [f"cu{major}{minor}"]


def test_a_torch_that_is_not_of_the_index_stops_the_build():
    (check,) = (part for rest in those("RUN") for part in rest.split("&&") if "importlib.metadata" in part)
    _, flag, code, index = shlex.split(check)
    assert (flag, index) == ("-c", "${TORCH_INDEX}")

    def exit_code(tag: str) -> int:
        command = [sys.executable, "-c", code, f"https://download.pytorch.org/whl/{tag}"]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode

    _, plus, tag = importlib.metadata.version("torch").partition("+")
    assert exit_code("cu999") == 1
    if plus:
        assert exit_code(tag) == exit_code(f"{tag}/") == 0


def test_files_that_are_copied_are_there_and_let_through():
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [rule for rule in rules if rule and not rule.startswith("#")]

    def kept(name: str) -> bool:
        left_out = False
        for rule in rules:  # the last one that fits decides
            if fnmatch(name, rule.lstrip("!")):
                left_out = not rule.startswith("!")
        return not left_out

    names = [name for rest in those("COPY") if "--from" not in rest for name in shlex.split(rest)[:-1]]
    assert {"src", "pyproject.toml", "constraints.txt"} <= set(names)
    for name in names:
        assert (ROOT / name).exists()
        assert kept(name)
    needed = {PROJECT["readme"], *PROJECT["license-files"]}
    assert needed <= set(names), "hatchling reads them"
    assert not any(kept(name) for name in (".git", "tests", "demo", "adapters", ".venv", "src/samtailor/__pycache__"))


def test_it_runs_as_nobody_special_and_tells_its_health():
    order = [name for name, _ in instructions()]
    assert those("USER") == ["samtailor"]
    last = len(order) - 1 - order[::-1].index("FROM")
    assert "RUN" not in order[order.index("USER") :], "nothing is installed as that user"
    assert order.index("USER") > last
    assert {"HEALTHCHECK", "ENTRYPOINT", "CMD"} <= set(order[last:])
    for rest in those("RUN"):
        for part in rest.split("&&"):
            assert "apt-get install" not in part or "--no-install-recommends" in part
        assert "apt-get install" not in rest or "rm -rf /var/lib/apt/lists/*" in rest


def test_its_command_is_one_of_ours_and_the_ports_agree():
    assert json.loads(those("ENTRYPOINT")[0]) == ["samtailor"]
    context = parsed(json.loads(those("CMD")[0]))
    port = context.params["port"]
    default = next(option.default for option in context.command.params if option.name == "port")
    assert str(port) == str(default) == those("EXPOSE")[0] == re.search(r"PORT=(\d+)", those("ENV")[0])[1]
    assert context.params["host"] == "0.0.0.0"
    commands = [shlex.split(line) for line in re.findall(r"`(docker run [^`]*)`", DOCS)]
    assert len(commands) == 4
    for words in commands:
        image = next(i for i, word in enumerate(words) if word.partition(":")[0] == "samtailor")
        if rest := words[image + 1 :]:
            parsed(rest)
        assert f"127.0.0.1:{port}:{port}" in words or rest


@pytest.fixture
def answering():
    """A port that answers with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_health_is_an_answer_of_whatever_kind(answering):
    _, _, words = those("HEALTHCHECK")[0].partition("CMD ")
    program, flag, code = json.loads(words)
    assert (program, flag) == ("python3", "-c")

    def exit_code(port: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", code], env={"PORT": str(port)}, stderr=subprocess.DEVNULL
        ).returncode

    for status, wanted in ((200, 0), (401, 0), (404, 0), (500, 1)):
        answering.status = status
        assert exit_code(answering.server_port) == wanted
    assert exit_code(1) == 1
