"""Fit every method with every seed on the same images, and evaluate all of them on the same masks.

Every fit has its own folder and is not repeated when the comparison is started again. An interrupted fit is resumed,
and stored scores are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from samtailor.fitting.engines import chosen
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
        workers: number of parallel fits, of all seeds, each in a worker that loads the base by its name (see
            `parallel_fits`).
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
    jobs = _Jobs(base, store, workers, watch)
    todo: list[tuple[int, SeedSplit, list[_Part]]] = []
    for seed in seeds:
        images = splits(seed) if splits else split_for_seed(samples, first, seed, classes, held_out)
        placed: list[_Part] = []
        for part in parts:
            label = _slug(part[0]) if per_class else "all"
            what = ", ".join([f"seed {seed}", *part[: int(per_class)], *([f"{shots} shots"] if shots else [])])
            folders = {name: Path(out, "fits", str(seed), label, _folder(name, shots)) for name in runs}
            rows = {name: _placed(row, runs[name], seed, part, folders[name]) for name, row in entries.items()}
            placed.append(_Part(part, label, what, rows, limit_shots(images, first, part)))
        todo.append((seed, images, placed))
    jobs.run([part for _, _, placed in todo for part in placed])
    for seed, images, placed in todo:
        results.held_out[seed] = tuple(sample.id for sample in images.held_out)
        joined: dict[str, list[Evaluation]] = {}
        for one in placed:
            jobs.finish(one)
            for name, row in one.rows.items():
                results.add_fit(f"{name}/{seed}/{one.label}", row)
            evaluation = SharedEvaluation(images.held_out, one.classes, prompt, refine, regions)
            report = None if watch is None else partial(_evaluating, watch, one.what)
            for name, scores in evaluation.scores(one.rows, base, store, Path(out, "scores"), report).items():
                joined.setdefault(name, []).append(scores)
            results.add_undetected(evaluation.undetected(one.rows))
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


@dataclass(frozen=True)
class _Part:
    """The fits of one seed and one group of classes, which are evaluated together."""

    classes: Sequence[str]
    label: str
    what: str
    rows: Mapping[str, Entry]
    images: SeedSplit

    def learning(self) -> dict[str, Entry]:
        """Entries with trained parameters."""
        return {name: row for name, row in self.rows.items() if row.learns}


@dataclass(frozen=True)
class _Jobs:
    """The fits of a comparison."""

    base: Base
    store: EmbeddingCache | None
    workers: int
    watch: Watch | None

    def run(self, parts: Sequence[_Part]) -> None:
        """Run the fits of all seeds and classes that are not finished in workers, if there are any."""
        jobs: dict[str, Job] = {}
        wanted: dict[int, Sample] = {}
        for part in parts:
            for name, row in part.learning().items():
                if not row.finished:
                    jobs[f"{name}, {part.what}"] = Job(row, part.images.samples, part.images.split)
                    wanted |= {id(one): one for one in _to_encode(part.images, row.config.classes)}
        if self.store is None or not jobs or (chosen() is None and (self.workers < 2 or len(jobs) < 2)):
            return
        if wanted and not self.store.room(self.base, len(wanted)).fits:
            wanted = {}  # each fit encodes the part that it trains on
        parallel_fits(jobs, self.store, images=list(wanted.values()), workers=self.workers, watch=self.watch)

    def finish(self, part: _Part) -> None:
        """Run the fits of a part that are not finished, and check that the finished ones are fits to these images."""
        for name, row in part.learning().items():
            report = None if self.watch is None else partial(self.watch, f"{name}, {part.what}")
            fit_entry(row, part.images.samples, part.images.split, self.base, self.store, progress=report)


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
