"""Several methods on the same pictures, split and seeds; an adapter on another class; what a method costs.

Generic over methods: a row of the table is a name and a `FitConfig`. Every fit lies in a folder of its own and is not
made again when the comparison is started again; one that was stopped half-way is resumed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samtailor import artefact
from samtailor.bases import Base
from samtailor.config import FitConfig, resolve
from samtailor.data.dataset import class_names
from samtailor.data.listing import read_json
from samtailor.data.picture import write_json
from samtailor.data.split import Split, shots, split
from samtailor.errors import InputError
from samtailor.evaluate import REFINED, Evaluation, difference, evaluate_many
from samtailor.fit import fit
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.side_by_side import Job, fit_side_by_side
from samtailor.types import Sample, Score

if TYPE_CHECKING:
    from samtailor.embeddings import EmbeddingStore
    from samtailor.train.progress import Progress

TITLES = {"sam": "SAM", "sam-f": "SAM-F", "plm": "SAM+PLM", "plm-pmm": "SAM+PLM+PMM"}
"""The papers' names of methods; a method without one goes by its own."""

_SCHEMA = 1  # of a file of scores
TEST_SHARE = 0.2
"""Share of the pictures to evaluate on where nothing else is said."""

Watch = Callable[[str, "Progress"], None]


@dataclass(frozen=True)
class Deal:
    """Pictures of one seed, the same for every method.

    Args:
        samples: the pool that fits draw from.
        split: its ids to train and to choose the best state on.
        held_out: pictures to evaluate on; no fit sees them.
    """

    samples: Sequence[Sample]
    split: Split
    held_out: Sequence[Sample]


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Args:
        scores: evaluations by name, one a seed; per seed all names cover the same masks.
        seeds: of the fits.
        folders: adapter folder by "NAME/SEED/CLASS" ("all" without `per_class`); None for a method that learns nothing.
        held_out: ids of the pictures evaluated on, by seed.
    """

    scores: Mapping[str, tuple[Evaluation, ...]]
    seeds: tuple[int, ...]
    folders: Mapping[str, Path | None]
    held_out: Mapping[int, tuple[str, ...]]

    def pooled(self) -> dict[str, Evaluation]:
        """The rows of all seeds together. A picture that occurs under several seeds is one group of the bootstrap."""
        return {
            name: replace(parts[0], rows=tuple(row for part in parts for row in part.rows))
            for name, parts in self.scores.items()
        }

    def summary(self, reference: str | None = None) -> dict[str, Any]:
        """Per name the figures of `Evaluation.summary`, `seeds` (mIoU of each), and `difference` to the reference.

        Args:
            reference: name to compare with, paired; None takes the first.
        """
        pooled = self.pooled()
        reference = reference or next(iter(pooled))
        if reference not in pooled:
            raise InputError(f"There is no {reference!r} to compare with; there are {', '.join(pooled)}.")
        found: dict[str, Any] = {}
        for name, evaluation in pooled.items():
            found[name] = evaluation.summary()
            found[name]["seeds"] = {
                str(seed): part.figures()["miou"] for seed, part in zip(self.seeds, self.scores[name], strict=True)
            }
            if name != reference:
                found[name]["difference"] = difference(evaluation, pooled[reference])
        return found


def variants(config: FitConfig, methods: Sequence[str]) -> dict[str, FitConfig]:
    """One row a method, otherwise alike; settings that are not given come from each method's own defaults."""
    given = {name: getattr(config, name) for name in config.model_fields_set}
    return {TITLES.get(method, method): FitConfig(**(given | {"method": method})) for method in methods}


def deal(
    samples: Sequence[Sample],
    config: FitConfig,
    seed: int,
    classes: Sequence[str] | None,
    held_out: Sequence[Sample] | None = None,
) -> Deal:
    """Deal pictures out as `fit` would, and see to the held-out ones.

    Args:
        samples: pictures to train on, and without `held_out` also those to evaluate on.
        config: its `val` and `near_duplicates`; `test` (0: a fifth) where `held_out` is None.
        classes: classes that must be on every side.
        held_out: a test set of its own.
    """
    made = split(
        samples,
        val=config.val,
        test=0 if held_out is not None else config.test or TEST_SHARE,
        seed=seed,
        classes=classes or class_names(samples),
        near_duplicates=config.near_duplicates,
    )
    return Deal(samples, made, made.pick(samples, "test") if held_out is None else held_out)


