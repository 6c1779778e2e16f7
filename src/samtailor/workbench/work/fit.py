"""Fit an adapter on accepted images, judge it on held-out ones, teach it where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import UNTOUCHED
from samtailor.data.image import write_json
from samtailor.data.regions import regions
from samtailor.data.split import Split, split
from samtailor.errors import DataError, SamtailorError
from samtailor.fitting import fit
from samtailor.fitting.proposals import fit_proposals, plan_tiles
from samtailor.predict import auto as automatic
from samtailor.proposals import disk
from samtailor.serve import images as reading
from samtailor.serve.limits import Limits
from samtailor.structures import Annotation, Sample
from samtailor.train.config import FitConfig, load
from samtailor.workbench.gallery import FILE, gallery

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.train.progress import Progress
    from samtailor.workbench.worker import Line

_VIEWS, _NEGATIVES = 4, 64  # as `samtailor propose-fit`
_FEW = 16  # images below which an adapter's own map proposes, see docs/research/tailor.md


def run(job: Mapping[str, Any], line: Line) -> None:
    """Leaves a whole adapter in job["out"], with its gallery; started again it goes on where it was.

    Raises:
        SamtailorError: it cannot be fitted. Interrupted, Stop: on request, after saving.
    """
    line.progress(stage="start", done=0, total=1)
    out, names = Path(job["out"]), tuple(job["classes"])
    base = load_on(job["base"], job["device"])
    store, samples = EmbeddingCache(job["cache"]), read_samples(job)
    config = load(None, {**job["settings"], "out": out, "base": job["base"], "classes": names, "trackers": ()})
    dealt, notice = _dealt(samples, names, config, out)
    told = _Told(line)
    made = fit(
        config, samples=samples, base=base, split=dealt, store=store, resume=True,
        progress=told, stop=line.stop.is_set,
    )  # fmt: skip
    line.check()
    held = Split.read(out / artefact.SPLIT).pick(samples, "val")
    if not (out / FILE).exists():
        line.progress(stage="gallery", done=0, total=1)
        write_json(out / FILE, gallery(base, out, held, names, store, job["names"]))
    line.check()
    notice = notice or _unseen(held, names)
    if job["proposals"] and not disk.exists(out):
        how = {"seed": config.seed, "steps": job["proposal_steps"]}
        missing = _propose(base, out, samples, names, store, how, line)
        notice = " ".join(text for text in (notice, missing) if text) or None
    line.tell(done={"figures": made.figures, "message": notice})


def read_samples(job: Mapping[str, Any]) -> list[Sample]:
    """The accepted images as they were when the fit began; ids are those of the project."""
    root, limits = Path(job["images"]), Limits(**job["limits"])
    return [_sample(root / one["file"], limits, one) for one in job["samples"]]


def _sample(path: Path, limits: Limits, one: Mapping[str, Any]) -> Sample:
    def image() -> Any:
        try:
            return reading.read(path.read_bytes(), limits, one["file"])
        except OSError as error:
            raise DataError(f"{path} cannot be read any more ({error.strerror}).") from error

    def annotations() -> list[Annotation]:
        rows = ((o["class"], {**o["rle"], "counts": o["rle"]["counts"].encode("ascii")}) for o in one["objects"])
        return [Annotation(label, rle) for label, rle in rows]

    return Sample(one["id"], image, annotations, source=path)


def _dealt(
    samples: Sequence[Sample], names: tuple[str, ...], config: FitConfig, out: Path
) -> tuple[Split | None, str | None]:
    """The split, and what the user is to know of it: images that are all alike leave nothing to hold out."""
    if (out / artefact.SPLIT).exists():  # of the fit that goes on
        return None, None
    try:
        return split(samples, val=config.val, test=0, seed=config.seed, classes=names), None
    except DataError as error:
        alone = split(samples, val=0, test=0, seed=config.seed, classes=names)
        return alone, f"No image was held out, so nobody knows how good the adapter is: {error}"


def _unseen(held: Sequence[Sample], names: tuple[str, ...]) -> str | None:
    """That the figures leave some classes out: of few images one may be held out, with one class on."""
    missing = [name for name in names if not any(sample.of([name]) for sample in held)]
    if not held or not missing:
        return None
    return f"The figures say nothing about {' and '.join(missing)}: on no held-out image is there one."


class _Told:
    """Progress of the fit to the line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._start: float | None = None

    def __call__(self, at: Progress) -> None:
        if at.stage == "encode":
            self._line.check()  # nothing is lost: embeddings are kept
        if self._start is None:
            self._start = at.miou
        self._line.progress(
            stage=at.stage, done=at.done, total=at.total, loss=at.loss, miou=at.miou, start_miou=self._start,
            images_per_second=at.images_per_second, seconds_left=at.seconds_left,
        )  # fmt: skip


def _propose(
    base: Base,
    out: Path,
    samples: Sequence[Sample],
    names: Sequence[str],
    store: EmbeddingCache,
    how: Mapping[str, int],
    line: Line,
) -> str | None:
    """Proposals from all accepted images (their calibration is cross-fitted); or why there are none."""
    meta, fitted = artefact.read_meta(out), artefact.load(out, base).segmenter
    if fitted.by_itself or not fitted.encoder_frozen:
        return None  # it needs none, or does not look at the base's embedding
    if fitted.promptless and sum(bool(sample.of(names)) for sample in samples) < _FEW:
        return None  # the parts of its map are found better than what so few images teach a head
    seen = regions(samples, names) if meta.inference.regions else list(samples)
    chosen = [s for s in seen if s.of(names)] + [s for s in seen if not s.of(names)][:_NEGATIVES]
    tiles, augment = plan_tiles(chosen, names, base, views=_VIEWS)
    views = [augment.draw(sample, i) if i else UNTOUCHED for sample in chosen for i in range(_VIEWS)]

    def told(done: int, total: int) -> None:
        line.check()
        line.progress(stage="proposals", done=done, total=total)

    try:
        store.prepare(base, [sample for sample in chosen for _ in range(_VIEWS)], views, progress=told)
        give = automatic.prompt_type_of(meta.inference.prompt)
        fit_proposals(base, chosen, names, store, augment=augment, give=give, tiles=tiles, progress=told, **how).save(
            out
        )
    except SamtailorError as error:  # the adapter answers clicks all the same
        return f"It answers clicks, but cannot label by itself: {error}"
    return None


__all__ = ["read_samples", "run"]
