"""Fits and labeling jobs: the worker process, its results, stops and crashes."""

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
from samtailor.serve.refusals import Taken, Unknown
from samtailor.train.interrupt import Interrupted
from samtailor.workbench import proposing
from samtailor.workbench.events import Events
from samtailor.workbench.jobs import Jobs
from samtailor.workbench.records import Object
from samtailor.workbench.work import fit, label
from samtailor.workbench.worker import Channel, Stop
from saved import save
from tiny import disc_sample
from workbench import LIMITS, ids, images_folder, objects_of, open_project, open_session

WAIT = 300.0  # seconds, far more than a job needs on a busy machine
PROGRESS = 'print(json.dumps({"progress": {"stage": "fit", "done": 1, "total": 2, "loss": 0.5}}), flush=True)'


def script(body: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import json, os, signal, sys, time\n{body}")


def wait_for_end(jobs: Jobs) -> None:
    jobs.join(WAIT)
    assert not jobs.running


def start(tmp_path, body: str, **callbacks) -> tuple[Jobs, list]:
    """A job that runs `body`, and the states that it reports."""
    states: list = []
    jobs = Jobs(tmp_path, states.append, script(body))
    jobs.start("fit", "one", {}, **{"on_message": lambda message: None, "on_done": dict, **callbacks})
    return jobs, states


def test_job_reports_progress_messages_and_result(tmp_path):
    messages: list = []
    body = (
        f'{PROGRESS}\nprint(json.dumps({{"image": "x"}}))\nprint(json.dumps({{"failed": "y", "error": "damaged"}}))\n'
        'print(json.dumps({"done": {"message": "well"}}))\n'
        "os.read(0, 1)"  # keeps the job running until the second one was refused
    )
    jobs, states = start(tmp_path, body, on_message=messages.append, on_done=lambda result: {**result, "miou": 0.7})
    with pytest.raises(Taken):
        jobs.start("fit", "two", {}, on_message=print, on_done=dict)
    jobs.stop(WAIT)
    wait_for_end(jobs)
    assert [(job.state, job.stage, job.done) for job in states] == [
        ("running", "start", 0),
        ("running", "fit", 1),
        ("done", "fit", 1),
    ]
    assert (states[-1].message, states[-1].miou, states[-1].loss) == ("well", 0.7, 0.5)
    assert messages == [{"image": "x"}, {"failed": "y", "error": "damaged"}]
    assert json.loads((tmp_path / "fit-one.json").read_text())["kind"] == "fit"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (f"{PROGRESS}\nos.kill(os.getpid(), signal.SIGKILL)", "out of memory"),
        ("sys.exit('cannot go on')", "exit code 1). Last line of the log: cannot go on Full log: "),
        ('print(json.dumps({"error": "no such class"}))\nsys.exit(2)', "no such class"),
        ("print('this is no JSON')", "Expecting value"),
        ("pass", "ended unexpectedly (exit code 0). Full log: "),
    ],
)
def test_crash_of_a_job_is_reported_and_the_next_job_starts(tmp_path, body, word):
    jobs, states = start(tmp_path, body)
    wait_for_end(jobs)
    assert states[-1].state == "failed"
    assert word in states[-1].message
    assert jobs.start("fit", "one", {}, on_message=print, on_done=dict).state == "running"
    wait_for_end(jobs)


def test_result_that_cannot_be_used_is_a_failure_of_the_job(tmp_path):
    def refuse(result):
        raise SamtailorError("of another base")

    jobs, states = start(tmp_path, 'print(json.dumps({"done": {}}))', on_done=refuse)
    wait_for_end(jobs)
    assert (states[-1].state, states[-1].message) == ("failed", "of another base")


def test_stop_closes_the_input_of_the_job(tmp_path):
    jobs, _ = start(tmp_path, f"{PROGRESS}\nwhile os.read(0, 1):\n    pass\nsys.exit(3)")
    assert jobs.stop(WAIT).state == "stopped"
    assert jobs.stop(WAIT).state == "stopped"


def test_best_result_so_far_can_be_requested_from_a_fit(tmp_path):
    body = f"{PROGRESS}\nassert os.read(0, 1) == b'k'\nprint(json.dumps({{'done': {{'message': 'kept'}}}}))"
    jobs, states = start(tmp_path, body, on_done=dict)
    while jobs.current.stage != "fit":
        time.sleep(0.01)
    assert jobs.keep().keeping
    wait_for_end(jobs)
    assert (states[-1].state, states[-1].message) == ("done", "kept")
    with pytest.raises(Unknown, match="No fit"):
        jobs.keep()


