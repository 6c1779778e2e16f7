"""Fit every row with every seed on the same images, and ask all of them for the same masks.

Every fit lies in a folder of its own and is not made again when the comparison is started again; one that was stopped
half-way is resumed, and an answer that was given is not asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.bases import Base
from samtailor.compare.comparison import Comparison
from samtailor.compare.cost import Cost
from samtailor.compare.entries import Entry, contender, fit_contender
from samtailor.compare.folds import Deal, deal, few, few_shot, settled
from samtailor.compare.parallel import Job, fit_side_by_side
from samtailor.compare.scoring import Questions
from samtailor.data.dataset import class_names
from samtailor.errors import InputError
from samtailor.evaluation.scores import Evaluation
from samtailor.structures import Sample
from samtailor.train.config import FitConfig, resolve
from samtailor.train.progress import Progress

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

TITLES = {
    "tailor": "tailor",
    "sam": "SAM",
    "sam-f": "SAM-F",
    "plm": "SAM+PLM",
    "plm-pmm": "SAM+PLM+PMM",
    "samed": "SAMed",
    "med-sa": "Med-SA",
    "blo-sam": "BLO-SAM",
    "am-sam": "AM-SAM",
    "deeplabv3": "DeepLabV3",
    "swin-unet": "Swin-Unet",
    "ssp": "SSP",
    "hsnet": "HSNet",
}
"""The papers' names of methods; a method without one goes by its own."""

Watch = Callable[[str, "Progress"], None]


def variants(
    config: FitConfig, methods: Sequence[str], own: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, FitConfig]:
    """One row a method, otherwise alike; settings that are not given come from each method's own defaults.

    Args:
        config: settings of all.
        methods: names of methods and baselines.
        own: further settings of single ones, by name.
    """
    own = own or {}
    return {TITLES.get(name, name): settled(config, method=name, **own.get(name, {})) for name in methods}


def compare(
    runs: Mapping[str, FitConfig],
    out: Path,
    base: Base,
    samples: Sequence[Sample],
    held_out: Sequence[Sample] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    shots: int | None = None,
    classes: Sequence[str] | None = None,
    per_class: bool = False,
    prompt: str | None = None,
    refine: bool = False,
    store: EmbeddingCache | None = None,
    workers: int = 1,
    watch: Watch | None = None,
    dealt: Callable[[int], Deal] | None = None,
) -> Comparison:
    """Fit every run with every seed and evaluate all of them on the same masks.

    Where any of them answers one region an image and class, all are judged on regions.

    Args:
        runs: name to settings; `out`, `seed` and `classes` are set here, the data are given. Images are dealt by the
            settings of the first.
        out: folder; fits lie in OUT/fits/SEED/CLASS/NAME[-Kshots], answers in OUT/scores.
        base: the base of all runs.
        samples: images to fit on.
        held_out: images to evaluate on; None: a share of `samples`, dealt out anew by each seed.
        seeds: of split, start, order and clicks; the same for every run (matched seeds).
        shots: images of each class to fit on, see `few_shot`; None: as the runs have it.
        classes: of the masks; None takes all.
        per_class: fit one adapter for each class, as Kim et al. do, and evaluate it on that class.
        prompt: prompt source of the evaluation; None: each method's own, one click at the mask's centre where it has
            none.
        refine: also report PMM's test-time refinement, as a row of its own.
        store: embeddings on disk.
        workers: fits of one seed and class that run at once, each in a process that loads its base by the settings'
            name (see `parallel_fits`).
        watch: called with (what is going on, progress of it).
        dealt: seed to its images, where they are dealt already.

    Raises:
        InputError: no run, no seed, an unknown method or option, a fit of other settings in the way.
    """
    if not runs or not seeds:
        raise InputError("A comparison needs at least one method and one seed.")
    classes = list(classes or class_names(samples))
    runs = {name: few_shot(config, shots) for name, config in runs.items()}
    parts = [[name] for name in classes] if per_class else [classes]
    looked = {name: contender(config, base, parts[0]) for name, config in runs.items()}
    regions = any(row.regions for row in looked.values())
    first = next(iter(runs.values()))
    found, held = _Found(), {}
    for seed in seeds:
        images = dealt(seed) if dealt else deal(samples, first, seed, classes, held_out)
        held[seed] = tuple(sample.id for sample in images.held_out)
        joined: dict[str, list[Evaluation]] = {}
        for part in parts:
            label = _slug(part[0]) if per_class else "all"
            shown = ", ".join([f"seed {seed}", *part[: int(per_class)], *([f"{shots} shots"] if shots else [])])
            places = {name: Path(out, "fits", str(seed), label, _folder(name, shots)) for name in runs}
            rows = {name: _placed(row, runs[name], seed, part, places[name]) for name, row in looked.items()}
            _fit_all(rows, few(images, first, part), base, store, shown, workers, watch)
            for name, row in rows.items():
                found.note(f"{name}/{seed}/{label}", row)
            asked = Questions(images.held_out, part, prompt, refine, regions)
            tell = None if watch is None else partial(_evaluating, watch, shown)
            for name, one in asked.answered(rows, base, store, Path(out, "scores"), tell).items():
                joined.setdefault(name, []).append(one)
            found.miss(asked.undetected(rows))
        found.add(joined, seed)
    return Comparison(
        scores={name: tuple(parts) for name, parts in found.scores.items()},
        seeds=tuple(seeds),
        folders=found.folders,
        held_out=held,
        methods={name: config.method for name, config in runs.items()},
        costs=found.costs,
        regions=regions,
        shots=shots if shots is not None else first.shots,
        weights={name: row.weights for name, row in looked.items() if row.weights is not None},
        undetected=found.undetected,
        kept=found.kept,
    )


