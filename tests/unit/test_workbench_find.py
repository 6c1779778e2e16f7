"""Find similar in the page: references, the search as a job, and what becomes of what was found."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import pytest

from samtailor.errors import InputError
from samtailor.serve.refusals import Refused
from samtailor.workbench.finding import Finding, ReferenceMarks, merged
from samtailor.workbench.jobs import Jobs
from samtailor.workbench.records import Object, Record, Runs
from samtailor.workbench.work import finding
from samtailor.workbench.worker import Channel
from workbench import LIMITS, ids, images_folder, objects_of, open_project, square

ALL = "json.load(open(sys.argv[1]))['samples']"


def found(top: int, left: int, score: float, id: str = "f1", name: str = "disc") -> Object:
    rle = Runs(**square(top, left))
    return Object(id=id, class_=name, rle=rle, source="find", score=score, uncertainty=1 - score)


def dumped(*objects: Object) -> list[dict]:
    return [o.model_dump(mode="json", by_alias=True) for o in objects]


@pytest.fixture
def project(tmp_path):
    opened = open_project(images_folder(tmp_path / "images"))
    for i, id in enumerate(ids(opened)[:2]):
        opened.put(id, 0, "accepted", objects_of(i))
    yield opened
    opened.close()


@pytest.fixture
def searching(project, tmp_path):
    """Start a search whose worker runs a script, and wait for its end: (jobs, input of the worker)."""

    def search(body: str, *references: ReferenceMarks, **options):
        code = f"import json, sys\nsamples = {ALL}\n{body}\nprint(json.dumps({{'done': {{'threshold': 0.25}}}}))"
        jobs = Jobs(tmp_path / "jobs", lambda job: None, (sys.executable, "-c", code))
        environment = {"base": "tiny", "device": "cpu"}
        find = Finding(project, jobs, lambda: dict(environment), lambda id: None, lambda: None)
        find.start(options.pop("name", "disc"), references, **options)
        jobs.join(60)
        return jobs.current, json.loads((tmp_path / "jobs" / "find-objects.json").read_text())

    return search


def says(**objects) -> str:
    """Messages of a worker: the objects of image number N."""
    numbered = ((int(key[1:]), dumped(*some)) for key, some in objects.items())
    return "\n".join(f"print(json.dumps({{'image': samples[{i}]['id'], 'objects': {rows!r}}}))" for i, rows in numbered)


def test_search_proposes_what_it_finds_and_leaves_the_rest_alone(project, searching):
    first, second, *rest = ids(project)
    body = says(n0=[found(2, 2, 0.6), found(20, 20, 0.9, "f2")], n1=[])
    job, work = searching(body, ReferenceMarks(first), ReferenceMarks(second, Runs(**square(0, 0)), alike=False))
    assert (job.state, job.report) == (
        "done", {"images": 1, "objects": 2, "nothing": 1, "unreadable": 0, "here": None},
    )  # fmt: skip
    assert "2 objects in 1 image" in job.message
    assert [row["id"] for row in work["samples"]] == rest
    assert [(row["alike"], row["complete"], len(row["masks"])) for row in work["references"]] == [
        (True, True, 1),
        (False, False, 1),
    ]
    rows = {row["id"]: row for row in project.rows()}
    assert (rows[rest[0]]["state"], rows[rest[0]]["match"], rows[rest[0]]["objects"]) == ("proposed", 0.9, 2)
    assert rows[rest[0]]["uncertainty"] == pytest.approx(0.4)
    assert (rows[rest[1]]["state"], rows[rest[1]]["match"]) == ("open", None)
    assert rows[first]["labels"] == {"disc": 1, "square": 1}


def test_search_of_the_open_image_saves_nothing(project, searching):
    first = ids(project)[0]
    revision = project.read(first).revision
    job, work = searching(says(n0=[found(2, 2, 0.6)]), ReferenceMarks(first, Runs(**square(1, 1))), here=first)
    assert [row["id"] for row in work["samples"]] == [first]
    assert (job.report["here"]["image"], len(job.report["here"]["objects"])) == (first, 1)
    assert not work["references"][0]["complete"]
    assert project.read(first).revision == revision


def test_unreadable_image_is_counted_and_listed(project, searching):
    body = "print(json.dumps({'failed': samples[0]['id'], 'error': 'p2.png: damaged'}))"
    job, work = searching(body, ReferenceMarks(ids(project)[0]))
    assert (job.report["unreadable"], "1 image cannot be read" in job.message) == (1, True)
    assert project.row(work["samples"][0]["id"])["error"] == "p2.png: damaged"


@pytest.mark.parametrize(
    ("reference", "options", "error", "word"),
    [
        (ReferenceMarks("", Runs(**square(0, 0))), {"name": "cat"}, InputError, "no class 'cat'"),
        (ReferenceMarks("", alike=False), {}, Refused, "at least one reference"),
        (ReferenceMarks("open"), {}, Refused, "no object of the class 'disc'"),
        (ReferenceMarks("", Runs(**square(0, 0, size=(40, 40)))), {}, InputError, "40"),
    ],
)
def test_searches_that_make_no_sense_are_refused(project, searching, reference, options, error, word):
    id = ids(project)[3 if reference.image else 0]
    with pytest.raises(error, match=word):
        searching("", ReferenceMarks(id, reference.rle, reference.alike), **options)


def test_earlier_results_are_replaced_and_proposals_of_adapters_stay():
    adapter = Object(id="a1", class_="disc", rle=Runs(**square(0, 0)), source="auto", score=0.8, uncertainty=0.3)
    before = Record(state="proposed", objects=[adapter, found(20, 20, 0.9, "f1")], uncertainty=0.3)
    after = merged(before, [found(1, 0, 0.7, "f1"), found(30, 40, 0.5, "f2")], "disc")
    assert [(o.id, o.source) for o in after.objects] == [("a1", "auto"), ("f2", "find")]  # the first is there already
    assert (after.uncertainty, after.state) == (0.5, "proposed")
    other = merged(before, [found(1, 0, 0.7, "f1", "square")], "square")
    assert [o.id for o in other.objects] == ["a1", "f1", "f1-square"]
    assert merged(before.model_copy(update={"objects": [adapter]}), [], "disc") is None
    nothing = merged(before.model_copy(update={"objects": [found(2, 2, 0.9)]}), [], "disc")
    assert (nothing.state, nothing.objects, nothing.uncertainty) == ("open", [], None)


def test_work_of_the_user_is_never_changed(project):
    accepted = ids(project)[0]
    assert not project.revise(accepted, "find:x", lambda before: pytest.fail("the record was offered"))


def test_job_finds_objects_on_a_small_base(project, tiny_sam_model, tmp_path):
    tiny_sam_model.save_pretrained(tmp_path / "base")
    rows = [{"id": id, "file": f"p{i}.png"} for i, id in enumerate(ids(project))]
    (tmp_path / "images" / "p3.png").write_bytes(b"no image")
    masks = [o.rle.model_dump(mode="json") for o in objects_of(0)]
    messages: list[dict] = []

    class Recorder(Channel):
        def send(self, **message):
            messages.append(message)

    finding.run(
        {
            "references": [{**rows[0], "alike": True, "complete": True, "masks": masks},
                           {**rows[1], "alike": False, "complete": False, "masks": []}],
            "samples": rows[2:5], "class": "disc", "threshold": 0.0, "base": str(tmp_path / "base"), "device": "cpu",
            "images": str(tmp_path / "images"), "cache": str(tmp_path / "cache"), "limits": asdict(LIMITS),
        },
        Recorder(None),
    )  # fmt: skip
    assert [message["image"] for message in messages if "image" in message] == [rows[2]["id"], rows[4]["id"]]
    assert [message["failed"] for message in messages if "failed" in message] == [rows[3]["id"]]
    assert messages[-1]["done"] == {"threshold": 0.0}
    objects = [Object.model_validate(row) for message in messages for row in message.get("objects", ())]
    assert objects
    assert all(o.checked((48, 80)).class_ == "disc" and o.uncertainty == 1 - o.score for o in objects)
