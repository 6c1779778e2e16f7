"""The backend beside a real Label Studio: the steps of docs/guides/label-studio.md, over HTTP on both sides.

Label Studio is not a dependency: `pip install label-studio` into an environment of its own, and name its executable in
SAMTAILOR_LABEL_STUDIO (or have it in PATH). Tried with Label Studio 1.23.2.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np
import pytest
from PIL import Image

from samtailor import artefact
from samtailor.data.dataset import open_dataset
from samtailor.data.synth.samples import samples
from samtailor.fitting.verdict import replaces_of
from samtailor.masks import brush
from samtailor.predict.predictor import Predictor

EXECUTABLE = os.environ.get("SAMTAILOR_LABEL_STUDIO") or shutil.which("label-studio")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        EXECUTABLE is None, reason="no label-studio: pip install it elsewhere, name it in SAMTAILOR_LABEL_STUDIO"
    ),
]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = re.search(r"```xml\n(.*?)```", Path("docs/guides/label-studio.md").read_text(encoding="utf-8"), re.DOTALL)[1]
IMAGES = samples(6, 0, kind="banners", size=(192, 256))


class Refused(Exception):
    """Label Studio or the backend returned an error."""


def call(url: str, body: object = None, method: str | None = None, kind: str = "application/json", token: str = TOKEN):
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"Authorization": f"Token {token}", "Content-Type": kind}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=120) as response:
            text = response.read()
    except HTTPError as error:
        with error:
            raise Refused(f"{error.code} {error.read()[:1000].decode()}") from None
    return json.loads(text) if text else None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def up(url: str) -> bool:
    try:
        return call(url + "/health")["status"] == "UP"
    except (URLError, OSError, Refused):
        return False


class Server:
    """A server process with its own port."""

    def __init__(self, folder: Path, name: str, command: list[str], port: int, **environment: str) -> None:
        self.url, self.log = f"http://127.0.0.1:{port}", folder / f"{name}.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(command, env=os.environ | environment, stdout=stream, stderr=stream)
        while not up(self.url):
            if self.process.poll() is not None:
                raise AssertionError(self.log.read_text(encoding="utf-8", errors="replace")[-3000:])
            time.sleep(0.5)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def studio(folder):
    """Address of a Label Studio with one user."""
    port = free_port()
    command = [EXECUTABLE, "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1",
               "--username", "a@example.org", "--password", "a-long-password", "--user-token", TOKEN]  # fmt: skip
    server = Server(folder, "studio", command, port, LABEL_STUDIO_BASE_DATA_DIR=str(folder / "studio"),
                    COLLECT_ANALYTICS="False", LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN="True",
                    ML_BLOCK_LOCAL_IP="False", SSRF_PROTECTION_ENABLED="False")  # fmt: skip
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def access(studio) -> str:
    """A personal access token, the default kind of Label Studio."""
    return call(f"{studio}/api/token/", {})["token"]


def start(folder: Path, studio: str, access: str, *arguments: str) -> Server:
    """`samtailor label-studio`, as a user starts it."""
    port = free_port()
    project = folder / f"project-{port}"
    command = [sys.executable, "-m", "samtailor", "label-studio", str(project), "--url", studio, "--port", str(port),
               "--device", "cpu", *arguments]  # fmt: skip
    environment = {"LABEL_STUDIO_API_KEY": access, "SAMTAILOR_CACHE": str(folder / "cache")}
    server = Server(folder, f"backend-{port}", command, port, **environment)
    server.project = project
    return server


@pytest.fixture(scope="module")
def backend(folder, studio, access):
    server = start(folder, studio, access, "--train-every", "4", "--steps", "5", "--propose")
    yield server
    server.stop()


def opened(studio: str, title: str, images: int) -> tuple[int, list[int]]:
    """A project with the first `IMAGES`: its id, and the ids of its tasks in order."""
    project = call(f"{studio}/api/projects", {"title": title, "label_config": CONFIG})["id"]
    for sample in IMAGES[:images]:
        stream = io.BytesIO()
        Image.fromarray(sample.image).save(stream, "PNG")
        head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{sample.id}.png"\r\n'
        body = head.encode() + b"Content-Type: image/png\r\n\r\n" + stream.getvalue() + b"\r\n--x--\r\n"
        call(f"{studio}/api/projects/{project}/import", body, kind="multipart/form-data; boundary=x")
    tasks = call(f"{studio}/api/tasks?project={project}&page_size=100")["tasks"]
    return project, sorted(task["id"] for task in tasks)


def connected(studio: str, project: int, backend: Server, **fields: object) -> int:
    given = {"project": project, "url": backend.url, "title": "samtailor", "is_interactive": True}
    return call(f"{studio}/api/ml", given | fields)["id"]


def asked(kind: str, **value: float) -> dict:
    """A smart region as the page sends it, in percent of the image."""
    name = {"keypointlabels": "click", "rectanglelabels": "box"}[kind]
    fields = {"original_width": 256, "original_height": 192, "image_rotation": 0, "from_name": name,
              "to_name": "image", "type": kind, "id": "x1", "is_positive": True}  # fmt: skip
    return fields | {"value": {**value, kind: ["banner"]}}


def painted(mask: np.ndarray) -> dict:
    value = {"format": "rle", "rle": brush.encode(mask), "brushlabels": ["banner"]}
    return {"original_width": 256, "original_height": 192, "image_rotation": 0, "from_name": "mask",
            "to_name": "image", "type": "brushlabels", "value": value}  # fmt: skip


def accept(studio: str, task: int, sample) -> int:
    result = [painted(annotation.mask) for annotation in sample.annotations]
    return call(f"{studio}/api/tasks/{task}/annotations/", {"result": result})["id"]


def action(studio: str, project: int, name: str, tasks: list[int], **fields: object) -> dict:
    """Run an action of the data manager on some tasks."""
    given = {"selectedItems": {"all": False, "included": tasks}, **fields}
    return call(f"{studio}/api/dm/actions?id={name}&project={project}", given)


def finished(backend: Server) -> dict:
    """The state of the backend once no fit is running."""
    while (state := call(f"{backend.url}/is_training"))["is_training"]:
        time.sleep(1)
    return state


def test_clicks_and_boxes_get_the_masks_of_the_base(studio, backend):
    from samtailor.bases import load_base

    project, (task,) = opened(studio, "clicks and boxes", 1)
    ml = connected(studio, project, backend)
    assert call(f"{studio}/api/ml/{ml}")["readable_state"] == "Connected"
    predictor = Predictor(load_base("lite"))
    predictor.set_image(IMAGES[0].image)
    point, box = np.array([[127.5, 71.5]]), np.array([64.0, 48.0, 192.0, 144.0])
    prompt_batches = [
        (asked("keypointlabels", x=50, y=37.5, width=0.4), predictor.predict(point, np.array([1]))),
        (asked("rectanglelabels", x=25, y=25, width=50, height=50, rotation=0), predictor.predict(box=box)),
    ]
    for region, (masks, scores, _) in prompt_batches:
        result = call(f"{studio}/api/ml/{ml}/interactive-annotating", {"task": task, "context": {"result": [region]}})
        (row,) = result["data"]["result"]
        assert (row["from_name"], row["to_name"], row["value"]["brushlabels"]) == ("mask", "image", ["banner"])
        assert np.array_equal(brush.decode(row["value"]["rle"], 192, 256), masks[scores.argmax()])


def test_the_whole_loop(studio, backend):
    """Connect, predict nothing, accept four tasks, fit, pre-label, accept pre-labels, delete, fit again."""
    project, tasks = opened(studio, "the whole loop", 6)
    ml = connected(studio, project, backend)
    hooks = call(f"{studio}/api/webhooks/?project={project}")
    assert [hook["url"] for hook in hooks] == [f"{backend.url}/webhook"], "Label Studio adds it, nobody else has to"
    predictions = f"{studio}/api/predictions?project={project}"

    action(studio, project, "retrieve_tasks_predictions", tasks)
    assert call(predictions) == [], "nothing can look yet, and nothing is kept"
    assert call(f"{studio}/api/ml/{ml}/versions") == {"versions": ["lite"]}

    accepted = [accept(studio, task, sample) for task, sample in zip(tasks[:4], IMAGES, strict=False)]
    assert call(f"{backend.url}/is_training")["current"] == "0001", "the fourth one begins a fit"
    assert finished(backend)["error"] is None
    kept = open_dataset(backend.project / "data", format="coco")
    for sample, truth in zip(kept, IMAGES, strict=False):
        assert np.array_equal(sample.image, truth.image)
        assert all(np.array_equal(a.mask, b.mask) for a, b in zip(sample.annotations, truth.annotations, strict=True))

    action(studio, project, "retrieve_tasks_predictions", tasks)
    result = call(predictions)
    assert {one["model_version"] for one in result} == {"live-0001"}
    assert sorted(one["task"] for one in result) == tasks
    full = [one["task"] for one in result if one["result"]]
    assert full, "five steps are few, but proposals see some of these banners"
    for row in (row for one in result for row in one["result"]):
        assert row["value"]["brushlabels"] == ["banner"]
        assert brush.decode(row["value"]["rle"], 192, 256).any()
    assert call(f"{studio}/api/ml/{ml}")["model_version"] == "live-0001"

    call(f"{studio}/api/annotations/{accepted[3]}/", method="DELETE")
    known = {int(file.stem) for file in (backend.project / "tasks").iterdir()}
    assert known == set(tasks[:3])
    action(studio, project, "predictions_to_annotations", full[:1], model_version="live-0001")
    known |= {full[0]}
    assert {int(file.stem) for file in (backend.project / "tasks").iterdir()} == known
    action(studio, project, "delete_tasks", tasks[:1])
    known -= {tasks[0]}
    assert {int(file.stem) for file in (backend.project / "tasks").iterdir()} == known

    call(f"{studio}/api/ml/{ml}/train", {})
    assert call(f"{backend.url}/is_training")["current"] == "0002", "the button of the page"
    state = finished(backend)
    assert state["error"] is None
    assert state["outcome"], "what the new adapter was compared with"
    (fitted,) = artefact.members(backend.project / "fits" / "0002").values()
    replaces = replaces_of({"banner": artefact.read_meta(fitted)})  # with five steps it may be worse
    assert state["model_version"] == ("live-0001" if replaces is False else "live-0002")


def test_a_backend_with_a_token(studio, folder, access):
    """Basic authentication for the model, a header for the webhook that Label Studio adds without one."""
    backend = start(folder, studio, access, "--token", "a-token-of-some-length")
    try:
        project, tasks = opened(studio, "with a token", 1)
        with pytest.raises(Refused, match="401 Client Error: Unauthorized"):
            connected(studio, project, backend)
        login = {"auth_method": "BASIC_AUTH", "basic_auth_user": "anyone", "basic_auth_pass": "a-token-of-some-length"}
        ml = connected(studio, project, backend, **login)
        assert call(f"{studio}/api/ml/{ml}")["readable_state"] == "Connected"
        accept(studio, tasks[0], IMAGES[0])
        assert not list((backend.project / "tasks").iterdir()), "the webhook had nothing to show"
        (hook,) = call(f"{studio}/api/webhooks/?project={project}")
        header = {"headers": {"Authorization": "Bearer a-token-of-some-length"}}
        call(f"{studio}/api/webhooks/{hook['id']}/", header | {"url": hook["url"]}, "PATCH")
        accept(studio, tasks[0], IMAGES[0])
        assert len(list((backend.project / "tasks").iterdir())) == 1
    finally:
        backend.stop()
