"""Fit by a contest (method `auto`) on accepted images: several candidates, cross-validated, with a time budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.data.split import Split, split
from samtailor.errors import DataError
from samtailor.fitting import fit
from samtailor.fitting.contest import processes
from samtailor.fitting.contest.budget import total_seconds
from samtailor.fitting.contest.report.class_confusion import confusion_words
from samtailor.fitting.verdict import comparison_of, replaces_of
from samtailor.train.interrupt import Interrupted
from samtailor.workbench.work.contest_gallery import write_gallery

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig
    from samtailor.train.progress import Progress
    from samtailor.workbench.worker import Channel

ENDED_EARLY = "The fit was ended on request; this is its best result so far."
FEW_IMAGES = (
    "The adapter was not compared with the base model: this needs accepted images of at least two groups. Accept more "
    "images with objects and fit again."
)


def fit_by_contest(
    config: FitConfig,
    job: Mapping[str, Any],
    samples: Sequence[Sample],
    waiting: Sequence[Sample],
    base: Base,
    store: EmbeddingCache,
    channel: Channel,
) -> dict[str, Any]:
    """Write the adapter, or one adapter for each class in a folder of its own, and its gallery; the result of the job.

    Args:
        config: settings, with the folder and the classes.
        job: input of the job.
        samples: accepted images.
        waiting: images without annotations, among which the next one to mark is chosen.
        base, store: frozen base and its cached embeddings.
        channel: to the server.

    Raises:
        SamtailorError: the fit is not possible. Interrupted: stopped, or there is no adapter to keep yet.
    """
    out, names = Path(job["out"]), tuple(job["classes"])
    config = _with_processes(config, len(names))
    made = _split(samples, waiting, names, config)
    watch = _Watch(channel, out)
    ended = False
    try:
        fit(config, samples=[*samples, *waiting], base=base, split=made, store=store, resume=True, progress=watch,
            stop=watch.stopped)  # fmt: skip
    except Interrupted:
        if channel.stop.is_set() or not watch.usable():
            raise
        ended = True
    folders = artefact.members(out)
    write_gallery(base, out, folders, [*samples], names, store, job["names"], watch.gallery)
    notes = [ENDED_EARLY] if ended else []
    if missing := [name for name in names if name not in _classes(folders)]:
        notes.append(f"There is no adapter for {' and '.join(missing)} yet. Fit again with more time.")
    if sum(bool(sample.of(names)) for sample in samples) < 2:
        notes.append(FEW_IMAGES)
    metas = {name: artefact.read_meta(folder) for name, folder in folders.items()}
    suggested = [id for meta in metas.values() for id in meta.figures.get("contest", {}).get("suggested", ())]
    unmarked = {sample.id for sample in waiting}
    return {
        "figures": next(iter(metas.values())).figures if len(metas) == 1 else {},
        "held_out_images": None,
        "held_out_objects": None,
        "comparison": _named([*confusion_words(out), *comparison_of(metas)], job["names"]),
        "replaces": replaces_of(metas),
        "next_images": [id for id in dict.fromkeys(suggested) if id in unmarked][:3],
        "message": " ".join(notes) or None,
    }


def _with_processes(config: FitConfig, classes: int) -> FitConfig:
    """The settings with the number of processes: the base of a job has a name that they can load it by."""
    count = processes(config, total_seconds(config.budget, classes) / classes, by_name=True)
    return config.model_copy(update={"options": {**config.options, "workers": count}})


def _split(samples: Sequence[Sample], waiting: Sequence[Sample], names: tuple[str, ...], config: FitConfig) -> Split:
    """All accepted images are fitted on and cross-validated; the waiting ones are not used."""
    unused = tuple(sample.id for sample in waiting)
    try:
        made = split(samples, val=config.val, test=0, seed=config.seed, classes=names)
    except DataError:  # too few images to hold one out
        made = split(samples, val=0, test=0, seed=config.seed, classes=names)
    return replace(made, unused=(*made.unused, *unused))


def _classes(folders: Mapping[str, str]) -> set[str]:
    return {name for folder in folders.values() for name in artefact.read_meta(folder).classes}


def _named(sentences: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Sentences with the names of image files in place of their ids."""
    shown = list(sentences)
    for id, name in names.items():
        shown = [sentence.replace(id, name) for sentence in shown]
    return shown


class _Watch:
    """Reports progress, and each adapter that can be used from now on."""

    def __init__(self, channel: Channel, out: Path) -> None:
        self._channel, self._out, self._announced = channel, out, 0

    def stopped(self) -> bool:
        """Whether the fit should end: a stop was requested, or the best result so far, and there is one."""
        return self._channel.stop.is_set() or (self._channel.keep.is_set() and self.usable())

    def usable(self) -> bool:
        """Whether there is an adapter."""
        return bool(artefact.members(self._out)) if self._out.is_dir() else False

    def __call__(self, at: Progress) -> None:
        self._channel.check_stop()
        self._channel.progress(
            stage=at.stage, part=at.name, done=at.done, total=at.total, loss=at.loss,
            images_per_second=at.images_per_second, seconds_left=at.seconds_left,
        )  # fmt: skip
        there = len(artefact.members(self._out)) if self._out.is_dir() else 0
        if there > self._announced:
            self._announced = there
            self._channel.send(usable=self._out.name)

    def gallery(self, done: int, total: int) -> None:
        """Progress of the gallery."""
        self._channel.check_stop()
        self._channel.progress(stage="gallery", done=done, total=total)


__all__ = ["fit_by_contest"]
