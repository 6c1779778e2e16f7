"""Questions about the images of a project, on the engine of the service: one encode an image, then the decoder.

What answers a click runs in the engine's decoding lane. What takes longer (maps, proposals) has a lane of its own, so
that it never stands before a click.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import torch

from samtailor.cache.bounded import BoundedCache
from samtailor.errors import InputError
from samtailor.evaluation.iou_map import IouMap, iou_map
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.embeddings import Embedding
from samtailor.serve.engine import Engine
from samtailor.serve.limits import BoundedExecutor
from samtailor.serve.refusals import Refused, Unknown
from samtailor.workbench import masks, proposing
from samtailor.workbench.images import ImageFolder
from samtailor.workbench.project import Project
from samtailor.workbench.records import Object
from samtailor.workbench.zoom import Closer

_MAPS = 256  # maps kept in memory, a few kilobytes each


class PromptService:
    """See the head of the file.

    Args:
        engine: with its adapters.
        project: images and objects.
    """

    def __init__(self, engine: Engine, project: Project) -> None:
        self.engine, self._project = engine, project
        self._slow = BoundedExecutor("maps and proposals", 1, 8)
        self._ids: dict[tuple[str, str], str] = {}
        self._closer = Closer()
        self._maps: BoundedCache[tuple, dict[str, Any]] = BoundedCache(_MAPS, lru=False)

    def close(self) -> None:
        """Finish what runs."""
        self._slow.close()

    async def encode(self, id: str, adapter: str | None = None) -> Embedding:
        """The embedding of an image, made when it is not there.

        Raises:
            Unknown: the image or the adapter. Unreadable, TooLarge: the image. Busy: no room in a queue.
        """
        slot, one = self.engine.adapters.slot(adapter), self._images.get(id)
        known = self.engine.embeddings.get((self._ids.get((id, one.stamp), ""), slot.encoder))
        if known is not None:
            return known
        one, data = await asyncio.to_thread(self._images.data, id)
        try:
            made = await self.engine.embed(data, adapter)
        except Refused as error:
            if error.status in (413, 415):  # not the queue's fault but the file's
                await asyncio.to_thread(self._images.fail, id, str(error))
            raise
        self._ids[id, one.stamp] = made.id
        return made

    async def ahead(self, id: str) -> float:
        """Encode an image before anybody asks; seconds it took. Errors as of `encode`."""
        start = time.perf_counter()
        await self.encode(id)
        return round(time.perf_counter() - start, 4)

    async def segment(
        self, id: str, ask: ObjectPrompt, adapter: str | None, *, every: bool = True, closer: bool | None = None
    ) -> dict[str, Any]:
        """Masks for one prompt by falling predicted IoU, all candidates or the best, with the milliseconds it took.

        Args:
            id: of the image.
            ask: the prompt.
            adapter: who answers; None is the base.
            every: all candidates.
            closer: also what a closer look at a small object gives (`closer.py`): True puts it first, False second.

        Raises:
            InputError: a prompt that makes no sense on this image. Else as `encode`.
        """
        embedding = await self.encode(id, adapter)

        def answer(slot: LoadedAdapter, predictor: Predictor) -> list[dict[str, Any]]:
            frame = predictor.frame
            size = (frame.height, frame.width)
            if ask.promptless and not slot.promptless:
                raise InputError("A prompt needs points or a box; only adapters fitted without prompts go without.")
            ask.check(size)
            offered = masks.candidates(predictor.decode(ask.prompts(size), slot.name), frame, every=every)
            if closer is not None:
                near = self._closer.candidate(slot, predictor, embedding, ask, offered[0]["box"])
                offered[int(not closer) : int(not closer)] = [] if near is None else [near]
            return offered

        start = time.perf_counter()
        found = await self._in(self.engine.decoding, adapter, embedding, answer)
        return {"masks": found, "milliseconds": round(1000 * (time.perf_counter() - start), 2)}

    async def compare(self, id: str, ask: ObjectPrompt, adapters: Sequence[str | None]) -> list[dict[str, Any]]:
        """The best mask of each of several, on one embedding where they share it."""
        answers = []
        for name in adapters:
            found = await self.segment(id, ask, name, every=False)
            mask = {key: found["masks"][0][key] for key in ("rle", "predicted_iou")}
            answers.append({"adapter": name, "mask": mask, "milliseconds": found["milliseconds"]})
        return answers

    async def automatic(self, id: str, adapter: str | None, threshold: float | None) -> list[Object]:
        """What an adapter finds by itself; nothing is saved.

        Raises:
            Refused: it cannot say where to look. Else as `encode`.
        """
        embedding = await self.encode(id, adapter)
        return await self._in(self._slow, adapter, embedding, lambda s, p: proposing.objects(s, p, threshold))

    async def iou_map(self, id: str, object: str, adapter: str | None, grid: int) -> dict[str, Any]:
        """IoU with a saved object's mask when clicking at each position of a grid; kept in memory.

        Raises:
            Unknown: no such object. Else as `encode`.
        """
        record = await asyncio.to_thread(self._project.read, id)
        one = next((one for one in record.objects if one.id == object), None)
        if one is None:
            raise Unknown("There is no such object in this image. Save it first.")
        slot = self.engine.adapters.slot(adapter)
        if slot.meta is not None and slot.meta.inference.prompt == "none":
            raise Refused(f"The adapter {adapter!r} is asked without a click: there is no map of where to click.")
        key = (id, hashlib.sha256(one.rle.counts.encode()).hexdigest(), slot.meta and slot.meta.sha256, grid)
        if (kept := self._maps.get(key)) is not None:
            return kept
        embedding, whole = await self.encode(id, adapter), _decoded(one)
        made = await self._in(
            self._slow, adapter, embedding, lambda s, p: iou_map(p, whole, adapter=s.name, cells=grid)
        )
        return self._maps.put(key, _told(made))

    @property
    def _images(self) -> ImageFolder:
        return self._project.images

    async def _in(
        self,
        lane: BoundedExecutor,
        adapter: str | None,
        embedding: Embedding,
        answer: Callable[[LoadedAdapter, Predictor], Any],
    ) -> Any:
        slot = self.engine.adapters.slot(adapter)

        @torch.no_grad()
        def job() -> Any:
            with slot.predictor() as predictor:
                embedding.set_on(predictor)
                return answer(slot, predictor)

        future: Future = lane.submit(job)
        return await asyncio.shield(asyncio.wrap_future(future))


def _decoded(one: Object) -> Any:
    from pycocotools import mask as coco

    return coco.decode(one.rle.packed).astype(bool)


def _told(found: IouMap) -> dict[str, Any]:
    return {
        "grid": found.iou.round(4).tolist(),
        "x": found.points[0, :, 0].round(2).tolist(),
        "y": found.points[:, 0, 1].round(2).tolist(),
        "mean_inside": round(found.mean, 4) if found.inside.any() else None,
    }


__all__ = ["PromptService"]