def test_job_stops_when_the_server_is_gone():
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    channel = Channel(Broken())
    channel.check_stop()
    channel.send(image="x")
    with pytest.raises(Stop):
        channel.check_stop()


def test_time_left_is_estimated_for_each_stage(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("samtailor.workbench.worker.time.monotonic", lambda: now[0])
    channel = Recorder()

    def left(stage: str, done: int, total: int, **values) -> float | None:
        channel.progress(stage=stage, done=done, total=total, **values)
        now[0] += 2.0
        return channel.messages[-1]["progress"]["seconds_left"]

    assert [left("gallery", done, 4) for done in range(5)] == [None, 6.0, 4.0, 2.0, 0.0]
    assert [left("proposals", done, 10) for done in (5, 6)] == [None, 8.0]  # a stage that was continued
    assert [left("proposals", done, 10) for done in (1, 2)] == [None, 16.0]  # the same stage once more
    assert left("fit", 1, 10, seconds_left=3.0) == 3.0


# --- the jobs, run in this process


class Recorder(Channel):
    """Keeps the messages, and requests a stop, or the best result so far, at progress message `number` of a stage."""

    def __init__(self, stop_at: str | None = None, number: int = 1, *, keep: bool = False) -> None:
        super().__init__(io.StringIO(), every=0.0)
        self.messages: list[dict] = []
        self._stop_at, self._left, self._keep = stop_at, number, keep

    def send(self, **message):
        self.messages.append(message)
        if self._stop_at is not None and message.get("progress", {}).get("stage") == self._stop_at:
            self._left -= 1
            if self._left == 0:
                (self.keep if self._keep else self.stop).set()

    def of(self, kind: str) -> list:
        return [message for message in self.messages if kind in message]

    @property
    def note(self) -> str | None:
        """The note of the result."""
        (done,) = self.of("done")
        return done["done"]["message"]


@pytest.fixture(scope="module")
def base_folder(tiny_sam_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_sam_model.save_pretrained(folder)
    return folder


@pytest.fixture
def work(tmp_path, base_folder) -> dict:
    """Input of a fit by a single method, on four images with objects and one without."""
    root = images_folder(tmp_path / "images", 5)
    project = open_project(root)
    rows = [
        {"id": id, "file": f"p{i}.png", "objects": [
            {"class": o.class_, "rle": o.rle.model_dump(mode="json")} for o in (objects_of(i) if i < 4 else [])]}
        for i, id in enumerate(ids(project))
    ]  # fmt: skip
    project.close()
    settings = {"method": "tailor", "steps": 4, "batch_size": 2, "eval_masks": 4}
    return {
        "samples": rows, "classes": ["disc"], "settings": settings,
        "names": {row["id"]: row["file"] for row in rows}, "proposals": False, "proposal_steps": 3,
        "out": str(tmp_path / "out"),
        "base": str(base_folder), "device": "cpu", "images": str(root), "cache": str(tmp_path / "cache"),
        "limits": asdict(LIMITS),
    }  # fmt: skip


def test_fit_writes_an_adapter_and_held_out_objects_before_and_after(work, tmp_path):
    from pycocotools import mask as coco

    fit.run(work, channel := Recorder())
    assert channel.note is None
    assert channel.of("done")[0]["done"]["held_out_images"] == 1
    meta = artefact.read_meta(tmp_path / "out")
    assert (meta.classes, meta.steps, meta.method) == (("disc",), 4, "tailor")
    (row,) = json.loads((tmp_path / "out" / "gallery.json").read_text())["images"]
    index = next(i for i, sample in enumerate(work["samples"]) if sample["id"] == row["id"])
    assert row["truth"] == objects_of(index)[0].rle.model_dump(mode="json") | {"size": [48, 80]}
    truth = disc_sample(index).annotations[0].mask
    after = Object(id="x", class_="disc", rle=row["after"]).checked((48, 80))
    assert row["after_iou"] == pytest.approx(iou(coco.decode(after.rle.packed).astype(bool), truth), abs=1e-4)
    progress = [message["progress"] for message in channel.of("progress")]
    assert list(dict.fromkeys(at["stage"] for at in progress)) == ["start", "encode", "fit", "select", "gallery"]
    last = [at for at in progress if at["stage"] == "fit"][-1]
    assert (last["done"], last["total"]) == (4, 4)
    assert last["loss"] > 0
    assert last.get("miou") is None  # of one object: too few to say
    done = channel.of("done")[0]["done"]
    assert (done["held_out_objects"], done["replaces"]) == (1, None)
    assert "too few objects to say" in done["comparison"][0]
    gallery = json.loads((tmp_path / "out" / "gallery.json").read_text())
    assert (gallery["objects"], "after_miou" in gallery) == (1, False)


def test_stopped_fit_continues_to_the_same_adapter(work, tmp_path):
    fit.run(work | {"out": str(tmp_path / "whole")}, Recorder())
    with pytest.raises(Interrupted):
        fit.run(work, Recorder("fit", 2))
    assert not (tmp_path / "out" / artefact.METADATA).exists()
    fit.run(work, again := Recorder())
    assert again.of("done")
    first, second = (artefact.read_meta(tmp_path / name) for name in ("whole", "out"))
    assert first.sha256 == second.sha256


def test_fit_that_is_ended_early_keeps_its_best_state(work, tmp_path):
    settings = work["settings"] | {"steps": 40, "eval_every": 1}
    fit.run(work | {"settings": settings, "proposals": True}, channel := Recorder("fit", 3, keep=True))
    meta = artefact.read_meta(tmp_path / "out")
    assert (meta.steps, meta.classes) == (3, ("disc",))
    assert "best result so far" in channel.note
    assert (tmp_path / "out" / "gallery.json").exists()
    assert not disk.exists(tmp_path / "out")
    assert not list((tmp_path / "out").glob("checkpoint*"))


def test_fit_without_a_state_has_nothing_to_keep(work, tmp_path):
    with pytest.raises(Stop):
        fit.run(work, Recorder("encode", 1, keep=True))
    assert not (tmp_path / "out" / artefact.METADATA).exists()


def test_few_images_use_the_map_of_the_adapter_instead_of_proposals(work, tmp_path):
    fit.run(work | {"proposals": True}, channel := Recorder())
    assert "automatic mode" not in (channel.note or "")
    assert not disk.exists(tmp_path / "out")
    few = work | {"proposals": True, "out": str(tmp_path / "plm"), "settings": work["settings"] | {"method": "plm"}}
    fit.run(few, Recorder())
    assert disk.exists(tmp_path / "plm")


def test_fit_stopped_during_its_proposals_has_an_adapter_and_a_gallery(work, tmp_path):
    settings = work["settings"] | {"method": "plm"}
    with pytest.raises(Stop):
        fit.run(work | {"proposals": True, "settings": settings}, Recorder("proposals", 3))
    assert (tmp_path / "out" / artefact.METADATA).exists()
    assert not disk.exists(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "gallery.json").read_text())["images"]


def test_fit_on_near_duplicates_notes_that_its_scores_are_optimistic(work, tmp_path):
    from PIL import Image

    for i in range(5):
        Image.fromarray(disc_sample(0).image).save(tmp_path / "images" / f"p{i}.png")
    same = work["samples"][0]["objects"]
    fit.run(work | {"samples": [{**row, "objects": same} for row in work["samples"]]}, channel := Recorder())
    assert channel.note.startswith("Almost all images are near-duplicates")
    assert "optimistic" in channel.note
    assert json.loads((tmp_path / "out" / "gallery.json").read_text())["images"]


def test_class_without_held_out_object_is_noted(work, tmp_path):
    """One image is held out, and each image has a single class."""
    rows = [{**row, "objects": row["objects"][:1]} for row in work["samples"]]
    for row in rows[:2]:
        row["objects"] = [{**o, "class": "other"} for o in row["objects"]]
    fit.run(work | {"samples": rows, "classes": ["disc", "other"]}, channel := Recorder())
    gallery = json.loads((tmp_path / "out" / "gallery.json").read_text())["images"]
    held_out = {row["class"] for row in gallery}
    assert len(held_out) == 1
    (missing,) = {"disc", "other"} - held_out
    assert channel.note == f"The scores do not cover {missing}: no held-out image has such an object."


def test_labeling_reports_each_image_and_skips_a_damaged_one(work, tmp_path, base_folder):
    from samtailor.bases import load_base

    folder = save(tmp_path / "adapter", load_base(str(base_folder)), proposals=True)
    damaged = tmp_path / "images" / "p1.png"
    damaged.write_bytes(damaged.read_bytes()[:700])
    job = work | {"adapter": "it", "folder": str(folder), "threshold": None}
    label.run(job, channel := Recorder())
    names = [row["id"] for row in work["samples"]]
    assert [message["failed"] for message in channel.of("failed")] == [names[1]]
    assert [message["image"] for message in channel.of("image")] == [names[0], *names[2:]]
    for message in channel.of("image"):
        objects = [Object.model_validate(row).checked((48, 80)) for row in message["objects"]]
        assert message["uncertainty"] == max((o.uncertainty for o in objects), default=1.0)
    with pytest.raises(Stop):
        label.run(job, stopped := Recorder("label", 2))
    assert len(stopped.of("image")) == 1


# --- uncertainty


@pytest.fixture
def adapter(tiny_sam2, tmp_path):
    """An adapter with proposals, and its predictor with an image set."""
    loaded = Adapters(tiny_sam2, 1).add("it", save(tmp_path / "it", tiny_sam2, proposals=True))
    with loaded.predictor() as predictor, torch.no_grad():
        predictor.set_image(disc_sample(0).image)
        yield loaded, predictor


def test_uncertainty_is_one_minus_score_times_stability(adapter):
    loaded, predictor = adapter
    objects = proposing.objects(loaded, predictor)
    assert [o.score for o in objects] == sorted((o.score for o in objects), reverse=True)
    for o in objects[:3]:
        ((x, y),) = o.prompts.points
        mask = best(predictor, x, y)
        distance = max(1.0, (mask.sum() / np.pi) ** 0.5 / 4)
        others = [best(predictor, *np.clip([x + distance * i, y + distance * j], 0, [79, 47]))
                  for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1))]  # fmt: skip
        stability = np.mean([iou(mask, other) for other in others])
        assert o.uncertainty == pytest.approx(1 - o.score * stability, abs=0.02)


