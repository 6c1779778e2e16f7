"""Masks for prompts on the images of a project: each image is encoded once, then only the decoder runs.

Prompts run in the decoding executor of the engine. Slower work (IoU maps, automatic segmentation) has its own executor,
so that it never delays a click.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from samtailor.cache.bounded import BoundedCache
from samtailor.errors import InputError
from samtailor.evaluation.iou_map import IouMap, iou_map
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.embeddings import Embedding
from samtailor.serve.engine import Engine
from samtailor.serve.limits import BoundedExecutor
from samtailor.serve.refusals import Refused, Unknown
from samtailor.workbench import proposing
from samtailor.workbench.images import ImageFolder
from samtailor.workbench.masks import mask_of_runs
from samtailor.workbench.project import Project
from samtailor.workbench.records import Object, Runs
from samtailor.workbench.view_crops import Box, Refinement, ViewCrops, view_crop
from samtailor.workbench.zoom import Zoom

T = TypeVar("T")
_MAPS = 256  # maps kept in memory, a few kilobytes each


class PromptService:
    """Predicts masks for the images of a project.

    Args:
        engine: engine with the adapters.
        project: images and objects.
    """

    def __init__(self, engine: Engine, project: Project) -> None:
        self.engine, self._project = engine, project
        self._slow = BoundedExecutor("maps and proposals", 1, 8)
        self._ids: dict[tuple[str, str], str] = {}
        self._zoom, self._crops = Zoom(), ViewCrops()
        self._maps: BoundedCache[tuple, dict[str, Any]] = BoundedCache(_MAPS, lru=False)

    def close(self) -> None:
        """Wait for running work, and stop the executor."""
        self._slow.close()

    async def encode(self, id: str, adapter: str | None = None) -> Embedding:
        """The embedding of an image; computed if it is not cached.

        Raises:
            Unknown: no such image or adapter. Unreadable, TooLarge: the image. Busy: a queue is full.
        """
        loaded, image = self.engine.adapters.get(adapter), self._images.get(id)
        cached = self.engine.embeddings.get((self._ids.get((id, image.stamp), ""), loaded.encoder))
        if cached is not None:
            return cached
        image, data = await asyncio.to_thread(self._images.data, id)
        try:
            embedding = await self.engine.embed(data, adapter)
        except Refused as error:
            if error.status not in (413, 415):
                raise
            # the file is at fault, not the queue; the engine does not know its name
            reason = f"{image.name}: {str(error).removeprefix('the image: ')}"
            await asyncio.to_thread(self._images.fail, id, reason)
            raise type(error)(reason) from error
        self._ids[id, image.stamp] = embedding.id
        return embedding

    async def encode_ahead(self, id: str, adapter: str | None = None, view: Box | None = None) -> float:
        """Encode an image, and the crop of a view, before the first prompt. Raises the errors of `encode`.

        Returns:
            Seconds it took.
        """
        start = time.perf_counter()
        embedding = await self.encode(id, adapter)
        crop = None if view is None else view_crop(view, (embedding.height, embedding.width), ObjectPrompt())
        if crop is not None:
            await self._run(self._slow, adapter, embedding, lambda s, p: self._crops.encode(s, p, embedding, crop))
        return round(time.perf_counter() - start, 4)

    async def segment(
        self, id: str, prompt: ObjectPrompt, adapter: str | None, *, every: bool = True, zoom: bool | None = None,
        view: Box | None = None, refined: tuple[Runs, str | None] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Masks for one prompt, in descending order of predicted IoU.

        Args:
            id: id of the image.
            prompt: the prompt.
            adapter: name of the adapter; None for the base model.
            every: return all candidates; otherwise only the best one.
            zoom: add the mask of a zoomed crop for a small object (`zoom.py`): True puts it first, False second.
            view: visible part of the image, (x0, y0, x1, y1) in pixels. If it is a small part, the model gets a crop of
                it (`view_crops.py`), and the best mask on the whole image is the last candidate.
            refined: the present mask of the object, and the "answer" of the candidate that it is.

        Returns:
            "masks", a list as `ViewCrops.candidates` returns it, and "milliseconds", the time of the prediction.

        Raises:
            InputError: the prompt is invalid for this image. Also the errors of `encode`.
        """
        adapter = self._answering(adapter, prompt)
        embedding = await self.encode(id, adapter)
        mask = None if refined is None else _refinement(refined, embedding)

        def predict(loaded: LoadedAdapter, predictor: Predictor) -> list[dict[str, Any]]:
            frame = predictor.frame
            size = (frame.height, frame.width)
            if prompt.promptless and not loaded.promptless:
                raise InputError("A prompt needs points or a box; only adapters fitted without prompts work without.")
            prompt.check(size)
            crop = None if view is None or prompt.promptless else view_crop(view, size, prompt)
            if crop is not None and self._crops.usable(loaded, embedding, crop):
                whole = self._crops.candidates(loaded, predictor, embedding, prompt, None, mask, every=False)
                cropped = self._crops.candidates(loaded, predictor, embedding, prompt, crop, mask, every=every)
                return cropped + (whole if every else [])
            candidates = self._crops.candidates(loaded, predictor, embedding, prompt, None, mask, every=every)
            if zoom is not None and mask is None:
                zoomed = self._zoom.candidate(loaded, predictor, embedding, prompt, candidates[0]["box"])
                candidates[int(not zoom) : int(not zoom)] = [] if zoomed is None else [zoomed]
            return candidates

        start = time.perf_counter()
        candidates = await self._run(self.engine.decoding, adapter, embedding, predict)
        return {"masks": candidates, "milliseconds": round(1000 * (time.perf_counter() - start), 2)}

    async def compare(
        self, id: str, prompt: ObjectPrompt, adapters: Sequence[str | None], view: Box | None = None
    ) -> list[dict[str, Any]]:
        """The best mask of each of several adapters; those with the same image encoder share an embedding."""
        results = []
        for name in adapters:
            result = await self.segment(id, prompt, name, every=False, view=view)
            mask = {key: result["masks"][0][key] for key in ("rle", "predicted_iou")}
            results.append({"adapter": name, "mask": mask, "milliseconds": result["milliseconds"]})
        return results

    async def automatic(self, id: str, adapter: str | None, threshold: float | None) -> list[Object]:
        """Objects that an adapter predicts without a user prompt; nothing is saved.

        Args:
            id: id of the image.
            adapter: name of the adapter.
            threshold: lowest score of a proposal; None: the default of each class.

        Raises:
            Refused: the adapter has no proposals. Also the errors of `encode`.
        """
        embedding = await self.encode(id, adapter)
        return await self._run(self._slow, adapter, embedding, lambda s, p: proposing.objects(s, p, threshold))

    async def iou_map(self, id: str, object: str, adapter: str | None, grid: int) -> dict[str, Any]:
        """IoU with a saved object's mask for a click at each position of a grid; cached in memory.

        Args:
            id: id of the image.
            object: id of the object.
            adapter: name of the adapter; None for the base model.
            grid: positions along the longer side of the image.

        Raises:
            Unknown: no such object. Refused: the adapter takes no clicks. Also the errors of `encode`.
        """
        record = await asyncio.to_thread(self._project.read, id)
        target = next((o for o in record.objects if o.id == object), None)
        if target is None:
            raise Unknown("There is no such object in this image. Save it first.")
        loaded = self.engine.adapters.get(adapter)
        if loaded.meta is not None and loaded.meta.inference.prompt == "none":
            raise Refused(f"The adapter {adapter!r} works without clicks, so it has no click map.")
        adapter = self._answering(adapter, ObjectPrompt(((0, 0, 1),), label=target.class_))
        loaded = self.engine.adapters.get(adapter)
        key = (id, hashlib.sha256(target.rle.counts.encode()).hexdigest(), loaded.meta and loaded.meta.sha256, grid)
        if (kept := self._maps.get(key)) is not None:
            return kept
        embedding, truth = await self.encode(id, adapter), _decoded(target)
        result = await self._run(
            self._slow, adapter, embedding, lambda s, p: iou_map(p, truth, adapter=s.name or BASE, cells=grid)
        )
        return self._maps.put(key, _to_json(result))

    def _answering(self, adapter: str | None, prompt: ObjectPrompt) -> str | None:
        """Name of the adapter that answers a prompt, by the class; classes may have been renamed after the fit."""
        names = (now for now in self._project.settings.aliases.items() if now[1] == prompt.label)
        for label in (prompt.label, *(earlier for earlier, _ in names)):
            if (name := self.engine.answering(adapter, replace(prompt, label=label))) is not None:
                return name
        return None

    @property
    def _images(self) -> ImageFolder:
        return self._project.images

    async def _run(
        self,
        executor: BoundedExecutor,
        adapter: str | None,
        embedding: Embedding,
        predict: Callable[[LoadedAdapter, Predictor], T],
    ) -> T:
        loaded = self.engine.adapters.get(adapter)

        @torch.no_grad()
        def job() -> T:
            with loaded.predictor() as predictor:
                embedding.set_on(predictor)
                return predict(loaded, predictor)

        future: Future[T] = executor.submit(job)
        return await asyncio.shield(asyncio.wrap_future(future))


def _refinement(refined: tuple[Runs, str | None], embedding: Embedding) -> Refinement:
    runs, answer = refined
    return Refinement(mask_of_runs(runs, (embedding.height, embedding.width), "mask to refine", "refine"), answer)


def _decoded(object: Object) -> np.ndarray:
    return _pixels(object.rle.packed)


def _pixels(packed: dict[str, Any]) -> np.ndarray:
    from pycocotools import mask as coco

    return coco.decode(packed).astype(bool)


def _to_json(result: IouMap) -> dict[str, Any]:
    return {
        "grid": result.iou.round(4).tolist(),
        "x": result.points[0, :, 0].round(2).tolist(),
        "y": result.points[:, 0, 1].round(2).tolist(),
        "mean_inside": round(result.mean, 4) if result.inside.any() else None,
    }


__all__ = ["PromptService"]
