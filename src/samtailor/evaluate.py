"""Data x segmenters to a table of one row per mask, by SAM's single-point protocol (SAM paper 7.1, App. D.1).

One prompt a mask; the answer is the candidate with the highest predicted IoU ("default"), and beside it the best
candidate by the truth ("oracle"). Both are cut at logit 0 after resizing to the picture's own size.
Several segmenters are evaluated in one pass: same embedding, same clicks, so that differences are paired.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch

from samtailor import metrics
from samtailor.bases import Base
from samtailor.config import load
from samtailor.data.regions import regions as joined
from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.options import options
from samtailor.predict import Predictor
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.types import Annotation, Output, Prompts, Sample, Score

if TYPE_CHECKING:
    from samtailor.embeddings import EmbeddingStore

PROTOCOL = "mask-center"
PROMPTS_AT_ONCE = 32
_LOGITS_AT_ONCE = 48_000_000  # float32 logits of candidates at the picture's size, about 200 MB
REFINED = " + refinement"
"""Ending of the name under which `refine=True` reports a segmenter's test-time refined masks."""

_FIGURES = {
    "miou": "iou",
    "oracle_miou": "oracle_iou",
    "dice": "dice",
    "oracle_dice": "oracle_dice",
    "boundary_iou": "boundary_iou",
    "paper": "paper_dice",
}


