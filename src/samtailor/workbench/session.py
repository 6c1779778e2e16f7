"""The workbench without HTTP: a project, its adapters and its jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtailor import __version__, registry
from samtailor.data.writers import writer_options
from samtailor.errors import SamtailorError
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.engine import Engine
from samtailor.serve.refusals import Refused, Taken
from samtailor.workbench.adapter_info import adapter_meta, adapter_to_json, scores_of
from samtailor.workbench.base_choice import BaseChoice
from samtailor.workbench.bulk import BulkAccept
from samtailor.workbench.events import Events
from samtailor.workbench.exports import Exports
from samtailor.workbench.finding import Finding
from samtailor.workbench.fitted_adapters import FittedAdapters
from samtailor.workbench.imports import Imports
from samtailor.workbench.jobs import Job, Jobs, Message
from samtailor.workbench.project import Project
from samtailor.workbench.prompt_service import PromptService
from samtailor.workbench.records import Object
from samtailor.workbench.snapshot import GOOD_IMAGES, MIN_IMAGES, image_row, snapshot

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
        self.finding = Finding(project, self.jobs, self._environment, self.publish_image, self.publish_project)
        self._fitted = FittedAdapters(adapters(project.home), project.home / "jobs", engine)

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
            "good_images": GOOD_IMAGES,
            "adapters": [self._to_json(loaded) for loaded in self.engine.adapters.all()],
            "broken_adapters": [{"name": name, "error": error} for name, error in self._fitted.broken.items()],
            "unfinished": self._fitted.unfinished(self._busy()),
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
        seed: int | None, proposals: bool, proposal_steps: int | None = None, budget: str | None = None,
    ) -> Job:  # fmt: skip
        """Start a fit on the accepted images, or continue the stopped fit of that name with its earlier settings.

        Args:
            name: name of the adapter; None: the next free "fit-N".
            classes: None: all classes of the accepted images.
            method, steps, seed: None: the default of `samtailor fit`.
            proposals: also fit proposals for automatic mode.
            proposal_steps: None: the default of `samtailor propose-fit`.
            budget: time of a contest, such as "2m"; None: two minutes, or a minute for each class if that is more.

        Raises:
            Refused: too few accepted images. Taken: a job is in progress, or the name is taken. InputError: an invalid
                setting.
        """
        self.jobs.check_free()
        name = name or self._fitted.next_name()
        if name in self._fitted.unfinished(self._busy()):
            work, out = self._fitted.earlier_work(name), self._fitted.folder(name)
        else:
            out = self._fitted.new_folder(name)
            work = snapshot(self.project, classes, method, steps, seed, budget)
            work |= {"proposals": proposals, "proposal_steps": proposal_steps}
        work |= self._environment() | {"out": str(out), "present": self._fitted.present()}
        return self.jobs.start(
            "fit", name, work,
            on_message=lambda message: self._use_early(name), on_done=lambda result: self._use_fit(name, result),
        )  # fmt: skip

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
        loaded.sources(threshold)
        if loaded.folder is None:
            raise Refused(f"The adapter {adapter!r} was loaded from the hub. Download it and pass its folder instead.")
        self.project.images.refresh()
        by = f"{adapter_meta(loaded).sha256[:16]}:{threshold}"
        ids = self.project.waiting(by, only)
        if not ids:
            raise Refused(
                "There is no image left to label: all are accepted, have a draft, or were labeled by this adapter."
            )
        samples = [image_row(self.project.images.get(id)) for id in ids]
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
        if self._busy() == name:
            raise Taken(f"The adapter {name!r} is in use by a job. Stop the job first.")
        self._fitted.remove(name)
        self.publish_project()

    def gallery(self, name: str) -> dict[str, Any]:
        """Held-out objects before and after the fit of an adapter, see `gallery`; empty if no image was held out.

        Raises:
            Unknown: no such adapter, or it was not fitted in this project.
        """
        return self._fitted.gallery(name)

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

    def _use_early(self, name: str) -> None:
        """Load an adapter that a fit has written before its end."""
        try:
            self._fitted.load(name)
        except SamtailorError as error:  # the fit goes on, and its end is reported
            _log.warning("The first adapter of %s cannot be used yet: %s", name, error)
        self.publish_project()

    def _use_fit(self, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Load the new adapter. Returns the fields of the finished job."""
        self._fitted.finish(name)
        self.publish_project()
        return {
            **scores_of(result["figures"]),
            "held_out_images": result["held_out_images"],
            "held_out_objects": result["held_out_objects"],
            "comparison": tuple(result["comparison"]),
            "replaces": result["replaces"],
            "next_images": tuple(result["next_images"]),
            "message": result["message"],
        }

    def _job_changed(self, job: Job) -> None:
        self.events.publish("job", job.to_json())

    def _to_json(self, loaded: LoadedAdapter) -> dict[str, Any]:
        return adapter_to_json(loaded, self.project.settings.aliases, deletable=self._fitted.belongs(loaded))

    def _busy(self) -> str | None:
        """Name of the adapter that a running job fits or labels with."""
        job = self.jobs.current
        return job.adapter if self.jobs.running and job is not None and job.kind in ("fit", "label") else None


def adapters(home: Path) -> Path:
    """Folder of the adapters fitted in a project; created if it does not exist."""
    folder = home.resolve() / "adapters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def embeddings(home: Path) -> Path:
    """Folder of a project's embeddings."""
    return home / "cache" / "embeddings"


__all__ = ["Session", "adapters", "embeddings"]
