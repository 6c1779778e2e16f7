"""The workbench without HTTP: a project, the adapters that answer, the jobs that make and use them."""

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
from samtailor.errors import SamtailorError
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.engine import Engine
from samtailor.serve.refusals import Refused, Taken, Unknown
from samtailor.workbench import gallery
from samtailor.workbench.events import Events
from samtailor.workbench.exports import Exports
from samtailor.workbench.jobs import Job, Jobs
from samtailor.workbench.project import Project
from samtailor.workbench.prompt_service import PromptService
from samtailor.workbench.records import Object
from samtailor.workbench.snapshot import MINIMUM, snapshot

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_log = logging.getLogger("samtailor.workbench")


class Session:
    """See the head of the file.

    Args:
        project: images and objects.
        engine: its root must be `adapters(project.home)`; adapters given at the start are in it.
        device: that jobs compute on; None takes a GPU where there is one.
    """

    def __init__(self, project: Project, engine: Engine, device: str | None = None) -> None:
        self.project, self.engine, self._device = project, engine, device
        self.asking, self.events = PromptService(engine, project), Events()
        self.exports = Exports(project.home / "exports", project)
        self.jobs = Jobs(project.home / "jobs", self._job_changed)
        self._fits = adapters(project.home)
        self._broken: dict[str, str] = {}
        for folder in sorted(self._fits.iterdir()):
            if (folder / artefact.METADATA).is_file():
                self._load(folder.name)

    def close(self) -> None:
        """Stop the job, which saves, and let go of the project."""
        self.events.close()
        self.jobs.close()
        self.asking.close()
        self.project.close()

    def about(self) -> dict[str, Any]:
        """The project as the page shows it."""
        project, counts = self.project, self.project.counts()
        return {
            "name": project.images.folder.name or str(project.images.folder),
            "folder": str(project.images.folder),
            "base": self.engine.base.name,
            "classes": [one.model_dump() for one in project.settings.classes],
            "images": len(project.images),
            "counts": counts,
            "minimum": MINIMUM,
            "adapters": [self._told(slot) for slot in self.engine.adapters.slots()],
            "broken_adapters": [{"name": name, "error": error} for name, error in self._broken.items()],
            "unfinished": self._unfinished(),
            "job": self.jobs.current and self.jobs.current.plain(),
            "formats": registry.names("writers"),
            "methods": registry.names("methods"),
            "version": __version__,
        }

    def publish_project(self) -> None:
        """Tell all pages what the project is now."""
        self.events.publish("project", self.about())

    def publish_image(self, id: str) -> None:
        """Tell all pages how an image stands."""
        self.events.publish("image", self.project.row(id))

    def fit(
        self, name: str | None, classes: Sequence[str] | None, method: str | None, steps: int | None,
        seed: int | None, proposals: bool, proposal_steps: int | None = None,
    ) -> Job:  # fmt: skip
        """Begin a fit on the accepted images, or go on with the one of that name that was stopped.

        Raises:
            Refused: too few images. Taken: a job is in progress, or the name is taken. InputError: a setting.
        """
        self._refuse_second_job()
        name = name or self._free()
        out = self._place(name)
        if name in self._unfinished():
            work = json.loads(self._job_file(name).read_text(encoding="utf-8")) | self._where()
        elif name in [slot.name for slot in self.engine.adapters.slots()] or out.exists():
            raise Taken(f"There is an adapter {name!r} already. Choose another name, or delete it first.")
        else:
            work = (
                snapshot(self.project, classes, method, steps, seed)
                | self._where()
                | {
                    "out": str(out),
                    "proposals": proposals,
                    "proposal_steps": proposal_steps,
                }
            )
        return self.jobs.start("fit", name, work, line=self._said, finished=lambda made: self._fitted(name, made))

    def label(self, adapter: str, threshold: float | None, only: Sequence[str] | None) -> Job:
        """Begin to label all images that no human has been at.

        Raises:
            Refused: the adapter cannot say where to look, or there is nothing to label. Taken: a job is in progress.
            Unknown: the adapter, or an image.
        """
        self._refuse_second_job()
        slot = self.engine.adapters.slot(adapter)
        slot.proposer(threshold)
        if slot.folder is None:
            raise Refused(f"The adapter {adapter!r} came from the hub: give its folder at the start instead.")
        self.project.images.refresh()
        by = f"{slot.meta.sha256[:16]}:{threshold}"
        ids = self.project.waiting(by, only)
        if not ids:
            raise Refused("There is no image left to label: all are accepted, have drafts, or were labelled by it.")
        samples = [{"id": id, "file": self.project.images.get(id).name} for id in ids]
        work = {"samples": samples, "adapter": adapter, "folder": str(slot.folder), "threshold": threshold}
        return self.jobs.start(
            "label", adapter, work | self._where(), line=lambda said: self._said(said, by),
            finished=lambda made: self._labelled(),
        )  # fmt: skip

    def remove(self, name: str) -> None:
        """Delete an adapter that was fitted here, or a fit that was stopped.

        Raises:
            Unknown: there is none. Taken: it is at work, or was given at the start.
        """
        job, out = self.jobs.current, self._place(name)
        if self.jobs.running and job is not None and job.adapter == name:
            raise Taken(f"{name!r} is at work. Stop the job first.")
        slot = next((one for one in self.engine.adapters.slots() if one.name == name), None)
        if slot is not None and (slot.folder is None or slot.folder.resolve() != out):
            raise Taken(f"The adapter {name!r} was given at the start; it does not belong to this project.")
        if slot is None and not out.is_dir():
            raise Unknown(f"There is no adapter {name!r}.")
        if slot is not None:
            self.engine.remove_adapter(name)
        (out / artefact.METADATA).unlink(missing_ok=True)  # a folder without it is no adapter
        shutil.rmtree(out)
        self._job_file(name).unlink(missing_ok=True)
        self._broken.pop(name, None)
        self.publish_project()

    def gallery(self, name: str) -> dict[str, Any]:
        """What the fit of an adapter left to look at; no images where none was held out.

        Raises:
            Unknown: no such adapter, or it was not fitted here.
        """
        file = self._place(name) / gallery.FILE
        self.engine.adapters.slot(name)
        if not file.is_file():
            raise Unknown(f"The adapter {name!r} was not fitted here, or by an earlier version: it has no gallery.")
        return json.loads(file.read_text(encoding="utf-8"))

    def _where(self) -> dict[str, Any]:
        home, images = self.project.home, self.project.images
        return {
            "base": self.engine.base.name, "device": self._device, "images": str(images.folder),
            "cache": str(embeddings(home)), "limits": asdict(images.limits),
        }  # fmt: skip

    def _said(self, said: Mapping[str, Any], by: str = "") -> None:
        """A line of a labelling: an image is done, or cannot be read."""
        if "failed" in said:
            self.project.images.fail(said["failed"], said["error"])
            self.publish_image(said["failed"])
            return
        found = [Object.model_validate(one) for one in said["objects"]]
        try:
            kept = self.project.propose(said["image"], found, said["uncertainty"], by)
        except SamtailorError as error:  # one image must not cost the others
            _log.warning("What was found in %s cannot be kept: %s", said["image"], error)
            return
        if kept:
            self.publish_image(said["image"])

    def _labelled(self) -> dict[str, Any]:
        self.publish_project()
        return {}

    def _fitted(self, name: str, made: Mapping[str, Any]) -> dict[str, Any]:
        if name in [slot.name for slot in self.engine.adapters.slots()]:  # of a fit that was stopped at its end
            self.engine.remove_adapter(name)
        self.engine.adapters.add_below(name, name)
        self._job_file(name).unlink(missing_ok=True)
        self.publish_project()
        figures = made["figures"]
        shown = {"miou": figures.get("held_out_miou"), "start_miou": figures.get("start_miou")}
        shown["alone_miou"] = figures.get("held_out_region_miou")
        return {**shown, "message": made["message"]}

    def _job_changed(self, job: Job) -> None:
        self.events.publish("job", job.plain())

    def _load(self, name: str) -> None:
        try:
            self.engine.adapters.add_below(name, name)
        except SamtailorError as error:
            self._broken[name] = str(error)
            _log.warning("The adapter %s is left out: %s", name, error)

    def _told(self, slot: LoadedAdapter) -> dict[str, Any]:
        known = slot.meta.figures
        figures = {key: known.get(key) for key in ("start_miou", "held_out_miou")}
        sound = all(isinstance(value, float) for value in figures.values())
        figures["held_out_region_miou"] = known.get("held_out_region_miou")
        aliases = self.project.settings.aliases
        return {
            "name": slot.name, "classes": [aliases.get(name, name) for name in slot.meta.classes],
            "method": slot.meta.method, "auto": slot.automatic, "promptless": slot.meta.inference.prompt == "none",
            "figures": figures if sound else None,
            "own": slot.folder is not None and slot.folder.parent == self._fits, "created": slot.meta.created,
        }  # fmt: skip

    def _unfinished(self) -> list[str]:
        """Fits that were stopped or killed: their job file is there. A fit of the same name goes on."""
        busy = self.jobs.current.adapter if self.jobs.running and self.jobs.current else None
        names = (folder.name for folder in sorted(self._fits.iterdir()) if (folder / "config.yaml").is_file())
        return [name for name in names if name != busy and self._job_file(name).is_file()]

    def _job_file(self, name: str) -> Path:
        return self.project.home / "jobs" / f"fit-{name}.json"

    def _refuse_second_job(self) -> None:
        if self.jobs.running:
            raise Taken("A job is in progress. Wait for it, or stop it first.")

    def _place(self, name: str) -> Path:
        """The folder of an adapter's name, below the project's.

        Raises:
            Refused: not a name.
        """
        if not _NAME.fullmatch(name):
            raise Refused("A name has letters, digits, '_' and '-', at most 48, and begins with a letter or digit.")
        path = self._fits / name
        if path.is_symlink():
            raise Refused(f"{name!r} is a link to another place; it is not touched.")
        return path

    def _free(self) -> str:
        taken = {slot.name for slot in self.engine.adapters.slots()} | {f.name for f in self._fits.iterdir()}
        return next(name for i in range(1, len(taken) + 2) if (name := f"fit-{i}") not in taken)


def adapters(home: Path) -> Path:
    """Folder of the adapters that are fitted in a project; made when it is not there."""
    folder = home.resolve() / "adapters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def embeddings(home: Path) -> Path:
    """Folder of a project's embeddings."""
    return home / "cache" / "embeddings"


__all__ = ["Session", "adapters", "embeddings"]
