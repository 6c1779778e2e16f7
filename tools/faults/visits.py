"""Requests to the services while the machine fails: what a user does who sees a service run."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from faults.machine import Place

_PATIENCE = 600.0
"""Longest time of a service from its start to its end, seconds; a busy machine needs minutes."""


@dataclass(frozen=True)
class Reply:
    """Reply to a request: its status, and the JSON that it contains (None: something else)."""

    request: str
    status: int
    body: Any

    @property
    def message(self) -> str:
        """The error message of a refused request, or an empty text."""
        error = self.body.get("error") or self.body.get("detail") if isinstance(self.body, dict) else None
        return error if isinstance(error, str) and not error.startswith("Internal error") else ""


class Client:
    """Sends requests to a service on this machine."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def send(self, method: str, path: str, body: Any = None) -> Reply:
        """Send JSON, or bytes; returns the reply, also to a refused request."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                status, content = response.status, response.read()
        except HTTPError as error:
            with error:
                status, content = error.code, error.read()
        try:
            return Reply(f"{method} {path}", status, json.loads(content))
        except ValueError:
            return Reply(f"{method} {path}", status, None)


Visit = Callable[[Client, Place], Iterator[Reply]]


def _objects() -> list[dict[str, Any]]:
    import numpy as np

    from samtailor.masks.rle import encode, to_json

    mask = np.zeros((48, 80), bool)
    mask[10:20, 10:30] = True
    return [{"id": "1", "class": "disc", "rle": to_json(encode(mask))}]


def visit_serve(client: Client, place: Place) -> Iterator[Reply]:
    """Send an image, whose embedding is kept in the folder of the result; click with the adapter."""
    image = _image_bytes(place)
    yield (sent := client.send("POST", "/embeddings", image))
    if sent.status == 201:
        prompt = {"points": [[20, 20]], "labels": [1]}
        yield client.send("POST", "/segment", {"embedding": sent.body["id"], "adapter": "disc", "prompts": [prompt]})


def visit_ui(client: Client, place: Place) -> Iterator[Reply]:
    """Annotate an image and add a class; what the page shows must be what was saved."""
    rows = client.send("GET", "/api/images")
    yield rows
    path = f"/api/images/{rows.body[0]['id']}"
    yield client.send("GET", f"{path}/image")
    yield client.send("POST", f"{path}/segment", {"points": [[20, 20]], "labels": [1]})
    before = client.send("GET", f"{path}/annotations")
    yield before
    body = {"revision": before.body["revision"], "state": "accepted", "objects": _objects()}
    yield (saved := client.send("PUT", f"{path}/annotations", body))
    after = client.send("GET", f"{path}/annotations").body
    if (len(after["objects"]) == 1) != (saved.status == 200):
        raise AssertionError(f"status {saved.status}, and the page shows {len(after['objects'])} objects")
    classes = client.send("GET", "/api/project").body["classes"]
    more = {"classes": [*classes, {"name": "more", "color": "#123456"}]}
    yield (added := client.send("PUT", "/api/classes", more))
    names = [one["name"] for one in client.send("GET", "/api/project").body["classes"]]
    if ("more" in names) != (added.status == 200):
        raise AssertionError(f"status {added.status}, and the classes are {names}")


def visit_label_studio(client: Client, place: Place) -> Iterator[Reply]:
    """Accept an annotation, and ask for pre-labels."""
    config = '<View><Image name="image" value="$image"/><PolygonLabels name="tag" toName="image"><Label value="disc"/>'
    config += "</PolygonLabels></View>"
    project = {"id": 1, "title": "discs", "label_config": config}
    task = {"id": 1, "data": {"image": "/data/local-files/?d=images/p000.png"}}
    value = {"points": [[10, 10], [50, 10], [50, 50]], "closed": True, "polygonlabels": ["disc"]}
    region = {"id": "a", "from_name": "tag", "to_name": "image", "type": "polygonlabels", "value": value,
              "original_width": 80, "original_height": 48, "image_rotation": 0}  # fmt: skip
    annotation = {"id": 5, "result": [region], "was_cancelled": False}
    event = {"action": "ANNOTATION_CREATED", "annotation": annotation, "task": task, "project": project}
    yield client.send("POST", "/webhook", event)
    yield client.send("POST", "/predict", {"tasks": [task], "project": "1.0", "label_config": config})
    yield client.send("GET", "/versions")


def _image_bytes(place: Place) -> bytes:
    """The image as the client has it: the fault of the service's disk is not its own."""
    return (Path(place.inputs) / "data/images/p000.png").read_bytes()


def free_port() -> int:
    """A port of this machine that no one listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(eq=False)  # threads are hashed
class Visitor(threading.Thread):
    """Waits for the port of a process, sends the requests and stops the process with Ctrl-C.

    Args:
        process: id of the process.
        port: that it opens.
        visit: the requests.
        place: folders of the command.
    """

    process: int
    port: int
    visit: Visit
    place: Place
    replies: list[Reply] = field(default_factory=list)
    wrong: str = ""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()

    def run(self) -> None:
        """Send the requests once the port is open, until `ended` is set."""
        start = time.monotonic()
        while not self.ended.wait(0.1):
            if time.monotonic() - start > _PATIENCE:
                self.wrong = f"the port was not open after {_PATIENCE:g} s"
                os.kill(self.process, signal.SIGKILL)
                return
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
        if self.ended.is_set():
            return
        try:
            self.replies.extend(self.visit(Client(self.port), self.place))
        except (OSError, HTTPException, AssertionError, TypeError, LookupError) as error:
            self.wrong = f"{type(error).__name__}: {error}"
        if not self.ended.is_set():
            os.kill(self.process, signal.SIGINT)
            if not self.ended.wait(_PATIENCE):
                self.wrong = "the service did not stop on Ctrl-C"
                os.kill(self.process, signal.SIGKILL)


__all__ = ["Client", "Reply", "Visit", "Visitor", "free_port", "visit_label_studio", "visit_serve", "visit_ui"]
