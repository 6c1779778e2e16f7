"""Label Studio's machine-learning backend without HTTP: masks for clicks and boxes, pre-labels, and fits."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.cache.bounded import BoundedCache
from samtailor.errors import InputError, SamtailorError
from samtailor.limits import timed
from samtailor.serve import images as reading
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.annotators import label_config, regions
from samtailor.serve.annotators.collection import Collection
from samtailor.serve.annotators.fetch import ImageFetcher
from samtailor.serve.annotators.label_config import LabelConfig
from samtailor.serve.annotators.training import Training
from samtailor.serve.engine import Engine

_MAX_PROJECTS = 256  # whose labeling configuration is kept; Label Studio sends it again with each prediction
LIVE = "live"
"""Name of the adapter that is fitted to accepted annotations."""

_log = logging.getLogger("samtailor.serve.annotators")


class Backend:
    """See the module docstring.

    Args:
        engine: with the initial adapters.
        images: reads the images of tasks.
        collection: accepted annotations.
        training: fits adapters to them and calls `use` with a finished one.
        every: number of new annotations after which a fit is started; 0: only on request.

    Attributes:
        not_saved: tasks whose newest annotation could not be saved, and why.
        skipped: regions without area of each saved task (keypoints, choices, empty masks), by reason.
        not_labeled: number of predicted objects of classes that the project has no label for, by class.
    """

    def __init__(
        self, engine: Engine, images: ImageFetcher, collection: Collection, training: Training, *, every: int = 0
    ) -> None:
        self.engine, self.training, self.collection = engine, training, collection
        self._images, self._every = images, every
        self._configs: BoundedCache[str, LabelConfig] = BoundedCache(_MAX_PROJECTS, thread_safe=True)
        self._new = 0
        self.not_saved: dict[int, str] = {}
        self.skipped: dict[int, Counter[str]] = {}
        self.not_labeled: Counter[str] = Counter()
        if (folder := training.in_use()) is not None:
            use(engine, folder)

    @property
    def version(self) -> str:
        """Model version of predictions: the newest fit, else the adapters, else the base."""
        adapters = self.engine.adapters.all()
        live = next((one.folder for one in adapters if one.name == LIVE), None)
        if live is not None:
            return f"{LIVE}-{live.name}"
        return "+".join(str(one.name) for one in adapters) or self.engine.base.name

    def configure(self, project: object, text: object) -> LabelConfig:
        """Parse and keep the labeling configuration of a project.

        Args:
            project: its id.
            text: XML; empty: the configuration that was given before.

        Raises:
            InputError: an invalid configuration, or none was given yet.
        """
        key = str(project).partition(".")[0][:200]
        if text:
            return self._configs.put(key, label_config.parse(text))
        if (known := self._configs.get(key)) is None:
            raise InputError("This project has no labeling configuration: set up the backend again.")
        return known

    async def predict(
        self, tasks: Sequence[Mapping[str, Any]], config: LabelConfig, context: Mapping[str, Any] | None
    ) -> list[dict[str, Any] | list[Any]]:
        """The mask of a click or box; without one, the pre-labels of each task.

        The result of a task is an empty list if no adapter supports automatic mode or its image cannot be read. Label
        Studio stores an empty prediction as a prediction: the task would count as pre-labeled.

        Raises:
            InputError: a click without its task, or an invalid prompt.
        """
        if context and context.get("result"):
            if not tasks:
                raise InputError("A click needs a task.")
            return [await self._clicked(tasks[0], config, context)]
        adapter = next((one for one in self._newest_first() if one.automatic), None)
        return [await self._pre_labels(task, config, adapter) for task in tasks]

    async def _clicked(self, task: Any, config: LabelConfig, context: Mapping[str, Any]) -> dict[str, Any]:
        data = await self._data(task, config)
        embedding = await self.engine.embed(data)  # shared by all clicks on the image
        prompt, labels = regions.prompt(context, (embedding.height, embedding.width))
        name = config.label(labels)
        form = partial(regions.from_mask, config=config)
        adapter = self._adapter_of(name)
        _, (predicted,) = await self.engine.segment(data, [replace(prompt, label=name)], adapter, form=form)
        score = predicted.score if predicted.area else 0.0  # an empty mask is no object
        by_base = adapter is None or self.engine.adapters.get(adapter).of_class(name) is None
        version = self.engine.base.name if by_base else self.version
        return {**self._prediction(regions.labeled(predicted.shape, name, score), score), "model_version": version}

    async def _pre_labels(
        self, task: Any, config: LabelConfig, adapter: LoadedAdapter | None
    ) -> dict[str, Any] | list[Any]:
        if adapter is None:
            return []
        try:
            data = await self._data(task, config)
            form = partial(regions.from_mask, config=config)
            _, predicted = await self.engine.segment(data, [], adapter.name, automatic=True, form=form)
        except (SamtailorError, OSError) as error:  # the other tasks are still predicted
            _log.warning("No pre-labels for task %s: %s", task.get("id"), error)
            return []
        named = [(_label_of(one.label, adapter), one) for one in predicted]
        known = [(name, one) for name, one in named if name in config.labels]
        if others := Counter(name for name, _ in named if name not in config.labels):
            self.not_labeled.update(others)
            _log.warning("Task %s: no label of the project for %s.", task.get("id"), ", ".join(others))
        labeled = [regions.labeled(one.shape, name, one.score) for name, one in known]
        score = sum(one.score for _, one in known) / len(known) if known else 0.0
        return self._prediction([row for rows in labeled for row in rows], score)

    async def event(self, payload: Mapping[str, Any]) -> None:
        """Handle a webhook: save or delete annotations, and start a fit after `every` new ones."""
        action = str(payload.get("action"))
        if action in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED"):
            await self._save(payload.get("task"), payload.get("annotation"), payload.get("project"))
        elif action == "ANNOTATIONS_CREATED":  # predictions that were accepted, many at once
            await self._save_all(payload)
        elif action in ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED"):
            for one in [payload.get("annotation"), *(payload.get("annotations") or ())]:
                if one:
                    await asyncio.to_thread(self.collection.remove, annotation=_id(one["id"]))
        elif action == "TASKS_DELETED":
            for one in payload.get("tasks") or ():
                self._forget(_id(one["id"]))
                await asyncio.to_thread(self.collection.remove, task=_id(one["id"]))
        elif action == "START_TRAINING":
            await self.train()
        if self._every and self._new >= self._every and not self.training.running:
            await self.train()

    async def train(self) -> Path | None:
        """Start a fit to the collected annotations and return its folder; None if one is running.

        Raises:
            InputError: fewer than two annotated images.
        """
        if self.training.running:
            return None
        if (count := await asyncio.to_thread(self.collection.write_dataset)) < 2:
            raise InputError(f"A fit needs at least 2 annotated images, there are {count}.")
        self._new = 0
        return self.training.start()

    async def _save_all(self, payload: Mapping[str, Any]) -> None:
        tasks = {_id(task["id"]): task for task in payload.get("task") or ()}
        for annotation in payload.get("annotation") or ():
            try:
                await self._save(tasks.get(annotation.get("task")), annotation, payload.get("project"))
            except (SamtailorError, OSError) as error:  # the other annotations are still saved
                _log.warning("Annotation %s was not saved: %s", annotation.get("id"), error)

    async def _save(self, task: Any, annotation: Any, project: Any) -> None:
        task, annotation, project = task or {}, annotation or {}, project or {}
        if "id" not in task or "id" not in annotation:
            raise InputError("An annotation and its task need ids.")
        number, accepted = _id(task["id"]), annotation.get("result") or []
        config = self.configure(project.get("id"), project.get("label_config"))
        if annotation.get("was_cancelled") or not accepted:
            self._forget(number)
            await asyncio.to_thread(self.collection.remove, task=number)
            return
        data = await self._data(task, config)
        self._new += await asyncio.to_thread(self._keep, number, _id(annotation["id"]), data, accepted)

    def _keep(self, task: int, annotation: int, data: bytes, accepted: Sequence[Mapping[str, Any]]) -> bool:
        size = reading.read(data, self.engine.limits).shape[:2]
        try:
            with timed(f"Annotation {annotation}"):
                objects, skipped = regions.objects(accepted, size)
        except SamtailorError as error:  # without the region, its object would be background
            self.collection.remove(task=task)
            self.not_saved[task] = str(error)
            _log.warning("The annotation of task %s is not saved: %s", task, error)
            raise
        self.not_saved.pop(task, None)
        self.skipped[task] = skipped
        return self.collection.put(task, annotation, data, size, objects)

    def _forget(self, task: int) -> None:
        """Drop the account of a task whose annotation is gone."""
        self.not_saved.pop(task, None)
        self.skipped.pop(task, None)

    async def _data(self, task: Any, config: LabelConfig) -> bytes:
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            raise InputError("A task needs an id and data.")
        return await asyncio.to_thread(self._images.get, task["data"].get(config.value))

    def _newest_first(self) -> list[LoadedAdapter]:
        return sorted(self.engine.adapters.all(), key=lambda adapter: adapter.name != LIVE)

    def _adapter_of(self, label: str) -> str | None:
        """The adapter of a label: with that name or class, the live one first; else the base model.

        An adapter of other classes never answers. One without a list of classes was fitted to all of them.
        """
        adapters = self._newest_first()
        for adapter in adapters:
            if label in (adapter.name, *adapter.classes):
                return adapter.name
        return next((adapter.name for adapter in adapters if not adapter.classes), None)

    def _prediction(self, result: list[dict[str, Any]], score: float) -> dict[str, Any]:
        return {"result": result, "score": score, "model_version": self.version}


def use(engine: Engine, folder: Path) -> None:
    """Replace the live adapter by a finished fit; requests in progress keep the earlier one."""
    engine.adapters.add(LIVE, folder, replace=True)


def _label_of(label: str | None, adapter: LoadedAdapter) -> str:
    """Class of a prediction: its own, that of an adapter of one class, else the name of the adapter."""
    only = adapter.classes[0] if len(adapter.classes) == 1 else adapter.name
    return label or only or ""


def _id(value: Any) -> int:
    """The id of a task or an annotation.

    Raises:
        InputError: no integer, or none of 64 bits.
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"An id must be an integer, got {value!r:.80}.") from error
    if not 0 <= number < 2**63:
        raise InputError("An id must be an integer from 0 to 2^63 - 1.")
    return number


__all__ = ["LIVE", "Backend", "use"]