def best(predictor: Predictor, x: float, y: float) -> np.ndarray:
    masks, scores, _ = predictor.predict([[x, y]], [1], adapter="it")
    return masks[scores.argmax()]


def test_uncertainty_of_an_image_is_the_highest_of_its_objects_and_one_without_objects(adapter):
    objects = proposing.objects(*adapter)
    assert proposing.uncertainty(objects) == max(o.uncertainty for o in objects)
    assert proposing.uncertainty([]) == 1.0
    assert proposing.objects(*adapter, threshold=1.0) == []


def test_uncertainty_without_a_prompt_is_one_minus_the_predicted_iou(tiny_sam2, tmp_path):
    loaded = Adapters(tiny_sam2, 1).add("it", save(tmp_path / "it", tiny_sam2, prompt="none"))
    with loaded.predictor() as predictor:
        predictor.set_image(disc_sample(0).image)
        objects = proposing.objects(loaded, predictor)
        for o in objects:
            assert o.uncertainty == pytest.approx(1 - o.score)
            assert (o.prompts, o.class_) == (None, "disc")


# --- events


def test_events_reach_every_listener_and_end_with_the_server():
    async def main() -> list[list[str]]:
        events, pages = Events(), [[], []]

        async def listen(page: list[str]) -> None:
            async for text in events.listen(("project", {"name": "x"})):
                page.append(text)

        async def wait_until(condition) -> None:
            while not condition():
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(listen(page)) for page in pages]
        await wait_until(lambda: all(len(page) == 2 for page in pages))
        await asyncio.to_thread(events.publish, "job", {"done": 1})
        await wait_until(lambda: all(len(page) == 3 for page in pages))
        events.close()
        await asyncio.gather(*tasks)
        return pages

    one, other = asyncio.run(asyncio.wait_for(main(), WAIT))
    assert one == other
    assert one[1:] == ['event: project\ndata: {"name": "x"}\n\n', 'event: job\ndata: {"done": 1}\n\n']


