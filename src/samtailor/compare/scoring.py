"""All methods of a seed on the same masks; what one has answered is kept in a file of its own and not asked again."""

from __future__ import annotations

import hashlib
import json
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
from samtailor.data.writing import write_json
from samtailor.evaluation.masks import REFINED, evaluate_many
from samtailor.evaluation.scores import Evaluation
from samtailor.registry import find
from samtailor.structures import Sample, Score

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

_SCHEMA = 2  # of a file of scores


@dataclass(frozen=True)
class Questions:
    """What everybody is asked.

    Args:
        samples: held-out images.
        classes: whose masks are asked for.
        prompt: prompt source for all methods; None: each with its own.
        refine: also PMM's test-time refinement.
        regions: one region an image and class instead of single objects.
    """

    samples: Sequence[Sample]
    classes: Sequence[str]
    prompt: str | None
    refine: bool
    regions: bool

    def answered(
        self,
        rows: Mapping[str, Entry],
        base: Base,
        store: EmbeddingCache | None,
        place: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Evaluation]:
        """Evaluations by name, refined ones last.

        Args:
            rows: fitted, by name.
            place: folder of the files; what stands there of the same adapter and questions is taken.
        """
        files = {name: place / f"{self._key(row, base)}.json" for name, row in rows.items()}
        missing = {name: row for name, row in rows.items() if not files[name].is_file()}
        for name, found in self._ask(missing, base, store, progress).items():
            write_json(files[name], {end: {"prompt": e.prompt, "rows": e.table()} for end, e in found.items()})
        kept = {name: read_json(file) for name, file in files.items()}
        return {
            name + end: Evaluation(tuple(Score(**row) for row in parts[end]["rows"]), parts[end]["prompt"], 0)
            for end in ("", REFINED)
            for name, parts in kept.items()
            if end in parts
        }

    def undetected(self, rows: Mapping[str, Entry]) -> dict[str, int]:
        """Images in which the detector of a row found nothing, so that the full frame was asked for; by name."""
        found: dict[str, int] = {}
        for name, row in rows.items():
            meta = artefact.read_meta(row.folder) if row.kind == "methods" and row.learns else None
            if meta is not None and meta.inference.prompt == "detector" and self.prompt is None:
                source = find("prompts", meta.inference.prompt).build(**meta.inference.prompt_options)
                for sample in self.samples:
                    if sample.of(self.classes):
                        source.detections(sample)
                found[name] = source.fallbacks
        return found

    def _ask(
        self,
        rows: Mapping[str, Entry],
        base: Base,
        store: EmbeddingCache | None,
        progress: Callable[[int, int], None] | None,
    ) -> dict[str, dict[str, Evaluation]]:
        segmenters = {
            name: artefact.load(row.folder, base).segmenter if row.learns else base
            for name, row in rows.items()
            if row.kind == "methods"
        }
        found: dict[str, Evaluation] = {}
        if segmenters:
            asked = {"classes": self.classes, "prompt": self.prompt, "refine": self.refine, "regions": self.regions}
            # random clicks are the same for every seed of the fits: only what was learnt differs
            found = evaluate_many(segmenters, self.samples, store=store, progress=progress, **asked)
        device = next(base.model.parameters()).device
        for name, row in rows.items():
            if row.kind == "baselines":
                network = baselines.load(row.folder).to(device)
                found[name] = baselines.evaluate_baseline(network, self.samples, self.classes, progress=progress)
        return {name: {end: found[name + end] for end in ("", REFINED) if name + end in found} for name in rows}

    def _key(self, row: Entry, base: Base) -> str:
        who: list[Any] = [base.fingerprint]
        if row.kind == "baselines":
            who = [read_baseline(row.folder).sha256]
        elif row.learns:
            meta = artefact.read_meta(row.folder)
            who += [meta.sha256, meta.inference.prompt, meta.inference.prompt_options]
        masks = [[s.id, [[a.label, a.area, *a.box] for a in s.of(self.classes)]] for s in self.samples]
        asked = [_SCHEMA, who, self.classes, self.prompt, self.refine, self.regions, masks]
        return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()[:32]


__all__ = ["REFINED", "Questions"]
