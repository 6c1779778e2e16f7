"""Fit an adapter on accepted images, evaluate it on held-out images, and fit its proposals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import UNTOUCHED
from samtailor.data.image import write_json
from samtailor.data.regions import regions
from samtailor.data.split import ALIKE, Split, split
from samtailor.errors import DataError, SamtailorError
from samtailor.evaluation.instance_gate import gate_instances
from samtailor.fitting import by_contest, fit
from samtailor.fitting.contest.fingerprint import TOUCHING
from samtailor.fitting.folder import CHECKPOINT
from samtailor.fitting.gate import MIN_OBJECTS, gate_of
from samtailor.fitting.gate_words import sentences
from samtailor.fitting.proposals import fit_proposals, plan_tiles
from samtailor.masks.rle import from_json
from samtailor.predict import auto as automatic
from samtailor.proposals import disk
from samtailor.serve.limits import Limits
from samtailor.structures import Annotation, Sample
from samtailor.train.config import FitConfig, load
from samtailor.train.interrupt import Interrupted
from samtailor.workbench.gallery import FILE, gallery
from samtailor.workbench.images import image_of_row
from samtailor.workbench.work.contest import fit_by_contest

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.fitting.result import FitResult
    from samtailor.train.progress import Progress
    from samtailor.workbench.worker import Channel

_VIEWS, _NEGATIVES = 4, 64  # the defaults of `samtailor propose-fit`
_KEPT = "The fit was ended on request; this is its best result so far. No proposals were fitted."
_MIN_IMAGES = 16  # with fewer images the map of the adapter gives better proposals, see docs/research/tailor.md


def run(job: Mapping[str, Any], channel: Channel) -> None:
    """Write an adapter with its gallery to job["out"]. A fit that was stopped is continued.

    If the best result so far is requested, training ends and what follows it is kept short.

    Raises:
        SamtailorError: the fit is not possible. Interrupted, Stop: on request, after saving.
    """
    channel.progress(stage="start", done=0, total=1)
    out, names = Path(job["out"]), tuple(job["classes"])
    base = load_on(job["base"], job["device"])
    store, samples = EmbeddingCache(job["cache"]), read_samples(job)
    fixed = {"out": out, "base": job["base"], "classes": names, "present": job.get("present"), "trackers": ()}
    config = load(None, {**job["settings"], **fixed})
    if by_contest(config):
        done = fit_by_contest(config, job, samples, read_waiting(job), base, store, channel)
        if not channel.keep.is_set() and job["proposals"]:
            missing = _propose_touching(base, out, samples, store, _proposing(config, job), channel)
            done["message"] = " ".join(text for text in (done["message"], missing) if text) or None
        channel.send(done=done)
        return
    parts, notice = _split(samples, names, config, out)
    val = (Split.read(out / artefact.SPLIT) if parts is None else parts).pick(samples, "val")
    judged = sum(len(sample.of(names)) for sample in val)
    fitting = {"samples": samples, "base": base, "split": parts, "store": store, "resume": True}
    fitting["progress"] = _FitProgress(channel, judged >= MIN_OBJECTS, out)
    result = _fit(config, out, fitting, channel)
    channel.check_stop()
    held_out = val
    if not (out / FILE).exists():
        report = _reporter(channel, "gallery")
        channel.progress(stage="gallery", done=0, total=max(len(held_out), 1))
        write_json(out / FILE, gallery(base, out, held_out, names, store, job["names"], report))
    channel.check_stop()
    gate = gate_of(result.figures)
    notice = notice or _classes_not_held_out(held_out, names)
    if channel.keep.is_set():
        notice = " ".join(text for text in (_KEPT, notice) if text)
    elif job["proposals"] and not disk.exists(out):
        missing = _propose(base, out, samples, names, store, _proposing(config, job), channel)
        notice = " ".join(text for text in (notice, missing) if text) or None
    if disk.exists(out) and gate_instances(base, out, held_out, names, store) is not None:
        gate = gate_of(artefact.read_meta(out).figures)
    channel.send(
        done={
            "figures": result.figures,
            "held_out_images": len(held_out),
            "held_out_objects": judged,
            "comparison": [] if gate is None else sentences(gate, result.inference.strength),
            "replaces": None if gate is None else gate.replaces,
            "next_images": [],
            "message": notice,
        }
    )


def _fit(config: FitConfig, out: Path, fitting: dict[str, Any], channel: Channel) -> FitResult:
    """The fit, or its best state so far if that is requested.

    Raises:
        Interrupted: stopped, or there is no state to keep yet.
    """
    try:
        return fit(config, **fitting, stop=lambda: channel.stop.is_set() or channel.keep.is_set())
    except Interrupted:
        if channel.stop.is_set() or not begun(out):
            raise
    fitting["split"] = None  # that of the folder
    return fit(config, **fitting, stop=channel.stop.is_set, finish=True)


def begun(out: Path) -> bool:
    """Whether a fit has a state that can be kept."""
    return any((out / file).exists() for file in (CHECKPOINT, artefact.METADATA))


def read_samples(job: Mapping[str, Any]) -> list[Sample]:
    """The accepted images as they were when the fit started, with the ids of the project."""
    root, limits = Path(job["images"]), Limits(**job["limits"])
    return [_sample(root, limits, row) for row in job["samples"]]


def read_waiting(job: Mapping[str, Any]) -> list[Sample]:
    """Images without annotations, among which a contest looks for the next one to mark."""
    root, limits = Path(job["images"]), Limits(**job["limits"])
    return [_sample(root, limits, {**row, "objects": []}) for row in job.get("waiting", ())]


def _proposing(config: FitConfig, job: Mapping[str, Any]) -> dict[str, int]:
    return {"seed": config.seed, "steps": job["proposal_steps"]}


def _sample(root: Path, limits: Limits, row: Mapping[str, Any]) -> Sample:
    """One image, which processes can get. The pages of a stack, which are alike, are a group: a split does not divide
    them.
    """
    image, annotations = partial(image_of_row, root, row, limits), partial(_annotations, row)
    if row.get("pages", 1) > 1:
        return Sample(row["id"], image, annotations, group=row["file"])
    return Sample(row["id"], image, annotations, source=root / row["file"])


def _annotations(row: Mapping[str, Any]) -> list[Annotation]:
    return [Annotation(one["class"], from_json(one["rle"])) for one in row["objects"]]


def _split(
    samples: Sequence[Sample], names: tuple[str, ...], config: FitConfig, out: Path
) -> tuple[Split | None, str | None]:
    """The split, and a note for the user if no image can be held out, or only near-duplicates of training images."""
    if (out / artefact.SPLIT).exists():  # the fit is continued with its split
        return None, None
    try:
        made = split(samples, val=config.val, test=0, seed=config.seed, classes=names)
        return made, ALIKE if ALIKE in made.notices else None
    except DataError as error:
        without = split(samples, val=0, test=0, seed=config.seed, classes=names)
        return without, f"No image was held out, so the quality of the adapter is unknown. {error}"


def _classes_not_held_out(held_out: Sequence[Sample], names: tuple[str, ...]) -> str | None:
    """A note if some classes have no held-out object, which is common with few images."""
    missing = [name for name in names if not any(sample.of([name]) for sample in held_out)]
    if not held_out or not missing:
        return None
    return f"The scores do not cover {' and '.join(missing)}: no held-out image has such an object."


class _NotFinished(Exception):
    """The best result so far was requested while proposals were being fitted."""


class _FitProgress:
    """Reports the progress of the fit; scores only if they are of enough objects."""

    def __init__(self, channel: Channel, enough: bool, out: Path) -> None:
        self._channel, self._enough, self._out = channel, enough, out
        self._start_miou: float | None = None

    def __call__(self, at: Progress) -> None:
        if at.stage == "encode":
            # nothing is lost by a stop, since embeddings are cached; without a checkpoint there is nothing to keep
            self._channel.check_stop(keep=not begun(self._out))
        if self._start_miou is None:
            self._start_miou = at.miou
        scores = {"miou": at.miou, "start_miou": self._start_miou} if self._enough else {}
        self._channel.progress(
            stage=at.stage, part=at.name, done=at.done, total=at.total, loss=at.loss,
            images_per_second=at.images_per_second, seconds_left=at.seconds_left, **scores,
        )  # fmt: skip


def _reporter(channel: Channel, stage: str) -> Callable[[int, int], None]:
    """A progress callback (done, total) that also stops the job on request."""

    def report(done: int, total: int) -> None:
        channel.check_stop()
        if channel.keep.is_set() and stage == "proposals":
            raise _NotFinished
        channel.progress(stage=stage, done=done, total=total)

    return report


def _propose_touching(
    base: Base,
    out: Path,
    samples: Sequence[Sample],
    store: EmbeddingCache,
    settings: Mapping[str, int],
    channel: Channel,
) -> str | None:
    """Proposals for the adapters of a contest whose objects often touch; parts of the map are single objects else.

    Where the contest had the time to compare both, it has decided.
    """
    notes = []
    for folder in map(Path, artefact.members(out).values()):
        meta = artefact.read_meta(folder)
        contest = meta.figures.get("contest", {})
        compared = contest.get("instances", {}).get("chosen")
        if contest.get("touching", 0.0) >= TOUCHING and not compared and not disk.exists(folder):
            notes.append(_propose(base, folder, samples, meta.classes, store, settings, channel))
    return " ".join(note for note in notes if note) or None


def _propose(
    base: Base,
    out: Path,
    samples: Sequence[Sample],
    names: Sequence[str],
    store: EmbeddingCache,
    settings: Mapping[str, int],
    channel: Channel,
) -> str | None:
    """Fit proposals on all accepted images; their calibration is cross-fitted. Returns a note if that is impossible."""
    meta, fitted = artefact.read_meta(out), artefact.load(out, base).segmenter
    if fitted.by_itself or not fitted.encoder_frozen:
        return None  # proposals are not needed, or cannot use the embedding of the base model
    if fitted.promptless and sum(bool(sample.of(names)) for sample in samples) < _MIN_IMAGES:
        return None  # parts of the map are better proposals than those of a head fitted on so few images
    targets = regions(samples, names) if meta.inference.regions else list(samples)
    chosen = [s for s in targets if s.of(names)] + [s for s in targets if not s.of(names)][:_NEGATIVES]
    tiles, augment = plan_tiles(chosen, names, base, views=_VIEWS)
    views = [augment.draw(sample, i) if i else UNTOUCHED for sample in chosen for i in range(_VIEWS)]

    try:
        repeated = [sample for sample in chosen for _ in range(_VIEWS)]
        store.prepare(base, repeated, views, fitted.companions, progress=_reporter(channel, "encode"))
        give = automatic.prompt_type_of(meta.inference.prompt)
        report = _reporter(channel, "proposals")
        fit_proposals(
            base, chosen, names, store, augment=augment, give=give, tiles=tiles, companion=fitted.companion,
            progress=report, **settings,
        ).save(out)  # fmt: skip
    except _NotFinished:
        return _KEPT
    except SamtailorError as error:  # the adapter works with prompts all the same
        return f"The adapter works with clicks and boxes, but not in automatic mode. {error}"
    return None


__all__ = ["read_samples", "run"]
