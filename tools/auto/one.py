"""What one contest chose against every candidate, on the test images of one data set, seed and number of masks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

JUDGED = 40
"""Test images of clicks and of automatic instances, at most."""
PROMPTS = {"clicks": "mask-center", "boxes": "mask-box"}

_REGION_ALONE = {"prompt": None, "strength": {"click": 0.0, "box": 0.0}, "proposals": None, "parts": None}
"""Decisions of a plan whose other parts are not needed."""


@dataclass(frozen=True)
class Part:
    """One adapter of a contest.

    Args:
        label: class; "all" for one adapter of all classes.
        folder: of the adapter.
        samples: all images of the data set.
        tests: images that no fit has seen.
        base, store: loaded base and its cached embeddings.
        plm_steps: updates of the PLM that clicks are compared with; None: its default, 0: no PLM.
    """

    label: str
    folder: Path
    samples: Sequence[Any]
    tests: Sequence[Any]
    base: Any
    store: Any
    plm_steps: int | None = None

    def row(self) -> dict[str, Any]:
        """Regions, clicks, boxes, instances and forecast of this adapter."""
        from samtailor import artefact

        plan = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        classes = artefact.read_meta(self.folder).classes
        return {
            "regions": self._regions(plan, classes),
            **self.prompted(),
            "instances": self._instances(classes),
            "forecast": plan["evidence"].get("forecast") or {},
            "chosen": plan["decisions"],
            "budget": plan["budget"],
        }

    def _regions(self, plan: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        """Mean test Dice of the chosen region and of every candidate, fitted on all masks like the chosen one."""
        from samtailor.evaluation.masks import evaluate_many
        from samtailor.fitting.contest.region_variant import RegionVariant

        chosen = plan["decisions"].get("region")
        if chosen is None:
            return {}
        folders = {"auto": self.folder}
        for row in plan["evidence"].get("region", ()):
            if row["candidate"] != chosen["candidate"]:
                steps = max(row["steps"], chosen["steps"])
                variant = RegionVariant.of(row["variant"])
                decision = {"candidate": row["candidate"], "steps": steps}
                decision |= {"tiling": variant.plan, "offset": variant.offset}
                other = {**plan, "decisions": {**plan["decisions"], **_REGION_ALONE, "region": decision}}
                folders[row["candidate"]] = self._planned(other, row["candidate"])
        evaluations = evaluate_many(
            self._segmenters(folders), self.tests, classes=classes, prompt="none", store=self.store, regions=True
        )
        scores = {name: float(np.mean(one.values("dice"))) for name, one in evaluations.items()}
        best = max(scores, key=lambda name: scores[name])
        return {"dice": scores, "chosen": chosen["candidate"], "best": best, "regret": scores[best] - scores["auto"]}

    def prompted(self) -> dict[str, dict[str, Any]]:
        """For clicks and boxes, the mean IoU over the objects: base model, the adapter of the contest, and PLM; and the
        95 % interval of the paired difference of adapter and base model.
        """
        from samtailor import artefact

        classes = artefact.read_meta(self.folder).classes
        return {key: self._prompted(classes, source) for key, source in PROMPTS.items()}

    def _prompted(self, classes: Sequence[str], prompt: str) -> dict[str, Any]:
        from samtailor.evaluation.masks import evaluate_many
        from samtailor.masks import metrics

        plm = self.folder.with_name(f"{self.folder.name}-plm")
        adapters = {"auto": self.folder} if self.plm_steps == 0 else {"auto": self.folder, "plm": plm}
        if "plm" in adapters and not (plm / "adapter.json").is_file():
            changes = {"method": "plm", "plan": None, "budget": None, "options": {}, "out": plm}
            self._fit(changes | ({} if self.plm_steps is None else {"steps": self.plm_steps}))
        segmenters = {"base": self.base, **self._segmenters(adapters)}
        evaluations = evaluate_many(
            segmenters, self.tests[:JUDGED], classes=classes, prompt=prompt, store=self.store, regions=False
        )
        values = {name: one.values("miou") for name, one in evaluations.items()}
        groups = [row.group for row in evaluations["base"].rows]
        _, low, high = metrics.paired_difference(values["auto"], values["base"], groups)
        means: dict[str, Any] = {name: float(np.mean(one)) for name, one in values.items()}
        return means | {"interval": [low, high], "objects": len(groups)}

    def _instances(self, classes: Sequence[str]) -> dict[str, float | None]:
        """Automatic mode: AP50 and count error; empty where the adapter has none, or segments one region."""
        from samtailor import artefact
        from samtailor.errors import InputError
        from samtailor.evaluation.instances import LOWEST, evaluate_instances
        from samtailor.predict.predictor import Predictor
        from samtailor.predict.source import AdapterSource

        loaded = artefact.load(self.folder, self.base)
        if loaded.segmenter.inference.regions:
            return {}
        predictor = Predictor(self.base, {"it": loaded.segmenter}, store=self.store)
        try:
            source = AdapterSource.of(predictor, "it", self.folder, lowest=LOWEST)
        except InputError:
            return {}
        (one,) = evaluate_instances(
            predictor, {"it": source}, self.tests[:JUDGED], classes, store=self.store
        ).values()  # fmt: skip
        summary = one.summary(draws=100)
        return {name: summary[name] for name in ("ap50", "precision", "recall", "count_error", "count_bias")}

    def _planned(self, plan: Mapping[str, Any], name: str) -> Path:
        """A fit that repeats a plan with another candidate."""
        out = self.folder.with_name(f"{self.folder.name}-{name}")
        if not (out / "adapter.json").is_file():
            file = self.folder.with_name(f"{self.folder.name}-{name}-plan.json")
            file.write_text(json.dumps(plan), encoding="utf-8")
            self._fit({"plan": file, "out": out})
        return out

    def _fit(self, changes: Mapping[str, Any]) -> None:
        from samtailor.data.split import Split
        from samtailor.fitting import fit
        from samtailor.train.config import FitConfig, load

        config = load(self.folder / "config.yaml", quiet=True)
        if changes.get("method", config.method) == config.method:
            config = config.model_copy(update=dict(changes))
        else:  # the defaults of another method
            kept = {
                name: getattr(config, name) for name in ("data", "base", "classes", "seed", "shots", "val", "trackers")
            }
            config = FitConfig(**{**kept, **{k: v for k, v in changes.items() if v is not None}})
        split = Split.read(self.folder / "split.json")
        fit(config, samples=list(self.samples), base=self.base, split=split, store=self.store, overwrite=True)

    def _segmenters(self, folders: Mapping[str, Path]) -> dict[str, Any]:
        from samtailor import artefact

        return {name: artefact.load(folder, self.base).segmenter for name, folder in folders.items()}


__all__ = ["JUDGED", "PROMPTS", "Part"]