def few(pictures: Deal, config: FitConfig, classes: Sequence[str] | None) -> Deal:
    """Keep only `config.shots` training pictures of each class, where it is given."""
    if config.shots is None:
        return pictures
    pool, made = pictures.split.pick(pictures.samples, "train"), pictures.split
    kept = tuple(sample.id for sample in shots(pool, config.shots, made.seed, classes=classes))
    rest = tuple(id for id in made.train if id not in kept)
    return replace(pictures, split=replace(made, train=kept, unused=made.unused + rest))


def compare(
    runs: Mapping[str, FitConfig],
    out: Path,
    base: Base,
    samples: Sequence[Sample],
    held_out: Sequence[Sample] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    classes: Sequence[str] | None = None,
    per_class: bool = False,
    prompt: str = "mask-center",
    refine: bool = False,
    store: EmbeddingStore | None = None,
    workers: int = 1,
    watch: Watch | None = None,
) -> Comparison:
    """Fit every run with every seed and evaluate all of them on the same masks and clicks.

    Args:
        runs: name to settings; `out`, `seed` and `classes` are set here, the data are given.
        out: folder; fits lie in OUT/fits/SEED[/CLASS]/NAME, scores in OUT/scores.
        base: the base of all runs.
        samples: pictures to fit on.
        held_out: pictures to evaluate on; None: a share of `samples`, dealt out anew by each seed.
        seeds: of split, start, order and clicks; the same for every run (matched seeds).
        classes: of the masks; None takes all.
        per_class: fit one adapter for each class, as Kim et al. do, and evaluate it on that class.
        prompt: prompt source of the evaluation.
        refine: also report PMM's test-time refinement, as a row of its own.
        store: embeddings on disk.
        workers: fits of one seed and class that run at once, each in a process that loads its base by the settings'
            name (see `side_by_side`).
        watch: called with (what is going on, progress of it).

    Raises:
        InputError: no run, no seed.
    """
    if not runs or not seeds:
        raise InputError("A comparison needs at least one method and one seed.")
    if per_class and classes is None:
        classes = class_names(samples)
    first = next(iter(runs.values()))
    scores: dict[str, list[Evaluation]] = {}
    folders: dict[str, Path | None] = {}
    held: dict[int, tuple[str, ...]] = {}
    for seed in seeds:
        joined: dict[str, list[Score]] = {}
        pictures = deal(samples, first, seed, classes, held_out)
        held[seed] = tuple(sample.id for sample in pictures.held_out)
        for part in [[name] for name in classes] if per_class else [classes]:
            label = _slug(part[0]) if per_class else "all"
            dealt = few(pictures, first, part)
            places = {name: Path(out, "fits", str(seed), label, _slug(name)) for name in runs}
            settled = {name: _settled(config, seed, part, places[name]) for name, config in runs.items()}
            shown = f"seed {seed}" + (f", {part[0]}" if per_class else "")
            made = _fit_all(settled, dealt, base, store, shown, workers, watch)
            folders |= {f"{name}/{seed}/{label}": folder for name, folder in made.items()}
            file = Path(out, "scores", f"{seed}-{label}.json")
            asked = _Asked(pictures.held_out, part, prompt, refine)
            for name, rows in asked.of(made, base, store, file).items():
                joined.setdefault(name, []).extend(rows)
        for name, rows in joined.items():
            scores.setdefault(name, []).append(Evaluation(tuple(rows), prompt, seed))
    return Comparison({name: tuple(parts) for name, parts in scores.items()}, tuple(seeds), folders, held)


