"""The workbench without HTTP: a project, its adapters and its jobs."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtailor import __version__, artefact, registry
from samtailor.artefact import AdapterMeta
from samtailor.data.writers import writer_options
from samtailor.errors import InputError, SamtailorError
from samtailor.fitting.gate import MIN_OBJECTS, gate_of
from samtailor.fitting.gate_words import sentences
from samtailor.limits import parse_json, read_bytes
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.engine import Engine
from samtailor.serve.refusals import Refused, Taken, Unknown
from samtailor.workbench import gallery
from samtailor.workbench.base_choice import BaseChoice
from samtailor.workbench.bulk import BulkAccept
from samtailor.workbench.events import Events
from samtailor.workbench.exports import Exports
from samtailor.workbench.imports import Imports
from samtailor.workbench.jobs import Job, Jobs, Message
from samtailor.workbench.project import Project
from samtailor.workbench.prompt_service import PromptService
from samtailor.workbench.records import Object
from samtailor.workbench.snapshot import MIN_IMAGES, snapshot

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_log = logging.getLogger("samtailor.workbench")


class Session:
    """An open project.

    Args:
        project: images and objects.
        engine: engine with the adapters of the command line; its root must be `adapters(project.home)`.
        device: device of the jobs; None uses a GPU if there is one.
    """

    def __init__(self, project: Project, engine: Engine, device: str | None = None) -> None:
        self.project, self.engine, self._device = project, engine, device
        self.prompt_service, self.events = PromptService(engine, project), Events()
        self.bulk = BulkAccept(project)
        self.exports = Exports(project.home / "exports", project)
        self.jobs = Jobs(project.home / "jobs", self._job_changed)
        self.bases = BaseChoice(project, self.jobs, engine.base.name, device, self.publish_project)
        self.imports = Imports(project, self.jobs, self.publish_project, self.publish_image)
        self._fits = adapters(project.home)
        self._broken: dict[str, str] = {}
        for folder in sorted(self._fits.iterdir()):
            if (folder / artefact.METADATA).is_file():
                self._load(folder.name)

    def close(self) -> None:
        """Stop the running job after it has saved, and release the project."""
        self.events.close()
        self.jobs.close()
        self.prompt_service.close()
        self.project.close()

    def about(self) -> dict[str, Any]:
        """The project as JSON for the page."""
        project, counts = self.project, self.project.counts()
        return {
            "name": project.images.folder.name or str(project.images.folder),
            "folder": str(project.images.folder),
            "base": self.engine.base.name,
            "next_base": self.bases.next,
            "classes": [class_.model_dump() for class_ in project.settings.classes],
            "images": len(project.images),
            "counts": counts,
            "min_images": MIN_IMAGES,
            "adapters": [self._adapter_to_json(loaded) for loaded in self.engine.adapters.all()],
            "broken_adapters": [{"name": name, "error": error} for name, error in self._broken.items()],
            "unfinished": self._unfinished(),
            "job": self.jobs.current and self.jobs.current.to_json(),
            "formats": registry.names("writers"),
            "rle_formats": [name for name in registry.names("writers") if "rle" in writer_options(name)],
            "layouts": registry.names("formats"),
            "class_objects": project.class_objects(),
            "hidden": len(project.settings.hidden),
            "methods": registry.names("methods"),
            "version": __version__,
        }

    def publish_project(self) -> None:
        """Send the project to all open pages."""
        self.events.publish("project", self.about())

    def publish_image(self, id: str) -> None:
        """Send the state of an image to all open pages."""
        self.events.publish("image", self.project.row(id))

    def fit(
        self, name: str | None, classes: Sequence[str] | None, method: str | None, steps: int | None,
        seed: int | None, proposals: bool, proposal_steps: int | None = None,
    ) -> Job:  # fmt: skip
        """Start a fit on the accepted images, or continue the stopped fit of that name with its earlier settings.

        Args:
            name: name of the adapter; None: the next free "fit-N".
            classes: None: all classes of the accepted images.
            method, steps, seed: None: the default of `samtailor fit`.
            proposals: also fit proposals for automatic mode.
            proposal_steps: None: the default of `samtailor propose-fit`.

        Raises:
            Refused: too few accepted images. Taken: a job is in progress, or the name is taken. InputError: an invalid
                setting.
        """
        self.jobs.check_free()
        name = name or self._next_name()
        out = self._folder(name)
        if name in self._unfinished():
            # the file may come with a project of someone else: it does not decide where the fit is written
            work = parse_json(read_bytes(self._job_file(name), "annotation_bytes"), str(self._job_file(name)))
            if not isinstance(work, dict):
                raise InputError(f"{self._job_file(name)} is damaged. Delete the fit {name!r}.")
            work |= self._environment() | {"out": str(out), "present": self._present()}
        elif name in self._adapter_names() or out.exists():
            raise Taken(f"There is already an adapter named {name!r}. Choose another name, or delete it first.")
        else:
            work = snapshot(self.project, classes, method, steps, seed) | self._environment()
            work |= {"out": str(out), "proposals": proposals, "proposal_steps": proposal_steps}
            work |= {"present": self._present()}
        return self.jobs.start(
            "fit", name, work, on_message=self._save_objects, on_done=lambda result: self._fitted(name, result)
        )

    def label(self, adapter: str, threshold: float | None, only: Sequence[str] | None) -> Job:
        """Start labeling the images without work of the user.

        Args:
            adapter: name of the adapter.
            threshold: lowest score of a proposal; None: the default of each class.
            only: ids of images; None: all.

        Raises:
            Refused: the adapter has no proposals, or there is no image to label. Taken: a job is in progress.
            Unknown: no such adapter or image.
        """
        self.jobs.check_free()
        loaded = self.engine.adapters.get(adapter)
        loaded.source(threshold)
        if loaded.folder is None:
            raise Refused(f"The adapter {adapter!r} was loaded from the hub. Download it and pass its folder instead.")
        self.project.images.refresh()
        by = f"{adapter_meta(loaded).sha256[:16]}:{threshold}"
        ids = self.project.waiting(by, only)
        if not ids:
            raise Refused(
                "There is no image left to label: all are accepted, have a draft, or were labeled by this adapter."
            )
        samples = [{"id": id, "file": self.project.images.get(id).name} for id in ids]
        work = {"samples": samples, "adapter": adapter, "folder": str(loaded.folder), "threshold": threshold}
        return self.jobs.start(
            "label", adapter, work | self._environment(),
            on_message=lambda message: self._save_objects(message, by), on_done=lambda result: self._labeled(),
        )  # fmt: skip

    def remove(self, name: str) -> None:
        """Delete an adapter of the project, or a stopped fit.

        Raises:
            Unknown: no such adapter. Taken: a job uses it, or it does not belong to the project.
        """
        job, out = self.jobs.current, self._folder(name)
        if self.jobs.running and job is not None and job.adapter == name:
            raise Taken(f"The adapter {name!r} is in use by a job. Stop the job first.")
        loaded = next((loaded for loaded in self.engine.adapters.all() if loaded.name == name), None)
        if loaded is not None and (loaded.folder is None or loaded.folder.resolve() != out):
            raise Taken(f"The adapter {name!r} was given on the command line; it does not belong to this project.")
        if loaded is None and not out.is_dir():
            raise Unknown(f"There is no adapter {name!r}.")
        if loaded is not None:
            self.engine.remove_adapter(name)
        (out / artefact.METADATA).unlink(missing_ok=True)  # without it the folder no longer counts as an adapter
        shutil.rmtree(out)
        self._job_file(name).unlink(missing_ok=True)
        self._broken.pop(name, None)
        self.publish_project()

    def gallery(self, name: str) -> dict[str, Any]:
        """Held-out objects before and after the fit of an adapter, see `gallery`; empty if no image was held out.

        Raises:
            Unknown: no such adapter, or it was not fitted in this project.
        """
        file = self._folder(name) / gallery.FILE
        self.engine.adapters.get(name)
        if not file.is_file():
            raise Unknown(f"The adapter {name!r} has no held-out objects to show: it was not fitted in this project.")
        return json.loads(file.read_text(encoding="utf-8"))

    def _environment(self) -> dict[str, Any]:
        """Part of a job's input that may change between two runs."""
        home, images = self.project.home, self.project.images
        return {
            "base": self.engine.base.name, "device": self._device, "images": str(images.folder),
            "cache": str(embeddings(home)), "limits": asdict(images.limits),
        }  # fmt: skip

    def _save_objects(self, message: Message, by: str = "") -> None:
        """Handle a message of a labeling job: the objects of an image, or why it cannot be read."""
        if "failed" in message:
            self.project.images.fail(message["failed"], message["error"])
            self.publish_image(message["failed"])
            return
        objects = [Object.model_validate(row) for row in message["objects"]]
        try:
            saved = self.project.propose(message["image"], objects, message["uncertainty"], by)
        except SamtailorError as error:  # the other images go on
            _log.warning("The objects of image %s cannot be saved: %s", message["image"], error)
            return
        if saved:
            self.publish_image(message["image"])

    def _labeled(self) -> dict[str, Any]:
        self.publish_project()
        return {}

    def _fitted(self, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Load the new adapter. Returns the fields of the finished job."""
        if name in self._adapter_names():  # of an earlier run of the fit that was stopped at its end
            self.engine.remove_adapter(name)
        self.engine.adapters.add_below(name, name)
        self._job_file(name).unlink(missing_ok=True)
        self.publish_project()
        return {
            **_scores(result["figures"]),
            "held_out_images": result["held_out_images"],
            "held_out_objects": result["held_out_objects"],
            "comparison": tuple(result["comparison"]),
            "replaces": result["replaces"],
            "message": result["message"],
        }

    def _present(self) -> str | None:
        """Folder of the adapter of this project that a new one is compared with: the newest that is not worse.

        None without one.
        """
        fitted = [
            one for one in self.engine.adapters.all() if one.folder is not None and one.folder.parent == self._fits
        ]
        gates = {id(one): gate_of(adapter_meta(one).figures) for one in fitted}
        used = [one for one in fitted if (gate := gates[id(one)]) is None or gate.replaces is not False]
        newest = max(used, key=lambda one: adapter_meta(one).created, default=None)
        return None if newest is None else str(newest.folder)

    def _job_changed(self, job: Job) -> None:
        self.events.publish("job", job.to_json())

    def _load(self, name: str) -> None:
        try:
            self.engine.adapters.add_below(name, name)
        except SamtailorError as error:
            self._broken[name] = str(error)
            _log.warning("The adapter %s cannot be loaded: %s", name, error)

    def _adapter_to_json(self, loaded: LoadedAdapter) -> dict[str, Any]:
        meta, aliases = adapter_meta(loaded), self.project.settings.aliases
        figures, scores = meta.figures, _scores(meta.figures)
        complete = isinstance(scores["miou"], float) and isinstance(scores["start_miou"], float)
        named = {"held_out_miou": "miou", "start_miou": "start_miou", "held_out_region_miou": "automatic_miou"}
        gate = gate_of(figures)
        counts = {key: figures.get(key) for key in ("held_out_images", "held_out_masks")}
        return {
            "name": loaded.name, "classes": [aliases.get(name, name) for name in meta.classes],
            "method": meta.method, "auto": loaded.automatic, "promptless": meta.inference.prompt == "none",
            "figures": {key: scores[name] for key, name in named.items()} if complete else None,
            "interval": scores["interval"], **counts,
            "comparison": [] if gate is None else sentences(gate, meta.inference.strength),
            "replaces": None if gate is None else gate.replaces,
            "deletable": loaded.folder is not None and loaded.folder.parent == self._fits, "created": meta.created,
        }  # fmt: skip

    def _adapter_names(self) -> list[str]:
        return [loaded.name for loaded in self.engine.adapters.all() if loaded.name is not None]

    def _unfinished(self) -> list[str]:
        """Names of fits that were stopped or killed; their job file still exists. They can be continued."""
        busy = self.jobs.current.adapter if self.jobs.running and self.jobs.current else None
        names = (folder.name for folder in sorted(self._fits.iterdir()) if (folder / "config.yaml").is_file())
        return [name for name in names if name != busy and self._job_file(name).is_file()]

    def _job_file(self, name: str) -> Path:
        return self.project.home / "jobs" / f"fit-{name}.json"

    def _folder(self, name: str) -> Path:
        """Folder of an adapter in the project.

        Raises:
            Refused: an invalid name, or the folder is a link.
        """
        if not _NAME.fullmatch(name):
            raise Refused(
                "An adapter name has 1 to 48 letters, digits, '_' and '-', and starts with a letter or digit."
            )
        path = self._fits / name
        if path.is_symlink():
            raise Refused(f"{name!r} is a link to another folder, and is left untouched.")
        return path

    def _next_name(self) -> str:
        taken = {*self._adapter_names(), *(folder.name for folder in self._fits.iterdir())}
        return next(name for i in range(1, len(taken) + 2) if (name := f"fit-{i}") not in taken)


def _scores(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of an adapter in [0, 1] with the 95 % interval of clicks; None with fewer than 5 held-out objects."""
    names = {"miou": "held_out_miou", "start_miou": "start_miou", "automatic_miou": "held_out_region_miou"}
    names["interval"] = "held_out_interval"
    if figures.get("held_out_masks", MIN_OBJECTS) < MIN_OBJECTS:
        return dict.fromkeys(names)
    return {name: figures.get(figure) for name, figure in names.items()}


def adapter_meta(loaded: LoadedAdapter) -> AdapterMeta:
    """Metadata of an adapter. Raises InputError for the base model, which has none."""
    if loaded.meta is None:
        raise InputError("The base model is not an adapter.")
    return loaded.meta


def adapters(home: Path) -> Path:
    """Folder of the adapters fitted in a project; created if it does not exist."""
    folder = home.resolve() / "adapters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def embeddings(home: Path) -> Path:
    """Folder of a project's embeddings."""
    return home / "cache" / "embeddings"


__all__ = ["Session", "adapter_meta", "adapters", "embeddings"]
