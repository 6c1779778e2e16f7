"""Embeddings that all fits of a contest share, encoded by all processes together before the first fit."""

from __future__ import annotations

from concurrent.futures import as_completed
from typing import TYPE_CHECKING

from samtailor.bases.companions import AUTO
from samtailor.data.augment import UNTOUCHED, Augment, View, flip_pairs
from samtailor.data.dataset import class_names
from samtailor.fitting.contest.jobs import encode
from samtailor.train.progress import Progress

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState
    from samtailor.structures import Sample

_CHUNK = 8  # views that a process encodes before it takes the next ones
_MOST = 512  # views; with more images than that the fits draw few of them and encode what they draw


def encode_views(contest: ContestState) -> None:
    """Encode the training images and their augmented views."""
    jobs = views_of(contest)
    chunks = [jobs[start : start + _CHUNK] for start in range(0, len(jobs), _CHUNK)]
    futures = [contest.pool.submit(encode, chunk, AUTO) for chunk in chunks]
    for count, future in enumerate(as_completed(futures), 1):
        done = future.result()
        contest.budget.add(done.cpu_seconds if contest.pool.workers > 1 else 0.0)
        if contest.progress is not None:
            contest.progress(Progress("encode", min(count * _CHUNK, len(jobs)), len(jobs)))


def views_of(contest: ContestState) -> list[tuple[Sample, View]]:
    """The views of the training images, each image first as it is."""
    config = contest.config
    pairs = config.flip_pairs
    if pairs is None and config.views > 1 and config.flip:
        pairs = flip_pairs(class_names(contest.samples))
    augment = Augment(config.views, config.flip and pairs is not None, pairs or (), config.crop, config.color_jitter)
    jobs = [(sample, UNTOUCHED) for sample in contest.train]
    if len(contest.train) * config.views <= _MOST:
        jobs += [(s, augment.draw(s, index)) for index in range(1, config.views) for s in contest.train]
    return jobs


__all__ = ["encode_views", "views_of"]
