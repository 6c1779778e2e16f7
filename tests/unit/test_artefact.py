"""An adapter on disk: what is saved comes back, and everything else is refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from samtailor import artefact
from samtailor.artefact import AdapterMeta
from samtailor.data.transform import Frame
from samtailor.errors import ArtefactError
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource
from samtailor.proposals import disk
from samtailor.registry import find
from samtailor.serve.adapters import Adapters
from saved import save

OPTIONS = {"heads": 4, "mlp_dim": 64}


@pytest.fixture(scope="module")
def saved(tiny_sam, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(3)
    segmenter, _ = find("methods", "plm-pmm").build(tiny_sam, **OPTIONS)
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(torch.randn_like(parameter))
    meta = artefact.describe(
        segmenter,
        method="plm-pmm",
        options=OPTIONS,
        classes=("plate",),
        figures={"held_out_miou": 0.5},
        seed=3,
        steps=9,
    )
    artefact.save(folder, segmenter, meta)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def edit(folder: Path, **changes) -> None:
    file = folder / artefact.METADATA
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if key != "crc32"}))


def test_a_saved_adapter_loads_unchanged(saved, tiny_sam):
    adapter = artefact.load(saved, tiny_sam)
    tensors = load_file(saved / artefact.TENSORS)
    assert adapter.segmenter.learned().keys() == tensors.keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in adapter.segmenter.learned().items())
    assert not adapter.segmenter.training
    meta = adapter.meta
    assert (meta.method, meta.options, meta.classes, meta.seed, meta.steps) == ("plm-pmm", OPTIONS, ("plate",), 3, 9)
    assert meta.base.fingerprint == tiny_sam.fingerprint
    assert meta.parameters["plm"] == sum(p.numel() for p in adapter.segmenter.adapter("plm").parameters())
    assert {"samtailor", "python", "torch", "transformers"} <= meta.versions.keys()
    assert artefact.base_of(saved) == "tiny-sam"
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "adapter.json", "adapter.safetensors"]


def test_the_base_of_the_adapter_is_loaded_by_default(folder, tiny_sam, tiny_sam_model, tmp_path, monkeypatch):
    monkeypatch.setattr("samtailor.bases.load_base", lambda name: {"tiny-sam": tiny_sam}[name])
    assert artefact.from_pretrained(folder).segmenter.base is tiny_sam


def test_another_base(saved, tiny_sam2):
    with pytest.raises(ArtefactError, match=r"fitted on the base 'tiny-sam'.*not on 'tiny-sam2'"):
        artefact.load(saved, tiny_sam2)


def test_the_same_architecture_with_other_weights(saved, tiny_sam, monkeypatch):
    monkeypatch.setattr(tiny_sam, "fingerprint", "0" * 16)
    with pytest.raises(ArtefactError, match="fingerprint"):
        artefact.load(saved, tiny_sam)


@pytest.mark.parametrize("change", ["extra", "missing", "other shape"])
def test_other_tensors(folder, tiny_sam, change):
    tensors = load_file(folder / artefact.TENSORS)
    name = next(iter(tensors))
    if change == "extra":
        tensors["tokens.plm.further"] = torch.ones(3)
    elif change == "missing":
        del tensors[name]
    else:
        tensors[name] = torch.ones(1, 2, 3)
    save_file(tensors, folder / artefact.TENSORS)
    word = {"extra": "unknown", "missing": "missing", "other shape": "other shape"}[change]
    named = "tokens.plm.further" if change == "extra" else name
    with pytest.raises(ArtefactError, match=rf"{word} \['{named}'\]"):
        artefact.load(folder, tiny_sam)


def test_the_tensors_of_another_adapter(folder, tiny_sam):
    tensors = {name: torch.zeros_like(tensor) for name, tensor in load_file(folder / artefact.TENSORS).items()}
    save_file(tensors, folder / artefact.TENSORS)
    with pytest.raises(ArtefactError, match="digest"):
        artefact.load(folder, tiny_sam)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file(folder, tiny_sam, keep):
    file = folder / artefact.TENSORS
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ArtefactError, match="truncated or damaged"):
        artefact.load(folder, tiny_sam)


@pytest.mark.parametrize("name", [artefact.TENSORS, artefact.METADATA])
def test_a_missing_file(folder, tiny_sam, name):
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=r"missing|holds no adapter"):
        artefact.load(folder, tiny_sam)


def test_a_newer_schema_is_reported_before_other_errors(folder, tiny_sam):
    (folder / artefact.METADATA).write_text(json.dumps({"schema_version": 3, "all": "different"}))
    with pytest.raises(ArtefactError, match="Upgrade samtailor"):
        artefact.load(folder, tiny_sam)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": "one"}', '{"schema_version": 1}'])
def test_damaged_metadata(folder, tiny_sam, text):
    (folder / artefact.METADATA).write_text(text)
    with pytest.raises(ArtefactError):
        artefact.load(folder, tiny_sam)


@pytest.mark.parametrize("change", [{"method": "os"}, {"options": {"head": "none"}}, {"options": {"gamma": 1}}])
def test_a_method_that_cannot_be_rebuilt(folder, tiny_sam, change):
    edit(folder, **change)
    with pytest.raises(ArtefactError, match="cannot be rebuilt"):
        artefact.load(folder, tiny_sam)


def test_metadata_cannot_run_code(folder, tiny_sam):
    edit(folder, method="../train/loop")
    with pytest.raises(ArtefactError, match="No method is called"):
        artefact.load(folder, tiny_sam)


def test_neither_folder_nor_hub_id(tiny_sam, tmp_path):
    with pytest.raises(ArtefactError, match="no folder"):
        artefact.load(tmp_path / "nothing", tiny_sam)


def test_saving_replaces_an_adapter_and_a_partial_one_does_not_load(folder, tiny_sam, monkeypatch):
    segmenter = artefact.load(folder, tiny_sam).segmenter
    with torch.no_grad():
        next(segmenter.parameters()).add_(1)
    meta = artefact.describe(segmenter, method="plm-pmm", options=OPTIONS)
    monkeypatch.setattr("samtailor.artefact.disk.card", lambda meta: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        artefact.save(folder, segmenter, meta)
    with pytest.raises(ArtefactError, match="digest"):
        artefact.load(folder, tiny_sam)
    monkeypatch.undo()
    artefact.save(folder, segmenter, meta)
    assert torch.equal(next(artefact.load(folder, tiny_sam).segmenter.parameters()), next(segmenter.parameters()))
    assert len(list(folder.iterdir())) == 3


def test_a_method_without_trained_parameters(tiny_sam, tmp_path):
    segmenter, _ = find("methods", "sam").build(tiny_sam)
    artefact.save(tmp_path, segmenter, artefact.describe(segmenter, method="sam", options={}))
    assert artefact.load(tmp_path, tiny_sam).segmenter.learned() == {}


def test_model_card(saved):
    text = (saved / artefact.CARD).read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "samtailor"
    assert "base_model" not in yaml.safe_load(front), "tiny-sam is not on the hub"
    assert "| held-out mIoU | 50.0 % |" in body
    meta = artefact.read_meta(saved)
    odd = meta.model_copy(
        update={"classes": ("a|b: #",), "base": meta.base.model_copy(update={"name": "facebook/sam-vit-base"})}
    )
    front = yaml.safe_load(artefact.card(odd).split("---\n")[1])
    assert front["base_model"] == "facebook/sam-vit-base"
    assert "a\\|b" in artefact.card(odd)


class FakeHub:
    """Takes what HfApi and snapshot_download take; a folder is the hub, a second one this machine's copies."""

    def __init__(self, root: Path) -> None:
        self.root, self.copies = root / "hub", root / "copies"

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> str:
        assert exist_ok
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, repo_id: str, folder_path: str, allow_patterns: list[str], delete_patterns: list[str],
                      commit_message: str) -> None:  # fmt: skip
        for name in filter_repo_objects(self.files(repo_id), allow_patterns=delete_patterns):
            (self.root / repo_id / name).unlink()
        self._copied(Path(folder_path), self.root / repo_id, allow_patterns)

    def download(self, repo_id: str, *, revision: str | None, token: object, allow_patterns: list[str]) -> str:
        (self.copies / repo_id).mkdir(parents=True)
        self._copied(self.root / repo_id, self.copies / repo_id, allow_patterns)
        self.revision = revision
        return str(self.copies / repo_id)

    def files(self, repo_id: str) -> list[str]:
        return sorted(path.name for path in (self.root / repo_id).iterdir())

    def _copied(self, source: Path, target: Path, patterns: list[str]) -> None:
        names = [path.name for path in source.iterdir()]
        for name in filter_repo_objects(names, allow_patterns=patterns):
            shutil.copy(source / name, target / name)


