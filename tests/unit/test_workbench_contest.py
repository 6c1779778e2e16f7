"""The default fit of the page: a contest with a time budget, few images, several classes, and its end on request."""

from __future__ import annotations

import json
from dataclasses import asdict
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace

import pytest
from test_workbench_jobs import Recorder

from samtailor import artefact
from samtailor.bases import load_base
from samtailor.errors import InputError
from samtailor.serve.refusals import Refused
from samtailor.train.interrupt import Interrupted
from samtailor.workbench.fitted_adapters import FittedAdapters
from samtailor.workbench.snapshot import snapshot
from samtailor.workbench.work import fit, label
from samtailor.workbench.worker import Stop
from workbench import LIMITS, ids, images_folder, objects_of, open_project, open_session


@pytest.fixture(scope="module")
def base_folder(tiny_lite_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_lite_model.save_pretrained(folder)
    return folder


@pytest.fixture
def work(tmp_path, base_folder):
    """Input of a fit on some of five images."""

    def make(count: int = 3, classes: tuple[str, ...] = ("disc",), **settings) -> dict:
        root = images_folder(tmp_path / "images", 5)
        project = open_project(root)
        for i, id in enumerate(ids(project)[:count]):
            project.put(id, 0, "accepted", objects_of(i))
        made = snapshot(project, list(classes), None, 2, 0, settings.pop("budget", None))
        project.close()
        made["settings"] |= {"views": 1, "options": {"workers": 1, "clock": "cpu"}} | settings
        return made | {
            "proposals": False, "proposal_steps": 3, "out": str(tmp_path / "fit-1"), "base": str(base_folder),
            "device": "cpu", "images": str(root), "cache": str(tmp_path / "cache"), "limits": asdict(LIMITS),
        }  # fmt: skip

    return make


def test_images_of_the_page_can_be_sent_to_processes(work):
    job = work()
    for sample in [*fit.read_samples(job), *fit.read_waiting(job)]:
        assert ForkingPickler.dumps(sample)


def test_a_contest_is_the_default_and_ends_in_words(work, tmp_path):
    job = work()
    assert (job["settings"]["budget"], len(job["waiting"])) == ("120s", 2)
    fit.run(job, channel := Recorder())
    (done,) = channel.of("done")
    done = done["done"]
    assert done["comparison"][0].startswith("Cross-validated on 3 images")
    assert set(done["next_images"]) == {row["id"] for row in job["waiting"]}
    assert any("Mark next: p" in sentence for sentence in done["comparison"])
    assert (done["replaces"], done["message"]) == (None, None)
    rows = json.loads((tmp_path / "fit-1" / "gallery.json").read_text())["images"]
    assert {row["id"] for row in rows} == {row["id"] for row in job["samples"]}
    stages = [message["progress"]["stage"] for message in channel.of("progress")]
    assert list(dict.fromkeys(stages)) == ["start", "encode", "contest", "gallery"]


def test_one_image_is_enough_and_it_is_said_that_nothing_was_compared(work, tmp_path):
    fit.run(work(1), channel := Recorder())
    done = channel.of("done")[0]["done"]
    assert "not compared with the base model" in done["message"]
    assert artefact.read_meta(tmp_path / "fit-1").inference.base_prompts == ("click", "box")
    assert json.loads((tmp_path / "fit-1" / "gallery.json").read_text())["images"] == []


def test_the_best_result_so_far_is_kept_on_request(work, tmp_path):
    job = work(steps=60)  # more than those of the first adapter
    fit.run(job, channel := Recorder("contest", 3, keep=True))
    done = channel.of("done")[0]["done"]
    assert "best result so far" in done["message"]
    assert channel.of("usable") == [{"usable": "fit-1"}]
    assert not json.loads((tmp_path / "fit-1" / "plan.json").read_text())["complete"]
    with pytest.raises((Stop, Interrupted)):
        fit.run(job | {"out": str(tmp_path / "none")}, Recorder("encode"))
    assert not (tmp_path / "none" / artefact.METADATA).exists()


def test_each_class_has_its_adapter_and_the_page_opens_the_folder(work, tmp_path, base_folder):
    job = work(3, ("disc", "square"))
    assert job["settings"]["budget"] == "120s"
    out = tmp_path / "images" / ".samtailor" / "adapters" / "fit-1"
    fit.run(job | {"out": str(out)}, channel := Recorder())
    done = channel.of("done")[0]["done"]
    assert any(sentence.startswith("disc: Cross-validated") for sentence in done["comparison"])
    assert any(sentence.startswith("square: Cross-validated") for sentence in done["comparison"])
    session = open_session(tmp_path / "images", load_base(str(base_folder)))
    try:
        (adapter,) = session.about()["adapters"]
        assert (adapter["name"], adapter["auto"], adapter["classes"]) == ("fit-1", True, ["disc", "square"])
        assert adapter["cross_validated"] == {"dice": None, "click": None, "base": None, "objects": 0}  # too few
        assert session.gallery("fit-1")["images"]
        assert isinstance(session._fitted, FittedAdapters)
        assert session._fitted.present() == str(out)
        label.run(
            {**job, "samples": job["waiting"], "adapter": "fit-1", "folder": str(out), "threshold": None},
            labelled := Recorder(),
        )
        assert len(labelled.of("image")) == 2
        present = dict(job, out=str(tmp_path / "again"), present=str(out))
        fit.run(present, again := Recorder())
        assert again.of("done")[0]["done"]["replaces"] is not None
        session.remove("fit-1")
        assert session.about()["adapters"] == []
        assert not out.exists()
    finally:
        session.close()
        session.engine.close()


def test_a_budget_that_is_too_short_or_belongs_to_no_contest_is_refused(tmp_path):
    project = open_project(images_folder(tmp_path / "images", 5))
    with pytest.raises(Refused, match="needs 1 accepted image with objects, the project has 0"):
        snapshot(project, None, None, None, None)
    for i, id in enumerate(ids(project)[:4]):
        project.put(id, 0, "accepted", objects_of(i))
    with pytest.raises(InputError, match="2 classes needs a budget of 50s or more"):
        snapshot(project, None, None, None, None, "30s")
    with pytest.raises(InputError, match="30s, 2m or 1h"):
        snapshot(project, None, None, None, None, "soon")
    with pytest.raises(InputError, match="setting of the method auto"):
        snapshot(project, None, "plm", None, None, "2m")
    project.put(ids(project)[0], 1, "open", objects_of(0))
    with pytest.raises(Refused, match=r"A fit by plm needs 4 accepted images .* Accept 1 more image"):
        snapshot(project, None, "plm", None, None)


@pytest.mark.parametrize(
    ("contest", "trained"),
    [
        ({"touching": 0.2}, 1),
        ({"touching": 0.2, "instances": {"chosen": "", "rows": []}}, 1),
        ({"touching": 0.2, "instances": {"chosen": "parts", "rows": [{}]}}, 0),
        ({"touching": 0.05}, 0),
    ],
)
def test_proposals_are_trained_where_the_contest_had_no_time_to_compare_them(contest, trained, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(fit.artefact, "members", lambda out: {"disc": str(out)})
    meta = SimpleNamespace(figures={"contest": contest}, classes=("disc",))
    monkeypatch.setattr(fit.artefact, "read_meta", lambda folder: meta)
    monkeypatch.setattr(fit, "_propose", lambda *arguments: calls.append(arguments))
    fit._propose_touching(None, tmp_path, [], None, {}, None)
    assert len(calls) == trained