@dataclass(frozen=True)
class Evaluation:
    """Scores of one segmenter.

    Args:
        rows: one a mask, in the order of the samples.
        prompt: name of the prompt source.
        seed: of the clicks and of the bootstrap.
    """

    rows: tuple[Score, ...]
    prompt: str
    seed: int

    def values(self, figure: str) -> np.ndarray:
        """float64 (masks,) of a figure: miou, oracle_miou, dice, oracle_dice, boundary_iou, paper.

        Empty where a row of an earlier version does not have it.
        """
        if figure not in _FIGURES:
            raise InputError(f"No figure is called {figure!r}. Known: {', '.join(_FIGURES)}.")
        found = [getattr(row, _FIGURES[figure]) for row in self.rows]
        return np.array([] if None in found else found, dtype=np.float64)

    def summary(self, draws: int = 1000) -> dict[str, Any]:
        """Figures in 0..1 with 95 % intervals.

        Returns:
            `miou`, `oracle_miou`, `dice`, `oracle_dice`, `boundary_iou` and `paper` (Dice on the papers' 64 x 64 grid,
            see `metrics.paper_dice`; means over masks), each with its
            `..._interval` [low, high] from a bootstrap over groups; `macro_...` the unweighted mean over classes
            of the first three, with intervals; counts `masks`, `pictures`, `groups`; and `classes`: the same per
            class. An evaluation without masks has None for figures.
        """
        classes = {name: self.of(name).figures(draws) for name in self.labels}
        return {**self.figures(draws), **self._macro(draws), "classes": classes}

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes that occur, in order of appearance."""
        return tuple(dict.fromkeys(row.label for row in self.rows))

    def of(self, label: str) -> Evaluation:
        """Only the rows of one class."""
        return Evaluation(tuple(row for row in self.rows if row.label == label), self.prompt, self.seed)

    def table(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries, for JSON."""
        return [asdict(row) for row in self.rows]

    def figures(self, draws: int = 1000) -> dict[str, Any]:
        """The part of `summary` that is not about classes."""
        out: dict[str, Any] = {}
        for name in _FIGURES:
            out[name], out[f"{name}_interval"] = interval(self.values(name), self._groups(), self.seed, draws)
        pictures = len({row.id for row in self.rows})
        return {**out, "masks": len(self.rows), "pictures": pictures, "groups": len(set(self._groups()))}

    def _groups(self) -> list[str]:
        return [row.group or row.id for row in self.rows]

    def _macro(self, draws: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        labels = [row.label for row in self.rows]
        for name in ("miou", "oracle_miou", "dice"):
            found = interval(self.values(name), self._groups(), self.seed, draws, labels)
            out[f"macro_{name}"], out[f"macro_{name}_interval"] = found
        return out


def difference(after: Evaluation, before: Evaluation, draws: int = 1000) -> dict[str, Any]:
    """Paired differences, after minus before, of two evaluations on the same masks and clicks.

    Returns:
        per figure its mean difference and `..._interval` (bootstrap of the differences over groups), and `better`,
        the share of masks whose IoU rose.

    Raises:
        InputError: the evaluations do not cover the same masks.
    """
    keys = [[(row.id, row.label, row.index) for row in e.rows] for e in (after, before)]
    if keys[0] != keys[1]:
        raise InputError("Paired differences need two evaluations of the same masks in the same order.")
    out: dict[str, Any] = {}
    for name in _FIGURES:
        one, other = after.values(name), before.values(name)
        change = one - other if len(one) == len(other) else np.empty(0)
        out[name], out[f"{name}_interval"] = interval(change, after._groups(), after.seed, draws)
    rose = after.values("miou") > before.values("miou")
    return {**out, "better": float(rose.mean()) if len(rose) else None}


def evaluate(segmenter: Segmenter | Base, samples: Sequence[Sample], **asked: Any) -> Evaluation:
    """Evaluate one segmenter, or a base alone; keyword arguments as in `evaluate_many`."""
    return evaluate_many({"it": segmenter}, samples, **asked)["it"]


def evaluate_many(
    segmenters: Mapping[str, Segmenter | Base],
    samples: Sequence[Sample],
    *,
    classes: Sequence[str] | None = None,
    prompt: str | Callable[..., Prompts] | None = None,
    store: EmbeddingStore | None = None,
    seed: int = 0,
    refine: bool = False,
    regions: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate several segmenters on the same pictures and clicks in one pass, one encoder pass a picture.

    Args:
        segmenters: name to segmenter, or to the base itself; all on one base object.
        samples: pictures; only their embeddings and one picture at a time are in memory.
        classes: only masks of these; None takes all.
        prompt: a prompt source's name ("mask-center" is the protocol, "sampled-click", "mask-box"), or the source;
            None asks each segmenter with its own (`Segmenter.prompt`: no prompt for BLO-SAM, a box for AM-SAM; for
            regions none where it is `promptless`), and "mask-center" where it has none.
        store: embeddings on disk, shared with `fit`.
        seed: of random clicks (drawn per mask: independent of order and of what else is evaluated) and bootstrap.
        regions: the truth is one region a picture and class, not single objects; None: where any of the segmenters
            answers so, for all of them, so that all are judged on the same masks.
        refine: report test-time refined masks of segmenters that have a PMM as well, as NAME + `REFINED`.
        progress: called with (pictures done, pictures in all).

    Raises:
        InputError: segmenters on different bases, an unknown prompt source, or no mask at all to evaluate.
    """
    predictor, names = _predictor(segmenters, store)
    if regions is None:
        regions = any(getattr(s, "regions", False) for s in segmenters.values())
    sources = {name: _asked_with(segmenter, prompt, regions) for name, segmenter in segmenters.items()}
    samples = joined(samples, classes) if regions else samples
    refiners = {n: s for n, s in segmenters.items() if refine and isinstance(s, Segmenter) and "pmm" in s.training_only}
    rows: dict[str, list[Score]] = {name: [] for name in [*segmenters, *(n + REFINED for n in refiners)]}
    for done, sample in enumerate(samples):
        targets = sample.of(classes)
        if targets:
            predictor.set_sample(sample)
        for first, last in _chunks(predictor, targets):
            truths = [a.mask for a in targets[first:last]]
            asked = {
                label: _join([prompts_for(sample, targets, index, source, seed) for index in range(first, last)])
                for label, source in dict(sources.values()).items()
            }
            for name, adapter in names.items():
                output = predictor.decode(asked[sources[name][0]], adapter)
                score = _Scorer(sample, targets, first, truths, output)
                rows[name] += score.rows(_masks(predictor, output))
                if name in refiners:
                    rows[name + REFINED] += score.rows(_refined(predictor, refiners[name], output))
        if progress:
            progress(done + 1, len(samples))
    if not any(rows.values()):
        wanted = "any class" if classes is None else ", ".join(classes)
        raise InputError(f"There is no mask to evaluate: {len(samples)} pictures, none has a mask of {wanted}.")
    labels = {name: label.split("\0")[0] for name, (label, _) in sources.items()}
    labels |= {name + REFINED: label for name, label in labels.items()}
    return {name: Evaluation(tuple(found), labels[name], seed) for name, found in rows.items()}


def unseen(samples: Sequence[Sample], folder: Path, data: Path) -> tuple[list[Sample], list[str]]:
    """Leave out the pictures that an adapter was fitted on, if it was fitted on this data set.

    Args:
        samples: of the data set.
        folder: of the adapter; config.yaml tells its data set, split.json its pictures.
        data: folder of the data set.

    Returns:
        the samples that it was not trained on (those that chose its best state stay in), and the ids left out.
    """
    config, file = folder / "config.yaml", folder / "split.json"
    if not config.is_file() or not file.is_file():
        return list(samples), []
    fitted_on = load(config).data
    if fitted_on is None or fitted_on.resolve() != Path(data).resolve():
        return list(samples), []
    seen = set(Split.read(file).train)
    left = [sample for sample in samples if sample.id not in seen]
    return left, [sample.id for sample in samples if sample.id in seen]


def interval(
    values: np.ndarray, groups: Sequence[str], seed: int, draws: int = 1000, classes: Sequence[str] | None = None
) -> tuple[float | None, list[float] | None]:
    """Mean and [low, high] of its 95 % interval by cluster bootstrap; with `classes` of the unweighted mean over them.

    The interval is None with fewer than two groups, where nothing can be said; both are None without values.
    """
    if len(values) == 0:
        return None, None
    mean, low, high = metrics.bootstrap(values, groups, seed, draws, classes=classes)
    return mean, None if math.isnan(low) else [low, high]


def _predictor(
    segmenters: Mapping[str, Segmenter | Base], store: EmbeddingStore | None
) -> tuple[Predictor, dict[str, str | None]]:
    if not segmenters:
        raise InputError("evaluate needs at least one segmenter.")
    bases = [s.base if isinstance(s, Segmenter) else s for s in segmenters.values()]
    predictor = Predictor(bases[0], store=store)
    names: dict[str, str | None] = {}
    for (name, segmenter), base in zip(segmenters.items(), bases, strict=True):
        if base is not bases[0]:
            raise InputError(f"{name!r} stands on another base object than {next(iter(segmenters))!r}; load one base.")
        names[name] = name if isinstance(segmenter, Segmenter) else None
        if isinstance(segmenter, Segmenter):
            predictor.add_adapter(name, segmenter)
    return predictor, names


def _asked_with(
    segmenter: Segmenter | Base, prompt: str | Callable[..., Prompts] | None, regions: bool
) -> tuple[str, Callable[..., Prompts]]:
    """(label, source) of the prompts for a segmenter; equal labels are equal sources, asked once.

    For regions nobody has to click where the segmenter finds them alone.
    """
    if prompt is None and regions and isinstance(segmenter, Segmenter) and segmenter.promptless:
        return "none", _source("none")
    if prompt is None and isinstance(segmenter, Segmenter) and segmenter.prompt is not None:
        options = segmenter.prompt_options
        label = segmenter.prompt + (f"\0{sorted(options.items())!r}" if options else "")
        return label, find("prompts", segmenter.prompt).build(**options)
    if prompt is None or isinstance(prompt, str):
        return prompt or PROTOCOL, _source(prompt or PROTOCOL)
    return type(prompt).__name__, prompt


def _source(name: str) -> Callable[..., Prompts]:
    build = find("prompts", name).build
    needed = [option for option, default in options(build).items() if default is inspect.Parameter.empty]
    if needed:
        raise InputError(
            f"The prompt source {name!r} needs {', '.join(needed)}: build it and give the source instead of its name."
        )
    return build()


def _chunks(predictor: Predictor, targets: Sequence[Annotation]) -> Iterator[tuple[int, int]]:
    """(first, last) of so many masks as are asked at once: hundreds of them must not exhaust memory."""
    if not targets:
        return
    pixels = max(predictor.frame.height * predictor.frame.width, predictor.base.size**2)
    step = max(1, min(PROMPTS_AT_ONCE, _LOGITS_AT_ONCE // (3 * pixels)))
    for first in range(0, len(targets), step):
        yield first, min(first + step, len(targets))


def prompts_for(
    sample: Sample, targets: Sequence[Annotation], index: int, source: str | Callable[..., Prompts], seed: int
) -> Prompts:
    """The prompt that an evaluation asks for mask `index` of a picture's targets, picture frame."""
    source = _source(source) if isinstance(source, str) else source
    # a generator a mask: the click does not depend on which other masks are evaluated with it
    rng = np.random.default_rng([seed, crc32(sample.id.encode()), index])
    return source(sample, [targets[index].mask], rng)


def _join(parts: Sequence[Prompts]) -> Prompts:
    """Prompts of one picture, joined along P; points are padded with SAM's ignored label to one K."""
    if parts[0].empty:
        return Prompts(frame=parts[0].frame, count=(1, sum(p.shape[1] for p in parts)))
    boxes = None if parts[0].boxes is None else torch.cat([p.boxes for p in parts], dim=1)
    if parts[0].points is None:
        return Prompts(frame=parts[0].frame, boxes=boxes)
    most = max(p.points.shape[2] for p in parts)
    pad = torch.nn.functional.pad
    points = [pad(p.points, (0, 0, 0, most - p.points.shape[2])) for p in parts]
    labels = [pad(p.labels, (0, most - p.labels.shape[2]), value=-10) for p in parts]
    return Prompts(frame=parts[0].frame, points=torch.cat(points, 1), labels=torch.cat(labels, 1), boxes=boxes)


def _masks(predictor: Predictor, output: Output) -> np.ndarray:
    """bool (P, M, height, width): all candidates at the picture's own size."""
    return (predictor.frame.logits(output.candidate_logits()[0]) > 0).cpu().numpy()


def _refined(predictor: Predictor, segmenter: Segmenter, output: Output) -> np.ndarray:
    """The same after PMM's test-time refinement (Kim et al. Fig. 5)."""
    from samtailor.adapters.pmm import refine

    masks, pmm = _masks(predictor, output), segmenter.adapter("pmm")
    refined = [
        [refine(mask, output.keys[0, p], predictor.frame, pmm) for mask in candidates]
        for p, candidates in enumerate(masks)
    ]
    return np.array(refined)


@dataclass(frozen=True)
class _Scorer:
    """Rows of one chunk of masks."""

    sample: Sample
    targets: Sequence[Annotation]
    first: int
    truths: Sequence[np.ndarray]
    output: Output

    def rows(self, masks: np.ndarray) -> list[Score]:
        scores = self.output.candidate_iou()[0].float().cpu().numpy()
        return [self._row(p, masks[p], truth, scores[p]) for p, truth in enumerate(self.truths)]

    def _row(self, p: int, candidates: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> Score:
        chosen = int(predicted.argmax())
        ious = [metrics.iou(mask, truth) for mask in candidates]
        best = int(np.argmax(ious))
        target = self.targets[self.first + p]
        return Score(
            id=self.sample.id,
            label=target.label,
            index=self.first + p,
            iou=float(ious[chosen]),
            oracle_iou=float(ious[best]),
            dice=float(metrics.dice(candidates[chosen], truth)),
            oracle_dice=float(metrics.dice(candidates[best], truth)),
            boundary_iou=float(metrics.boundary_iou(candidates[chosen], truth)),
            predicted_iou=float(predicted[chosen]),
            area=target.area,
            group=self.sample.group or self.sample.id,
            paper_dice=float(metrics.paper_dice(candidates[chosen], truth)),
        )


__all__ = [
    "PROMPTS_AT_ONCE",
    "REFINED",
    "Evaluation",
    "difference",
    "evaluate",
    "evaluate_many",
    "interval",
    "prompts_for",
    "unseen",
]