OWN = ["README.md", "adapter.json", "adapter.safetensors"]


def test_to_the_hub_and_back(folder, tiny_sam, tmp_path, monkeypatch):
    for secret in ("checkpoint.safetensors", "config.yaml", "split.json"):
        (folder / secret).write_text("private")
    hub = FakeHub(tmp_path)
    url = artefact.push_to_hub(folder, "anna/plates", api=hub)
    assert url == "https://huggingface.co/anna/plates"
    assert hub.files("anna/plates") == OWN
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.download)
    monkeypatch.chdir(tmp_path / "copy")
    adapter = artefact.from_pretrained("anna/plates", tiny_sam, revision="v1")
    assert hub.revision == "v1"
    assert adapter.meta == artefact.read_meta(folder)
    assert not disk.exists(adapter.folder)
    artefact.push_to_hub(folder, "anna/plates", api=hub, with_split=True)
    assert "split.json" in hub.files("anna/plates")


def test_proposals_are_uploaded_too(tiny_sam, tmp_path, monkeypatch):
    folder = save(tmp_path / "adapter", tiny_sam, proposals=True, head="paper_plain")
    hub = FakeHub(tmp_path)
    artefact.push_to_hub(folder, "anna/discs", api=hub)
    assert hub.files("anna/discs") == [*OWN, "proposals.json", "proposals.safetensors"]
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.download)
    adapter = artefact.from_pretrained("anna/discs", tiny_sam)
    assert adapter.folder == hub.copies / "anna" / "discs"
    rng = np.random.default_rng(0)
    features = tiny_sam.encode_image(torch.from_numpy(rng.normal(size=(1, 3, 64, 64))).float())
    found = [disk.load(place, tiny_sam).propose(features, Frame.of(tiny_sam, 64, 64)) for place in
             (folder, adapter.folder)]  # fmt: skip
    assert len(found[0].scores)
    shutil.rmtree(hub.copies)
    assert Adapters(tiny_sam, 1).add("discs", "anna/discs").automatic, "the service has them too"
    shutil.rmtree(hub.copies)
    predictor = Predictor(tiny_sam, {"discs": adapter.segmenter})
    assert callable(AdapterSource.of(predictor, "discs", "anna/discs").propose)
    assert all(np.array_equal(getattr(found[0], name), getattr(found[1], name)) for name in ("points", "scores"))


