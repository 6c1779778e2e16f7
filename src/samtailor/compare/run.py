"""Fit every method with every seed on the same images, and evaluate all of them on the same masks.

Every fit has its own folder and is not repeated when the comparison is started again. An interrupted fit is resumed,
and stored scores are read again.
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
from samtailor.compare.entries import Entry, make_entry, title_of
from samtailor.compare.entry_fit import fit_entry
from samtailor.compare.parallel import Job, parallel_fits
from samtailor.compare.scoring import SharedEvaluation
from samtailor.compare.seed_split import SeedSplit, few_shot_config, limit_shots, split_for_seed, with_settings
from samtailor.data.dataset import class_names
from samtailor.errors import InputError
from samtailor.evaluation.scores import Evaluation
from samtailor.structures import Sample
from samtailor.train.config import FitConfig, resolve, with_preset
from samtailor.train.progress import Progress

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

Watch = Callable[[str, Progress], None]


def variants(
    config: FitConfig, methods: Sequence[str], overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, FitConfig]:
    """One run per method with the same settings; settings that are not given are the defaults of each method.

    Args:
        config: settings of all runs.
        methods: names of methods and baselines.
        overrides: further settings of single methods, by name.

    Returns:
        title of the method to its settings.
    """
    overrides = overrides or {}
    return {title_of(name): with_settings(config, method=name, **overrides.get(name, {})) for name in methods}


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
    regions: bool = False,
    refine: bool = False,
    store: EmbeddingCache | None = None,
    workers: int = 1,
    watch: Watch | None = None,
    splits: Callable[[int], SeedSplit] | None = None,
) -> Comparison:
    """Fit every run with every seed and evaluate all of them on the same masks.

    If one of the methods predicts only regions (one per image and class), all are evaluated on regions.

    Args:
        runs: name to settings; `out`, `seed` and `classes` are set here. The settings of the first run define the
            split of the images.
        out: folder; fits are stored in OUT/fits/SEED/CLASS/NAME[-Kshots], scores in OUT/scores.
        base: base model of all runs.
        samples: images to train on.
        held_out: images to evaluate on; None: a share of `samples`, split anew for each seed.
        seeds: seeds of split, initialization, order and clicks, the same for every run.
        shots: training images per class, see `few_shot_config`; None: those of the runs.
        classes: classes of the masks; None: all.
        per_class: fit one adapter per class, as Kim et al. do, and evaluate it on that class; also if a run says so.
        prompt: prompt source of the evaluation; None: that of each method, else one click at the center of the mask.
        regions: evaluate on regions in any case. Methods that need no prompt then get none, unless `prompt` is given.
        refine: also evaluate the test-time refinement of PMM, as a row of its own.
        store: cached embeddings.
        workers: number of parallel fits, each in a process that loads the base by its name (see `parallel_fits`).
        watch: called with (description, progress).
        splits: seed to its images, if they are already split.

    Raises:
        InputError: no run, no seed, an unknown method or option, or a fit with other settings in the folder.
    """
    if not runs or not seeds:
        raise InputError("A comparison needs at least one method and one seed.")
    classes = list(classes or class_names(samples))
    runs = {name: few_shot_config(_settled(config, base), shots) for name, config in runs.items()}
    per_class = per_class or any(config.per_class for config in runs.values())
    runs = {name: with_settings(config, per_class=False) for name, config in runs.items()}
    parts = [[name] for name in classes] if per_class else [classes]
    entries = {name: make_entry(config, base, parts[0]) for name, config in runs.items()}
    regions = regions or any(row.regions for row in entries.values())
    first = next(iter(runs.values()))
    results = _Results()
    for seed in seeds:
        images = splits(seed) if splits else split_for_seed(samples, first, seed, classes, held_out)
        results.held_out[seed] = tuple(sample.id for sample in images.held_out)
        joined: dict[str, list[Evaluation]] = {}
        for part in parts:
            label = _slug(part[0]) if per_class else "all"
            what = ", ".join([f"seed {seed}", *part[: int(per_class)], *([f"{shots} shots"] if shots else [])])
            folders = {name: Path(out, "fits", str(seed), label, _folder(name, shots)) for name in runs}
            rows = {name: _placed(row, runs[name], seed, part, folders[name]) for name, row in entries.items()}
            _fit_all(rows, limit_shots(images, first, part), base, store, what, workers, watch)
            for name, row in rows.items():
                results.add_fit(f"{name}/{seed}/{label}", row)
            evaluation = SharedEvaluation(images.held_out, part, prompt, refine, regions)
            report = None if watch is None else partial(_evaluating, watch, what)
            for name, scores in evaluation.scores(rows, base, store, Path(out, "scores"), report).items():
                joined.setdefault(name, []).append(scores)
            results.add_undetected(evaluation.undetected(rows))
        results.add_scores(joined, seed)
    return Comparison(
        scores={name: tuple(scores) for name, scores in results.scores.items()},
        seeds=tuple(seeds),
        folders=results.folders,
        held_out=results.held_out,
        methods={name: config.method for name, config in runs.items()},
        costs=results.costs,
        regions=regions,
        shots=shots if shots is not None else first.shots,
        weights={name: row.weights for name, row in entries.items() if row.weights is not None},
        undetected=results.undetected,
        kept=results.kept,
    )


def compare_shots(
    runs: Mapping[str, FitConfig],
    out: Path,
    base: Base,
    samples: Sequence[Sample],
    held_out: Sequence[Sample] | None = None,
    *,
    shots: Sequence[int],
    **options: Any,
) -> list[Comparison]:
    """`compare` for several numbers of shots. Per seed the images are the same, and smaller sets of shots are subsets.

    Args:
        runs, out, base, samples, held_out: see `compare`.
        shots: numbers of shots in rising order.
        options: further arguments of `compare`.

    Raises:
        InputError: see `compare`; numbers of shots that do not rise.
    """
    if not shots or list(shots) != sorted(set(shots)):
        raise InputError(f"Expected rising numbers of shots, got {', '.join(map(str, shots)) or 'none'}.")
    options["classes"] = list(options.get("classes") or class_names(samples))
    first = few_shot_config(_settled(next(iter(runs.values()), FitConfig()), base), shots[0])

    @cache  # the search for near-duplicates reads every image
    def splits(seed: int) -> SeedSplit:
        return split_for_seed(samples, first, seed, options["classes"], held_out)

    return [compare(runs, out, base, samples, held_out, shots=count, splits=splits, **options) for count in shots]


class _Results:
    """Results collected over seeds and classes."""

    def __init__(self) -> None:
        self.scores: dict[str, list[Evaluation]] = {}
        self.folders: dict[str, Path | None] = {}
        self.costs: dict[str, Cost | None] = {}
        self.undetected: dict[str, int] = {}
        self.kept: dict[str, int | None] = {}
        self.held_out: dict[int, tuple[str, ...]] = {}

    def add_fit(self, key: str, row: Entry) -> None:
        self.folders[key] = row.folder
        if row.folder:
            self.costs[key], self.kept[key] = Cost.read(row.folder), row.kept_step

    def add_undetected(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.undetected[name] = self.undetected.get(name, 0) + count

    def add_scores(self, joined: Mapping[str, Sequence[Evaluation]], seed: int) -> None:
        for name, parts in joined.items():
            rows = tuple(row for part in parts for row in part.rows)
            self.scores.setdefault(name, []).append(Evaluation(rows, parts[0].prompt, seed))


def _settled(config: FitConfig, base: Base) -> FitConfig:
    """The settings with those of the preset; the base of a preset gives way to the one that is loaded."""
    return with_preset(config if "base" in config.model_fields_set else with_settings(config, base=base.name))


def _placed(row: Entry, config: FitConfig, seed: int, classes: Sequence[str], out: Path) -> Entry:
    placed = with_settings(config, seed=seed, out=out, classes=tuple(classes))
    return replace(row, config=resolve(placed) if row.kind == "methods" else placed)


def _fit_all(
    rows: Mapping[str, Entry],
    images: SeedSplit,
    base: Base,
    store: EmbeddingCache | None,
    what: str,
    workers: int,
    watch: Watch | None,
) -> None:
    """Fit all entries that have trained parameters and are not finished."""
    learning = {name: row for name, row in rows.items() if row.learns}
    waiting = [name for name, row in learning.items() if not row.finished]
    if workers > 1 and len(waiting) > 1 and store is not None:
        jobs = {f"{name}, {what}": Job(learning[name], images.samples, images.split) for name in waiting}
        wanted = _to_encode(images, learning[waiting[0]].config.classes)
        if wanted and not store.room(base, len(wanted)).fits:
            wanted = []  # each fit encodes the part that it trains on
        parallel_fits(jobs, store, images=wanted, workers=workers, watch=watch)
    for name, row in learning.items():
        report = None if watch is None else partial(watch, f"{name}, {what}")
        fit_entry(row, images.samples, images.split, base, store, progress=report)


def _to_encode(images: SeedSplit, classes: Sequence[str] | None) -> list[Sample]:
    """Images that all fits and the evaluation need."""
    parts = [images.split.pick(images.samples, part) for part in ("train", "val")]
    return [sample for part in (*parts, images.held_out) for sample in part if sample.of(classes)]


def _evaluating(watch: Watch, what: str, done: int, total: int) -> None:
    watch(f"evaluation, {what}", Progress("evaluate", done, total))


def _folder(name: str, shots: int | None) -> str:
    return _slug(name) if shots is None else f"{_slug(name)}-{shots}shots"


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


__all__ = ["Watch", "compare", "compare_shots", "variants"]