def compare_shots(
    runs: Mapping[str, FitConfig],
    out: Path,
    base: Base,
    samples: Sequence[Sample],
    held_out: Sequence[Sample] | None = None,
    *,
    shots: Sequence[int],
    **asked: Any,
) -> list[Comparison]:
    """`compare` for several numbers of shots: per seed the same images, the smaller subset in the larger one.

    Args:
        shots: in rising order.
        asked: as in `compare`.

    Raises:
        InputError: as there; numbers of shots that do not rise.
    """
    if not shots or list(shots) != sorted(set(shots)):
        raise InputError(f"Expected rising numbers of shots, got {', '.join(map(str, shots)) or 'none'}.")
    asked["classes"] = list(asked.get("classes") or class_names(samples))
    first = few_shot(next(iter(runs.values()), FitConfig()), shots[0])

    @cache  # looking for near-duplicates reads every image
    def dealt(seed: int) -> Deal:
        return deal(samples, first, seed, asked["classes"], held_out)

    return [compare(runs, out, base, samples, held_out, shots=count, dealt=dealt, **asked) for count in shots]


class _Found:
    """What gathers over seeds and classes."""

    def __init__(self) -> None:
        self.scores: dict[str, list[Evaluation]] = {}
        self.folders: dict[str, Path | None] = {}
        self.costs: dict[str, Cost | None] = {}
        self.undetected: dict[str, int] = {}
        self.kept: dict[str, int | None] = {}

    def note(self, key: str, row: Entry) -> None:
        self.folders[key] = row.folder
        if row.folder:
            self.costs[key], self.kept[key] = Cost.read(row.folder), row.kept_step

    def miss(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.undetected[name] = self.undetected.get(name, 0) + count

    def add(self, joined: Mapping[str, Sequence[Evaluation]], seed: int) -> None:
        for name, parts in joined.items():
            rows = tuple(row for part in parts for row in part.rows)
            self.scores.setdefault(name, []).append(Evaluation(rows, parts[0].prompt, seed))


def _placed(row: Entry, config: FitConfig, seed: int, classes: Sequence[str], out: Path) -> Entry:
    made = settled(config, seed=seed, out=out, classes=tuple(classes))
    return replace(row, config=resolve(made) if row.kind == "methods" else made)


def _fit_all(
    rows: Mapping[str, Entry],
    images: Deal,
    base: Base,
    store: EmbeddingCache | None,
    what: str,
    workers: int,
    watch: Watch | None,
) -> None:
    """Fit all that learn and are not fitted yet."""
    learning = {name: row for name, row in rows.items() if row.learns}
    waiting = [name for name, row in learning.items() if not row.finished]
    if workers > 1 and len(waiting) > 1 and store is not None:
        jobs = {f"{name}, {what}": Job(learning[name], images.samples, images.split) for name in waiting}
        wanted = _to_encode(images, learning[waiting[0]].config.classes)
        fit_side_by_side(jobs, store, images=wanted, workers=workers, watch=watch)
    for name, row in learning.items():
        tell = None if watch is None else partial(watch, f"{name}, {what}")
        fit_contender(row, images.samples, images.split, base, store, progress=tell)


def _to_encode(images: Deal, classes: Sequence[str] | None) -> list[Sample]:
    """Images that all runs and the evaluation will ask for."""
    sides = [images.split.pick(images.samples, side) for side in ("train", "val")]
    return [sample for side in (*sides, images.held_out) for sample in side if sample.of(classes)]


def _evaluating(watch: Watch, what: str, done: int, total: int) -> None:
    watch(f"judging, {what}", Progress("evaluate", done, total))


def _folder(name: str, shots: int | None) -> str:
    return _slug(name) if shots is None else f"{_slug(name)}-{shots}shots"


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


__all__ = ["TITLES", "Watch", "compare", "compare_shots", "variants"]
