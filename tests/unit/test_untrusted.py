"""No file from someone else runs code: adapters, configurations, base models, detectors, and the current folder."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from samtailor import artefact, limits
from samtailor.bases import load_base
from samtailor.cli import app
from samtailor.errors import BaseUnavailableError, DataError, InputError, SamtailorError
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource
from samtailor.prompts import detector as detector_source
from samtailor.proposals.detectors import make, transformers
from saved import save


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.fixture(autouse=True)
def _nothing_trusted(monkeypatch):
    monkeypatch.setenv(limits.TRUSTED, "")


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """A stand-in for ultralytics that records which files it opens."""
    files: list[str] = []

    class Network:
        names = {0: "disc"}  # noqa: RUF012

        def __init__(self, file: str) -> None:
            files.append(file)

    monkeypatch.setitem(sys.modules, "ultralytics", types.SimpleNamespace(YOLO=Network))
    return files


@pytest.fixture
def hostile(tiny_sam, tmp_path) -> Path:
    """An adapter that names a detector with a pickle."""
    (tmp_path / "weights.pt").write_bytes(b"not opened")
    folder = save(tmp_path / "adapter", tiny_sam)
    file = folder / artefact.METADATA
    meta = json.loads(file.read_text())
    options = {"detector": "ultralytics", "weights": str(tmp_path / "weights.pt")}
    meta["inference"] |= {"prompt": "detector", "prompt_options": options}
    del meta["crc32"]
    file.write_text(json.dumps(meta))
    return folder


def test_an_adapter_may_not_name_a_detector_that_runs_code(hostile, tiny_sam, opened):
    predictor = Predictor(tiny_sam)
    predictor.add_adapter("mine", hostile)
    with pytest.raises(InputError, match=r"--trust-weights .*weights\.pt"):
        AdapterSource.of(predictor, "mine", hostile)
    with pytest.raises(InputError, match="can run code"):
        detector_source.build(**artefact.read_meta(hostile).inference.prompt_options)
    assert opened == []


def test_the_users_word_opens_exactly_that_file(hostile, tiny_sam, opened, tmp_path):
    predictor = Predictor(tiny_sam)
    predictor.add_adapter("mine", hostile)
    limits.trust(tmp_path / "other.pt")
    with pytest.raises(InputError):
        AdapterSource.of(predictor, "mine", hostile)
    limits.trust(tmp_path / "weights.pt")
    AdapterSource.of(predictor, "mine", hostile)
    assert opened == [str(tmp_path / "weights.pt")]


def test_the_option_of_the_command_line_is_the_users_word(hostile, base_folder, data_folder, run, opened, tmp_path):
    file = hostile / artefact.METADATA
    meta = json.loads(file.read_text())
    meta["base"] |= {"name": str(base_folder), "fingerprint": load_base(base_folder).fingerprint}
    file.write_text(json.dumps(meta))
    predict = ["predict", data_folder / "images", "--adapter", hostile, "--prompt", "auto", "--out", "p"]
    refused = run(*predict, code=2)
    assert "--trust-weights" in refused.output
    assert opened == []
    with pytest.raises(AttributeError, match="predict"):  # the stand-in cannot detect; it was opened
        run("--trust-weights", tmp_path / "weights.pt", *predict)
    assert opened == [str(tmp_path / "weights.pt")]


def test_a_configuration_file_may_not_name_one_either(base_folder, data_folder, run, opened, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"not opened")
    settings = {"prompt": "detector", "prompt_options": {"detector": "ultralytics", "weights": "weights.pt"}}
    settings |= {"method": "plm"}
    (tmp_path / "fit.yaml").write_text(json.dumps(settings | {"steps": 1}))
    refused = run("fit", data_folder, "--base", base_folder, "--out", "a", "--config", "fit.yaml", code=2)
    assert "--trust-weights" in refused.output
    assert opened == []


def test_weights_on_the_command_line_are_trusted(opened, tmp_path):
    from samtailor.cli import options

    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(InputError):
        make("ultralytics", tmp_path / "weights.pt")
    options.settings([f"prompt_options.weights={tmp_path / 'weights.pt'}"])
    make("ultralytics", tmp_path / "weights.pt")
    assert len(opened) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoConfig": "evil--repo.Config"}},
        {"quantization_config": {"quant_method": "torchao"}},
        {"attn_implementation": "someone/kernel"},
        {"vision_config": {"attn_implementation": "someone/kernel"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_base_folder_names_no_code(base_folder, tmp_path, change):
    config = json.loads((base_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BaseUnavailableError, match="load code"):
        load_base(tmp_path)
    with pytest.raises(InputError, match="load code"):
        transformers.build(weights=str(tmp_path))


def test_pickled_weights_of_a_base_folder_are_not_opened(base_folder, tmp_path):
    (tmp_path / "config.json").write_text((base_folder / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(BaseUnavailableError):
        load_base(tmp_path)
    index = {"metadata": {}, "weight_map": {"a": "pytorch_model.bin"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BaseUnavailableError, match="safetensors"):
        load_base(tmp_path)
    (tmp_path / "model.pth").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    torch.save({"a": Payload(tmp_path / "ran")}, tmp_path / "new.pth")
    for name in ("model.pth", "new.pth"):
        with pytest.raises(BaseUnavailableError, match="never runs pickled code"):
            load_base(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_peft_adapter_beside_the_weights_is_refused(base_folder, tmp_path):
    (tmp_path / "config.json").write_text((base_folder / "config.json").read_text())
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    with pytest.raises(BaseUnavailableError, match="PEFT"):
        load_base(tmp_path)


def test_old_torch_reads_no_pth(monkeypatch, tmp_path):
    torch.save({}, tmp_path / "a.pth")
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    with pytest.raises(BaseUnavailableError, match=r"torch 2\.6"):
        load_base(tmp_path / "a.pth")


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['touch ran']", "!!python/name:os.system"])
def test_yaml_makes_no_objects(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="not valid YAML"):
        limits.parse_yaml(text, "x")
    assert not Path("ran").exists()


@pytest.mark.parametrize("program", ["samtailor", "samtailor.workbench.worker"])
def test_modules_of_the_current_folder_are_not_imported(tmp_path, program):
    for name in ("json", "yaml", "typer", "torch", "tempfile"):
        (tmp_path / f"{name}.py").write_text(f"open('ran-{name}', 'w').close()")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    env["PYTHONPATH"] = str(Path(limits.__file__).parents[2])
    arguments = ["--version"] if program == "samtailor" else []
    subprocess.run([*limits.module_command(program), *arguments], cwd=tmp_path, env=env, capture_output=True)
    if program == "samtailor":
        subprocess.run([sys.executable, "-m", program, "--version"], cwd=tmp_path, env=env, check=True)
    assert list(tmp_path.glob("ran*")) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tiny_sam, base_folder, tmp_path, value):
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path / "adapter", tiny_sam)
    file = folder / artefact.TENSORS
    tensors = load_file(file)
    next(iter(tensors.values())).view(-1)[0] = value
    save_file(tensors, file)
    with pytest.raises(SamtailorError, match="NaN or infinite"):
        artefact.load(folder, tiny_sam)
    (tmp_path / "base").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "base" / name).write_bytes((base_folder / name).read_bytes())
    tensors = load_file(tmp_path / "base" / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = value
    save_file(tensors, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SamtailorError, match="NaN or infinite"):
        load_base(tmp_path / "base")


def test_the_option_is_in_the_help():
    assert "--trust-weights" in CliRunner().invoke(app, ["--help"]).output


def test_a_job_file_does_not_choose_what_runs(tmp_path):
    from samtailor.workbench.jobs import Jobs

    jobs = Jobs(tmp_path, lambda job: None, (sys.executable, "-c", ""))
    jobs.start("fit", "x", {"kind": "os", "out": "x"}, on_message=lambda m: None, on_done=lambda m: {})
    jobs.join(60)
    assert json.loads((tmp_path / "fit-x.json").read_text())["kind"] == "fit"


@pytest.mark.parametrize("kind", ["os", "..jobs", "fit.os", 7, None])
def test_a_worker_runs_only_jobs(tmp_path, monkeypatch, kind):
    from samtailor.workbench import worker

    said = []
    monkeypatch.setattr(worker, "_lower_priority", lambda: None)
    monkeypatch.setattr(worker, "_watch_input", lambda stop: None)
    monkeypatch.setattr(worker.Channel, "send", lambda self, **message: said.append(message))
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    (tmp_path / "job.json").write_text(json.dumps({"kind": kind}))
    assert worker.main([str(tmp_path / "job.json")]) == 2
    assert "must be one of fit, label" in said[0]["error"]