# --- real processes


@pytest.mark.slow
def test_fit_and_label_on_the_bundled_base_with_a_killed_worker(tmp_path):
    from samtailor.bases import load_base

    root = images_folder(tmp_path / "images", 8)
    session = open_session(root, load_base("lite"))
    session.project.settings.base = "lite"
    try:
        for i, id in enumerate(ids(session.project)[:4]):
            session.project.put(id, 0, "accepted", objects_of(i))
        job = session.fit("it", ["disc"], None, 12, 0, True, 20)
        while session.jobs.running and (session.jobs.current.stage != "fit" or session.jobs.current.done < 3):
            time.sleep(0.05)
        session.jobs._process.send_signal(signal.SIGKILL)
        session.jobs.join()
        assert session.jobs.current.state == "failed"
        assert session.about()["unfinished"] == ["it"]
        assert session.fit("it", None, None, None, None, True).id != job.id
        session.jobs.join()
        assert (session.jobs.current.state, session.jobs.current.message) == ("done", None)
        assert session.about()["unfinished"] == []
        assert len(session.gallery("it")["images"]) == 1
        session.label("it", 0.0, None)
        session.jobs.join()
        assert session.jobs.current.state == "done"
        assert session.project.counts() == {"open": 0, "proposed": 4, "accepted": 4, "failed": 0}
    finally:
        session.close()
        session.engine.close()