def cross_model(
    base: Base,
    adapters: Mapping[str, Segmenter],
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    store: EmbeddingStore | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Adapters fitted to one class, asked for another (Kim et al., Fig. 6).

    Args:
        adapters: name (usually the class it was fitted to) to segmenter on `base`.
        samples: held-out pictures.
        classes: whose masks are asked for; the columns.

    Returns:
        `rows` (the base first), `columns`, `miou` [row][column] in 0..1 with None where a class has no mask, and
        `summaries` by row.
    """
    found = evaluate_many({"SAM": base, **adapters}, samples, classes=classes, store=store, seed=seed)
    summaries = {name: evaluation.summary() for name, evaluation in found.items()}
    table = [[s["classes"].get(c, {}).get("miou") for c in classes] for s in summaries.values()]
    return {"rows": list(found), "columns": list(classes), "miou": table, "summaries": summaries}


def parameters(base: Base) -> dict[str, Any]:
    """What every part weighs, in numbers (Kim et al., Table 4), for any base.

    The Fourier matrix of positions is left out: Meta's code has it as a buffer, transformers as a parameter.

    Returns:
        `image_encoder`, `prompt_encoder`, `mask_decoder`, `base` (their sum and what else the base has), `plm` and
        `plm_paper` (with and without the zero-initialised head), `pmm`, and of the paper's variant `train`
        (PLM + PMM) and `inference` (PLM); `share` of the base that is trained.
    """
    model = base.model
    counts = {name: _count(getattr(model, name)) for name in ("vision_encoder", "prompt_encoder", "mask_decoder")}
    whole = _count(model)
    ours, paper = (find("methods", "plm-pmm").build(base, head=head)[0] for head in ("zero_linear", "paper_plain"))
    plm, pmm = _count(paper.adapter("plm")), _count(paper.adapter("pmm"))
    return {
        "image_encoder": counts["vision_encoder"],
        "prompt_encoder": counts["prompt_encoder"],
        "mask_decoder": counts["mask_decoder"],
        "base": whole,
        "plm": _count(ours.adapter("plm")),
        "plm_paper": plm,
        "pmm": pmm,
        "train": plm + pmm,
        "inference": plm,
        "share": plm / whole,
    }


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for name, p in module.named_parameters() if not name.endswith("positional_embedding"))


def _settled(config: FitConfig, seed: int, classes: Sequence[str] | None, out: Path) -> FitConfig:
    given = {name: getattr(config, name) for name in config.model_fields_set}
    return FitConfig(**(given | {"seed": seed, "out": out, "classes": tuple(classes) if classes else None}))


def _fit_all(
    runs: Mapping[str, FitConfig],
    pictures: Deal,
    base: Base,
    store: EmbeddingStore | None,
    what: str,
    workers: int,
    watch: Watch | None,
) -> dict[str, Path | None]:
    """Folder of each adapter, fitted now or before; None when the method learns nothing."""
    learning = {n: c for n, c in runs.items() if find("methods", c.method).build(base, **c.options)[0].learned()}
    made: dict[str, Path | None] = dict.fromkeys(runs)
    waiting = [name for name, config in learning.items() if not (config.out / artefact.METADATA).exists()]
    if workers > 1 and len(waiting) > 1 and store is not None:
        jobs = {f"{name}, {what}": Job(resolve(learning[name]), pictures.samples, pictures.split) for name in waiting}
        wanted = _to_encode(pictures, learning[waiting[0]].classes)
        fit_side_by_side(jobs, store, pictures=wanted, workers=workers, watch=watch)
    for name, config in learning.items():
        tell = None if watch is None else partial(watch, f"{name}, {what}")
        options = {"samples": pictures.samples, "split": pictures.split, "store": store, "progress": tell}
        made[name] = fit(resolve(config), base=base, resume=True, **options).folder
    return made


def _to_encode(pictures: Deal, classes: Sequence[str] | None) -> list[Sample]:
    """Pictures that all runs and the evaluation will ask for."""
    sides = [pictures.split.pick(pictures.samples, side) for side in ("train", "val")]
    return [sample for side in (*sides, pictures.held_out) for sample in side if sample.of(classes)]


@dataclass(frozen=True)
class _Asked:
    """One evaluation of all adapters of a seed."""

    samples: Sequence[Sample]
    classes: Sequence[str] | None
    prompt: str
    refine: bool

    def of(
        self, folders: Mapping[str, Path | None], base: Base, store: EmbeddingStore | None, file: Path
    ) -> dict[str, tuple[Score, ...]]:
        """Rows by name; those made before, with the same adapters and pictures, are read from `file`."""
        key = self._key(folders, base)
        if file.is_file() and (kept := read_json(file))["key"] == key:
            return {name: tuple(Score(**row) for row in rows) for name, rows in kept["rows"].items()}
        segmenters = {n: base if f is None else artefact.load(f, base).segmenter for n, f in folders.items()}
        options = {"classes": self.classes, "prompt": self.prompt, "refine": self.refine}
        # random clicks are the same for every seed of the fits: only what was learnt differs
        found = evaluate_many(segmenters, self.samples, store=store, **options)
        write_json(file, {"key": key, "rows": {name: e.table() for name, e in found.items()}})
        return {name: e.rows for name, e in found.items()}

    def _key(self, folders: Mapping[str, Path | None], base: Base) -> str:
        adapters = {name: None if f is None else artefact.read_meta(f).sha256 for name, f in folders.items()}
        masks = [[s.id, [[a.label, a.area, *a.box] for a in s.of(self.classes)]] for s in self.samples]
        asked = [_SCHEMA, base.fingerprint, adapters, self.classes, self.prompt, self.refine, masks]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


__all__ = ["REFINED", "TITLES", "Comparison", "Deal", "compare", "cross_model", "deal", "few", "parameters", "variants"]
