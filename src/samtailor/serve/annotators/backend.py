"""What Label Studio's protocol asks for, without HTTP: clicks and boxes to masks, pre-labels, fits from what is
accepted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.errors import InputError, SamtailorError
from samtailor.serve import images as reading
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.annotators import label_config, regions
from samtailor.serve.annotators.collection import Collection
from samtailor.serve.annotators.fetch import ImageFetcher
from samtailor.serve.annotators.label_config import LabelConfig
from samtailor.serve.annotators.training import Training
from samtailor.serve.engine import Engine

LIVE = "live"
"""Name of the adapter that is fitted from accepted annotations."""

_log = logging.getLogger("samtailor.serve.annotators")


class Backend:
    """What the protocol asks for, without HTTP.

    Args:
        engine: with the adapters to start with.
        images: where tasks' images come from.
        collection: of accepted annotations.
        training: fits on them; `use` is to be told when one is finished.
        every: begin a fit after so many annotations were taken in; 0: only when asked.
    """

    def __init__(
        self, engine: Engine, images: ImageFetcher, collection: Collection, training: Training, *, every: int = 0
    ) -> None:
        self.engine, self.training, self.collection = engine, training, collection
        self._images, self._every = images, every
        self._configs: dict[str, LabelConfig] = {}
        self._new = 0
        if finished := training.finished():
            use(engine, finished[-1])

    @property
    def version(self) -> str:
        """What predictions are marked with: the newest fit, else the adapters, else the base."""
        slots = {slot.name: slot for slot in self.engine.adapters.slots()}
        if LIVE in slots:
            return f"{LIVE}-{slots[LIVE].folder.name}"
        return "+".join(slots) or self.engine.base.name

    def configure(self, project: object, text: object) -> LabelConfig:
        """Remember a project's labelling configuration; one that is not given is the one remembered."""
        key = str(project).partition(".")[0]
        if text:
            self._configs[key] = label_config.parse(text)
        if key not in self._configs:
            raise InputError("The labelling configuration of this project is not known: set the backend up again.")
        return self._configs[key]

    async def predict(
        self, tasks: Sequence[Mapping[str, Any]], config: LabelConfig, context: Mapping[str, Any] | None
    ) -> list[dict[str, Any] | list]:
        """For a click or box its mask; else for each task what proposals find, an empty list where nobody looked.

        Label Studio keeps an empty prediction as one: the task would count as pre-labelled, and not be asked for again.
        """
        if context and context.get("result"):
            if not tasks:
                raise InputError("A click needs its task.")
            return [await self._clicked(tasks[0], config, context)]
        slot = next((one for one in self._newest_first() if one.automatic), None)
        return [await self._proposed(task, config, slot) for task in tasks]

    async def _clicked(self, task: Any, config: LabelConfig, context: Mapping[str, Any]) -> dict[str, Any]:
        data = await self._data(task, config)
        embedding = await self.engine.embed(data)  # shared by all clicks on the image
        ask, labels = regions.ask(context, (embedding.height, embedding.width))
        name = config.label(labels)
        form = partial(regions.answers, config=config)
        _, (answer,) = await self.engine.segment(data, [ask], self._who(name), form=form)
        return self._prediction(regions.marked(answer.shape, name, answer.score), answer.score)

    async def _proposed(self, task: Any, config: LabelConfig, slot: LoadedAdapter | None) -> dict[str, Any] | list:
        if slot is None:
            return []
        try:
            data = await self._data(task, config)
            form = partial(regions.answers, config=config)
            _, found = await self.engine.segment(data, [], slot.name, automatic=True, form=form)
        except (SamtailorError, OSError) as error:  # one task that cannot be read must not cost the others
            _log.warning("No pre-labels for task %s: %s", task.get("id"), error)
            return []
        marked = [regions.marked(one.shape, config.label([one.label or ""]), one.score) for one in found]
        score = sum(one.score for one in found) / len(found) if found else 0.0
        return self._prediction([row for rows in marked for row in rows], score)

    async def event(self, payload: Mapping[str, Any]) -> None:
        """A webhook: takes accepted annotations in, forgets deleted ones, begins a fit when it is time."""
        action = str(payload.get("action"))
        if action in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED"):
            await self._take_in(payload.get("task"), payload.get("annotation"), payload.get("project"))
        elif action == "ANNOTATIONS_CREATED":  # predictions that were made annotations, many at once
            await self._take_all_in(payload)
        elif action in ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED"):
            for one in [payload.get("annotation"), *(payload.get("annotations") or ())]:
                if one:
                    await asyncio.to_thread(self.collection.remove, annotation=int(one["id"]))
        elif action == "TASKS_DELETED":
            for one in payload.get("tasks") or ():
                await asyncio.to_thread(self.collection.remove, task=int(one["id"]))
        elif action == "START_TRAINING":
            await self.train()
        if self._every and self._new >= self._every and not self.training.running:
            await self.train()

    async def train(self) -> Path | None:
        """Begin a fit on what is collected; None when one is in progress.

        Raises:
            InputError: fewer than two annotated images.
        """
        if self.training.running:
            return None
        if (known := await asyncio.to_thread(self.collection.write_dataset)) < 2:
            raise InputError(f"A fit needs at least 2 annotated images, there are {known}.")
        self._new = 0
        return self.training.start()

    async def _take_all_in(self, payload: Mapping[str, Any]) -> None:
        tasks = {int(task["id"]): task for task in payload.get("task") or ()}
        for annotation in payload.get("annotation") or ():
            try:
                await self._take_in(tasks.get(annotation.get("task")), annotation, payload.get("project"))
            except (SamtailorError, OSError) as error:  # one that cannot be read must not cost the others
                _log.warning("Annotation %s is not taken in: %s", annotation.get("id"), error)

    async def _take_in(self, task: Any, annotation: Any, project: Any) -> None:
        task, annotation, project = task or {}, annotation or {}, project or {}
        if "id" not in task or "id" not in annotation:
            raise InputError("An accepted annotation has an id, and so has its task.")
        number, accepted = int(task["id"]), annotation.get("result") or []
        config = self.configure(project.get("id"), project.get("label_config"))
        if annotation.get("was_cancelled") or not accepted:
            await asyncio.to_thread(self.collection.remove, task=number)
            return
        data = await self._data(task, config)
        self._new += await asyncio.to_thread(self._keep, number, int(annotation["id"]), data, accepted)

    def _keep(self, task: int, annotation: int, data: bytes, accepted: Sequence[Mapping[str, Any]]) -> bool:
        size = reading.read(data, self.engine.limits).shape[:2]
        found = ((regions.label(one), regions.mask(one, size)) for one in accepted if isinstance(one, Mapping))
        objects = [(name, mask) for name, mask in found if name and mask is not None and mask.any()]
        return self.collection.put(task, annotation, data, size, objects)

    async def _data(self, task: Any, config: LabelConfig) -> bytes:
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            raise InputError("A task has an id and data.")
        return await asyncio.to_thread(self._images.get, task["data"].get(config.value))

    def _newest_first(self) -> list[LoadedAdapter]:
        return sorted(self.engine.adapters.slots(), key=lambda slot: slot.name != LIVE)

    def _who(self, label: str) -> str | None:
        """The adapter of a label: of that name, or fitted to that class, the live one first; else the only one."""
        slots = self._newest_first()
        for slot in slots:
            if slot.name == label or (slot.meta is not None and label in slot.meta.classes):
                return slot.name
        return slots[0].name if len(slots) == 1 else None

    def _prediction(self, result: list[dict[str, Any]], score: float) -> dict[str, Any]:
        return {"result": result, "score": score, "model_version": self.version}


def use(engine: Engine, folder: Path) -> None:
    """Let a finished fit answer in place of the one before; questions in progress are not disturbed."""
    engine.adapters.add(LIVE, folder, replace=True)


__all__ = ["LIVE", "Backend", "use"]
