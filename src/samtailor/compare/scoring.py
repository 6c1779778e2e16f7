"""Evaluation of all methods of a seed on the same masks. The scores of each are kept in a file and read again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.bases import Base
from samtailor.compare import baselines
from samtailor.compare.baselines._artefact import read_meta as read_baseline
from samtailor.compare.entries import Entry
from samtailor.data.listing import read_json
from samtailor.data.writing import check_seal, sealed, write_json
from samtailor.errors import DataError
from samtailor.evaluation.masks import REFINED, evaluate_many
from samtailor.evaluation.scores import Evaluation
from samtailor.limits import MALFORMED
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample, Score

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

_log = logging.getLogger("samtailor.compare")
_SCHEMA = 2  # of a file of scores


@dataclass(frozen=True)
class SharedEvaluation:
    """One evaluation protocol for all methods.

    Args:
        samples: held-out images.
        classes: classes of the masks.
        prompt: prompt source for all methods; None: that of each method.
        refine: also evaluate the test-time refinement of PMM.
        regions: one region per image and class instead of single objects.
    """

    samples: Sequence[Sample]
    classes: Sequence[str]
    prompt: str | None
    refine: bool
    regions: bool

    def scores(
        self,
        rows: Mapping[str, Entry],
        base: Base,
        store: EmbeddingCache | None,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Evaluation]:
        """Evaluations by name, refined ones last.

        Args:
            rows: fitted entries by name.
            base: the frozen base.
            store: cached embeddings.
            folder: folder of the score files; a file of the same adapter and protocol is read instead of evaluating.
            progress: called with (images done, all images).
        """
        files = {name: folder / f"{self._key(row, base)}.json" for name, row in rows.items()}
        stored = {name: content for name, file in files.items() if (content := _stored(file)) is not None}
        missing = {name: row for name, row in rows.items() if name not in stored}
        for name, evaluations in self._evaluate(missing, base, store, progress).items():
            content = {end: {"prompt": e.prompt, "rows": e.table()} for end, e in evaluations.items()}
            write_json(files[name], sealed(content))
            stored[name] = _readable(content)
        return {
            name + end: Evaluation(tuple(Score(**row) for row in parts[end]["rows"]), parts[end]["prompt"], 0)
            for end in ("", REFINED)
            for name, parts in ((name, stored[name]) for name in files)
            if end in parts
        }

    def undetected(self, rows: Mapping[str, Entry]) -> dict[str, int]:
        """By name of an entry with a detector: images without a detection, prompted with the full image instead."""
        counts: dict[str, int] = {}
        for name, row in rows.items():
            meta = artefact.read_meta(row.output) if row.kind == "methods" and row.learns else None
            if meta is not None and meta.inference.prompt == "detector" and self.prompt is None:
                source = find("prompts", meta.inference.prompt).build(**meta.inference.prompt_options)
                for sample in self.samples:
                    if sample.of(self.classes):
                        source.detections(sample)
                counts[name] = source.fallbacks
        return counts

    def _evaluate(
        self,
        rows: Mapping[str, Entry],
        base: Base,
        store: EmbeddingCache | None,
        progress: Callable[[int, int], None] | None,
    ) -> dict[str, dict[str, Evaluation]]:
        segmenters: dict[str, Segmenter | Base] = {
            name: artefact.load(row.output, base).segmenter if row.learns else base
            for name, row in rows.items()
            if row.kind == "methods"
        }
        evaluations: dict[str, Evaluation] = {}
        if segmenters:
            evaluations = evaluate_many(
                segmenters,
                self.samples,
                classes=self.classes,
                prompt=self.prompt,
                refine=self.refine,
                regions=self.regions,
                store=store,
                progress=progress,
            )  # random clicks are the same for every seed of the fits, so that only the adapters differ
        device = next(base.model.parameters()).device
        for name, row in rows.items():
            if row.kind == "baselines":
                network = baselines.load(row.output).to(device)
                evaluations[name] = baselines.evaluate_baseline(network, self.samples, self.classes, progress=progress)
        return {
            name: {end: evaluations[name + end] for end in ("", REFINED) if name + end in evaluations} for name in rows
        }

    def _key(self, row: Entry, base: Base) -> str:
        model: list[Any] = [base.fingerprint]
        if row.kind == "baselines":
            model = [read_baseline(row.output).sha256]
        elif row.learns:
            meta = artefact.read_meta(row.output)
            model += [meta.sha256, meta.inference.prompt, meta.inference.prompt_options]
        masks = [[s.id, [[a.label, a.area, *a.box] for a in s.of(self.classes)]] for s in self.samples]
        content = [_SCHEMA, model, self.classes, self.prompt, self.refine, self.regions, masks]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:32]


def _stored(file: Path) -> dict[str, Any] | None:
    """Scores of an earlier evaluation; None if there are none, or if they are damaged and must be measured again."""
    if not file.is_file():
        return None
    try:
        content = read_json(file)
        check_seal(content, file)
        return _readable(content)
    except (DataError, *MALFORMED) as error:
        _log.warning("Earlier scores are measured again: %s", error)
        return None


def _readable(content: dict[str, Any]) -> dict[str, Any]:
    return {end: content[end] for end in ("", REFINED) if end in content}


__all__ = ["REFINED", "SharedEvaluation"]
