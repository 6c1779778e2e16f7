"""Fit an adapter, or one for each class: data, split, embeddings, method, loop, artefact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from samtailor import artefact
from samtailor.fitting import folder, images
from samtailor.fitting.result import FitResult, finished
from samtailor.fitting.run import Run
from samtailor.train.config import FitConfig, resolve

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.structures import Sample
    from samtailor.train.progress import Progress


def fit(
    config: FitConfig,
    *,
    samples: Sequence[Sample] | None = None,
    base: Base | None = None,
    split: Split | None = None,
    store: EmbeddingCache | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Fit one adapter, or one for each class.

    Args:
        config: `data` and `out` are needed unless `samples` are given (`out` always).
        samples: images instead of `config.data`.
        base: a loaded base instead of `config.base`.
        split: instead of one made from the config (`shots` are then picked from its train part).
        store: embeddings; None opens `config.cache`.
        resume: go on where a fit into the same folder stopped; a finished one is returned as it is.
        overwrite: throw away an earlier fit in that folder.
        progress: called with a `train.progress.Progress`.
        stop: polled after each step; True saves and raises `train.interrupt.Interrupted`, as Ctrl-C does.

    Raises:
        InputError: the folder is in use, an unknown setting, class or method, or a resumed fit with other settings.
        DataError: the data cannot be read, or hold nothing to train on.
        ArtefactError: a checkpoint cannot be resumed from.
        Interrupted: stopped on request, after saving.
    """
    config = resolve(config)
    out = folder.of(config)
    if config.per_class:
        folder.refuse_other_content(out)
    else:
        folder.prepare(config, out, resume, overwrite)
        if resume and (out / artefact.METADATA).exists():
            return finished(config, out)
    samples = images.opened(config) if samples is None else samples
    names = images.classes_of(config, samples)
    if base is None:
        from samtailor.bases import load_base

        base = load_base(config.base)
    if store is None:
        from samtailor.cache.embeddings import EmbeddingCache

        store = EmbeddingCache(config.cache, max_bytes=int(config.cache_gb * 1e9))
    if not config.per_class:
        samples = images.as_answered(config, samples, names)
        from samtailor.train.denormals import flushed

        with flushed():
            return Run(config, out, samples, names, base, split, store, resume, progress, stop).result()
    if split is None:  # a common one, so that the held-out images of one class are held out for all
        split = images.new_split(config, samples, names)
    parts: dict[str, FitResult] = {}
    for name, own in folder.of_classes(out, names).items():
        one = config.model_copy(update={"classes": (name,), "out": own, "per_class": False})
        told = None if progress is None else _named(progress, name)
        options = {"split": split, "store": store, "resume": resume, "overwrite": overwrite}
        parts[name] = fit(one, samples=samples, base=base, progress=told, stop=stop, **options)
    return FitResult(out, config, parts=parts)


def _named(progress: Callable[[Progress], None], name: str) -> Callable[[Progress], None]:
    return lambda update: progress(replace(update, name=name))


__all__ = ["FitResult", "fit"]
