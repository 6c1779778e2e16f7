"""Fits and labellings: the process that they run in, what they leave, how a stop and a death are met."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest
import torch

from samtailor import artefact
from samtailor.errors import SamtailorError
from samtailor.masks.metrics import iou
from samtailor.predict.predictor import Predictor
from samtailor.proposals import disk
from samtailor.serve.adapters import Adapters
from samtailor.serve.refusals import Taken
from samtailor.train.config import FitConfig
from samtailor.train.interrupt import Interrupted
from samtailor.workbench import proposing
from samtailor.workbench.events import Events
from samtailor.workbench.jobs import Jobs
from samtailor.workbench.records import Object
from samtailor.workbench.work import fit, label
from samtailor.workbench.worker import Line, Stop
from saved import save
from tiny import disc_sample
from workbench import LIMITS, ids, images_folder, objects_of, open_project, open_session

SAID = 'print(json.dumps({"progress": {"stage": "fit", "done": 1, "total": 2, "loss": 0.5}}), flush=True)'


def script(body: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import json, os, signal, sys, time\n{body}")


def finished(jobs: Jobs) -> None:
    jobs._thread.join(20)


def started(tmp_path, body: str, **calls) -> tuple[Jobs, list]:
    told: list = []
    jobs = Jobs(tmp_path, told.append, script(body))
    given = {"line": calls.get("line", lambda said: None), "finished": calls.get("finished", dict)}
    jobs.start("fit", "one", {}, **given)
    return jobs, told


def test_a_job_tells_where_it_is_and_how_it_ended(tmp_path):
    lines: list = []
    body = f'{SAID}\nprint(json.dumps({{"image": "x"}}))\nprint(json.dumps({{"done": {{"message": "well"}}}}))'
    jobs, told = started(tmp_path, body, line=lines.append, finished=lambda made: {**made, "miou": 0.7})
    with pytest.raises(Taken):
        jobs.start("fit", "two", {}, line=print, finished=dict)
    finished(jobs)
    assert [(job.state, job.stage, job.done) for job in told] == [
        ("running", "start", 0),
        ("running", "fit", 1),
        ("done", "fit", 1),
    ]
    assert (told[-1].message, told[-1].miou, told[-1].loss) == ("well", 0.7, 0.5)
    assert lines == [{"image": "x"}]
    assert json.loads((tmp_path / "fit-one.json").read_text())["kind"] == "fit"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (f"{SAID}\nos.kill(os.getpid(), signal.SIGKILL)", "out of memory"),
        ("sys.exit('cannot go on')", "cannot go on"),
        ('print(json.dumps({"error": "no such class"}))\nsys.exit(2)', "no such class"),
        ("print('this is no JSON')", "Expecting value"),
        ("pass", "without a word"),
    ],
)
def test_a_job_that_dies_is_told_and_the_next_one_begins(tmp_path, body, word):
    jobs, told = started(tmp_path, body)
    finished(jobs)
    assert told[-1].state == "failed"
    assert word in told[-1].message
    assert jobs.start("fit", "one", {}, line=print, finished=dict).state == "running"
    finished(jobs)


def test_what_goes_wrong_with_a_result_is_the_jobs_failure(tmp_path):
    def refuse(made):
        raise SamtailorError("of another base")

    jobs, told = started(tmp_path, 'print(json.dumps({"done": {}}))', finished=refuse)
    finished(jobs)
    assert (told[-1].state, told[-1].message) == ("failed", "of another base")


def test_a_stop_is_the_end_of_the_jobs_input(tmp_path):
    jobs, _ = started(tmp_path, f"{SAID}\nwhile os.read(0, 1):\n    pass\nsys.exit(3)")
    assert jobs.stop(20).state == "stopped"
    assert jobs.stop(20).state == "stopped"


def test_lines_end_a_job_when_nobody_reads_them():
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    line = Line(Broken())
    line.check()
    line.tell(image="x")
    with pytest.raises(Stop):
        line.check()


# --- what the processes do, here in this one


class Told(Line):
    """Keeps the lines; asks to stop at the first line of a stage."""

    def __init__(self, stop_at: str | None = None, number: int = 1) -> None:
        super().__init__(io.StringIO(), every=0.0)
        self.lines: list[dict] = []
        self._at, self._left = stop_at, number

    def tell(self, **what):
        self.lines.append(what)
        if self._at is not None and what.get("progress", {}).get("stage") == self._at:
            self._left -= 1
            if self._left == 0:
                self.stop.set()

    def of(self, kind: str) -> list:
        return [line for line in self.lines if kind in line]


@pytest.fixture(scope="module")
def base_folder(tiny_sam_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_sam_model.save_pretrained(folder)
    return folder


@pytest.fixture
def work(tmp_path, base_folder) -> dict:
    """A fit of four images and one without an object."""
    root = images_folder(tmp_path / "images", 5)
    project = open_project(root)
    rows = [
        {"id": id, "file": f"p{i}.png", "objects": [
            {"class": o.class_, "rle": o.rle.model_dump(mode="json")} for o in (objects_of(i) if i < 4 else [])]}
        for i, id in enumerate(ids(project))
    ]  # fmt: skip
    project.close()
    return {
        "samples": rows, "classes": ["disc"], "settings": {"steps": 4, "batch_size": 2, "eval_masks": 4},
        "names": {row["id"]: row["file"] for row in rows}, "proposals": False, "proposal_steps": 3,
        "out": str(tmp_path / "out"),
        "base": str(base_folder), "device": "cpu", "images": str(root), "cache": str(tmp_path / "cache"),
        "limits": asdict(LIMITS),
    }  # fmt: skip


def test_a_fit_leaves_an_adapter_and_held_out_objects_before_and_after(work, tmp_path):
    line = Told()
    fit.run(work, line)
    (done,) = line.of("done")
    assert done["done"]["message"] is None
    meta = artefact.read_meta(tmp_path / "out")
    assert (meta.classes, meta.steps, meta.method) == (("disc",), 4, FitConfig().method)
    (one,) = json.loads((tmp_path / "out" / "gallery.json").read_text())["images"]
    index = next(i for i, row in enumerate(work["samples"]) if row["id"] == one["id"])
    assert one["truth"] == objects_of(index)[0].rle.model_dump(mode="json") | {"size": [48, 80]}
    true = disc_sample(index).annotations[0].mask
    after = Object(id="x", class_="disc", rle=one["after"]).checked((48, 80))
    from pycocotools import mask as coco

    assert one["after_iou"] == pytest.approx(iou(coco.decode(after.rle.packed).astype(bool), true), abs=1e-4)
    stages = list(dict.fromkeys(said["progress"]["stage"] for said in line.of("progress")))
    assert stages == ["start", "encode", "fit", "select", "gallery"]
    last = [said["progress"] for said in line.of("progress") if said["progress"]["stage"] == "fit"][-1]
    assert (last["done"], last["total"]) == (4, 4)
    assert last["loss"] > 0
    assert last["start_miou"] is not None


def test_a_fit_that_was_stopped_goes_on_to_the_same_adapter(work, tmp_path):
    fit.run(work | {"out": str(tmp_path / "whole")}, Told())
    with pytest.raises(Interrupted):
        fit.run(work, Told("fit", 2))
    assert not (tmp_path / "out" / artefact.METADATA).exists()
    fit.run(work, again := Told())
    assert again.of("done")
    first, second = (artefact.read_meta(tmp_path / name) for name in ("whole", "out"))
    assert first.sha256 == second.sha256


def test_few_images_leave_the_looking_to_the_adapters_map(work, tmp_path):
    fit.run(work | {"proposals": True}, line := Told())
    assert "label by itself" not in (line.of("done")[0]["done"]["message"] or "")
    assert not disk.exists(tmp_path / "out")
    few = work | {"proposals": True, "out": str(tmp_path / "plm"), "settings": work["settings"] | {"method": "plm"}}
    fit.run(few, Told())
    assert disk.exists(tmp_path / "plm")


def test_a_fit_that_was_stopped_in_its_proposals_goes_on_with_them(work, tmp_path):
    settings = work["settings"] | {"method": "plm"}
    with pytest.raises(Stop):
        fit.run(work | {"proposals": True, "settings": settings}, Told("proposals", 3))
    assert (tmp_path / "out" / artefact.METADATA).exists()
    assert not disk.exists(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "gallery.json").read_text())["images"]


def test_images_that_are_all_alike_are_fitted_and_it_is_said_that_none_was_held_out(work, tmp_path):
    from PIL import Image

    for i in range(5):
        Image.fromarray(disc_sample(0).image).save(tmp_path / "images" / f"p{i}.png")
    same = work["samples"][0]["objects"]
    line = Told()
    fit.run(work | {"samples": [{**row, "objects": same} for row in work["samples"]]}, line)
    assert "No image was held out" in line.of("done")[0]["done"]["message"]
    assert json.loads((tmp_path / "out" / "gallery.json").read_text()) == {"images": []}


def test_a_class_that_no_held_out_image_has_is_told(work, tmp_path):
    """One image is held out; each of these has one class alone."""
    rows = [{**row, "objects": row["objects"][:1]} for row in work["samples"]]
    for row in rows[:2]:
        row["objects"] = [{**one, "class": "other"} for one in row["objects"]]
    line = Told()
    fit.run(work | {"samples": rows, "classes": ["disc", "other"]}, line)
    seen = {one["class"] for one in json.loads((tmp_path / "out" / "gallery.json").read_text())["images"]}
    assert len(seen) == 1
    (unseen,) = {"disc", "other"} - seen
    assert f"say nothing about {unseen}:" in line.of("done")[0]["done"]["message"]


def test_labelling_tells_each_image_and_goes_round_a_broken_one(work, tmp_path, base_folder):
    from samtailor.bases import load_base

    folder = save(tmp_path / "adapter", load_base(str(base_folder)), proposals=True)
    broken = tmp_path / "images" / "p1.png"
    broken.write_bytes(broken.read_bytes()[:700])
    job = work | {"adapter": "it", "folder": str(folder), "threshold": None}
    label.run(job, line := Told())
    names = [row["id"] for row in work["samples"]]
    assert [said["failed"] for said in line.of("failed")] == [names[1]]
    assert [said["image"] for said in line.of("image")] == [names[0], *names[2:]]
    for said in line.of("image"):
        found = [Object.model_validate(row).checked((48, 80)) for row in said["objects"]]
        assert said["uncertainty"] == max((one.uncertainty for one in found), default=1.0)
    with pytest.raises(Stop):
        label.run(job, cut := Told("label", 2))
    assert len(cut.of("image")) == 1


# --- uncertainty


@pytest.fixture
def asked(tiny_sam2, tmp_path):
    """A slot with proposals, its predictor and an image."""
    slot = Adapters(tiny_sam2, 1).add("it", save(tmp_path / "it", tiny_sam2, proposals=True))
    with slot.predictor() as predictor, torch.no_grad():
        predictor.set_image(disc_sample(0).image)
        yield slot, predictor


def test_uncertainty_is_one_less_score_times_agreement_with_moved_clicks(asked):
    slot, predictor = asked
    found = proposing.objects(slot, predictor)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found[:3]:
        ((x, y),) = one.prompts.points
        mask = best(predictor, x, y)
        far = max(1.0, (mask.sum() / np.pi) ** 0.5 / 4)
        others = [best(predictor, *np.clip([x + far * i, y + far * j], 0, [79, 47]))
                  for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1))]  # fmt: skip
        stability = np.mean([iou(mask, other) for other in others])
        assert one.uncertainty == pytest.approx(1 - one.score * stability, abs=0.02)


def best(predictor: Predictor, x: float, y: float) -> np.ndarray:
    masks, scores, _ = predictor.predict([[x, y]], [1], adapter="it")
    return masks[scores.argmax()]


def test_an_image_is_as_uncertain_as_its_worst_object_and_nothing_found_is_one(asked):
    found = proposing.objects(*asked)
    assert proposing.uncertainty(found) == max(one.uncertainty for one in found)
    assert proposing.uncertainty([]) == 1.0
    assert proposing.objects(*asked, threshold=1.0) == []


def test_without_a_prompt_the_predicted_iou_alone_tells(tiny_sam2, tmp_path):
    slot = Adapters(tiny_sam2, 1).add("it", save(tmp_path / "it", tiny_sam2, prompt="none"))
    with slot.predictor() as predictor:
        predictor.set_image(disc_sample(0).image)
        found = proposing.objects(slot, predictor)
        for one in found:
            assert one.uncertainty == pytest.approx(1 - one.score)
            assert (one.prompts, one.class_) == (None, "disc")


# --- events


def test_events_reach_every_listener_and_end_with_the_server():
    async def main() -> tuple[list[str], list[str]]:
        events = Events()

        async def listen() -> list[str]:
            return [text async for text in events.listen(("project", {"name": "x"}))]

        pages = [asyncio.create_task(listen()) for _ in range(2)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(events.publish, "job", {"done": 1})
        await asyncio.sleep(0.05)
        events.close()
        return tuple(await asyncio.wait_for(asyncio.gather(*pages), 5))

    one, other = asyncio.run(main())
    assert one == other
    assert one[1:] == ['event: project\ndata: {"name": "x"}\n\n', 'event: job\ndata: {"done": 1}\n\n']


# --- the whole, with real processes


@pytest.mark.slow
def test_fit_and_label_on_the_bundled_base_and_a_server_that_is_not_hurt_by_their_death(tmp_path):
    from samtailor.bases import load_base

    root = images_folder(tmp_path / "images", 8)
    bench = open_session(root, load_base("nano"))
    bench.project.settings.base = "nano"
    try:
        for i, id in enumerate(ids(bench.project)[:4]):
            bench.project.put(id, 0, "accepted", objects_of(i))
        job = bench.fit("it", ["disc"], None, 12, 0, True, 20)
        while bench.jobs.running and (bench.jobs.current.stage != "fit" or bench.jobs.current.done < 3):
            time.sleep(0.05)
        bench.jobs._process.send_signal(signal.SIGKILL)
        bench.jobs._thread.join()
        assert bench.jobs.current.state == "failed"
        assert bench.about()["unfinished"] == ["it"]
        assert bench.fit("it", None, None, None, None, True).id != job.id
        bench.jobs._thread.join()
        assert (bench.jobs.current.state, bench.jobs.current.message) == ("done", None)
        assert bench.about()["unfinished"] == []
        assert len(bench.gallery("it")["images"]) == 1
        bench.label("it", 0.0, None)
        bench.jobs._thread.join()
        assert bench.jobs.current.state == "done"
        assert bench.project.counts() == {"open": 0, "proposed": 4, "accepted": 4, "failed": 0}
    finally:
        bench.close()
        bench.engine.close()