def test_proposals_of_an_earlier_adapter_do_not_stay_on_the_hub(saved, tiny_sam, tmp_path):
    """On the same base they would load, and look for what that adapter was fitted to."""
    hub = FakeHub(tmp_path)
    artefact.push_to_hub(save(tmp_path / "adapter", tiny_sam, proposals=True), "anna/discs", api=hub)
    artefact.push_to_hub(saved, "anna/discs", api=hub)
    assert hub.files("anna/discs") == OWN


def test_damaged_proposals_are_not_uploaded(tiny_sam, tmp_path):
    folder = save(tmp_path / "adapter", tiny_sam, proposals=True)
    (folder / disk.TENSORS).write_bytes(b"other")
    with pytest.raises(ArtefactError, match="do not match"):
        artefact.push_to_hub(folder, "anna/discs", api=FakeHub(tmp_path))
    (folder / disk.TENSORS).unlink()
    with pytest.raises(ArtefactError, match="do not match"):
        artefact.push_to_hub(folder, "anna/discs", api=FakeHub(tmp_path))


def test_an_adapter_that_is_not_on_the_hub(tiny_sam, monkeypatch):
    def download(*args, **options):
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(ArtefactError, match="neither a folder nor"):
        artefact.load("anna/plates", tiny_sam)


def test_only_an_adapter_is_uploaded(tmp_path):
    with pytest.raises(ArtefactError, match="holds no adapter"):
        artefact.push_to_hub(tmp_path, "anna/plates", api=FakeHub(tmp_path))


def test_metadata_is_read_as_written(saved):
    meta = artefact.read_meta(saved)
    assert AdapterMeta(**json.loads(meta.model_dump_json())) == meta
