"""Fit an adapter, or one adapter per class."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor import artefact
from samtailor.data.folder_lock import locked
from samtailor.errors import InputError
from samtailor.fitting import folder, images
from samtailor.fitting.gate import gate_of
from samtailor.fitting.result import FitResult, finished
from samtailor.fitting.run import Run
from samtailor.registry import find
from samtailor.train.config import OF_ONE_METHOD, FitConfig, resolve
from samtailor.train.interrupt import Interrupted

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
    finish: bool = False,
) -> FitResult:
    """Fit one adapter, or one adapter per class.

    If the folder contains a finished adapter, the new one is fitted beside it, in FOLDER.new, and compared with it on
    the same images. A new adapter that is not worse moves into FOLDER. Otherwise FOLDER is left as it is and the
    result has `kept`.

    Args:
        config: settings; `out` is required, and `data` unless `samples` are given.
        samples: images, instead of `config.data`.
        base: a loaded base, instead of `config.base`.
        split: parts of the samples, instead of a split by the config; `shots` are sampled from its train part.
        store: cached embeddings; None opens `config.cache`.
        resume: continue an interrupted fit in the same folder; the result of a finished one is returned.
        overwrite: delete an earlier fit in that folder, and compare with nothing.
        progress: called with a `train.progress.Progress`.
        stop: polled after each step; True saves and raises `train.interrupt.Interrupted`, like Ctrl-C.
        finish: with `resume`, end an interrupted fit with the best state so far instead of training on.

    Raises:
        InputError: the folder is in use, an unknown setting, class or method, or other settings than those of the
            resumed fit.
        DataError: the data cannot be read, or contain no mask of the classes.
        ArtefactError: the checkpoint is damaged.
        Interrupted: stopped on request, after saving.
    """
    given = _Given(samples, base, split, store, resume, overwrite, progress, stop, finish, by_name=base is None)
    return _fit_into_folder(config, given)


@dataclass(frozen=True)
class _Given:
    """Arguments of `fit` besides its settings; `by_name`: other processes can load the base by its name."""

    samples: Sequence[Sample] | None
    base: Base | None
    split: Split | None
    store: EmbeddingCache | None
    resume: bool
    overwrite: bool
    progress: Callable[[Progress], None] | None
    stop: Callable[[], bool] | None
    finish: bool
    by_name: bool


def _fit_into_folder(config: FitConfig, given: _Given) -> FitResult:
    """`fit`, into the folder of the settings, which is locked."""
    config = resolve(config)
    _refuse_settings_of_a_contest(config)
    out = folder.of(config)
    main = int(os.environ.get("RANK", "0")) == 0  # the first of several processes holds the lock for all
    if main and out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a fit needs a folder.")
    with locked(out, "a fit") if main else nullcontext():
        beside = None if config.per_class or given.overwrite else folder.candidate(out, given.resume)
        if beside is None:
            return _fit(config, out, given)
        staged = config.model_copy(update={"out": beside, "present": out})
        with locked(beside, "a fit") if main else nullcontext():
            result = _fit(staged, beside, replace(given, overwrite=not given.resume))
        return _exchanged(result, config, out, beside, main)


def _exchanged(result: FitResult, config: FitConfig, out: Path, beside: Path, main: bool) -> FitResult:
    """The result after a new adapter has moved into the folder of the present one, unless it is worse."""
    gate = gate_of(result.figures)
    if not main or gate is None or not gate.replaces:
        return replace(result, kept=out)
    folder.move_into(beside, out, config)
    return replace(result, folder=out, config=config)


def _fit(config: FitConfig, out: Path, given: _Given) -> FitResult:
    """`fit`, with resolved settings and the lock held."""
    if config.per_class:
        folder.refuse_other_content(out)
    else:
        folder.prepare(config, out, given.resume, given.overwrite)
        if given.resume and (out / artefact.METADATA).exists() and (given.finish or not _stopped_contest(config, out)):
            return finished(config, out)
    samples = images.opened(config) if given.samples is None else given.samples
    names = images.classes_of(config, samples)
    account = images.account_of(samples)
    base, split, store = given.base, given.split, given.store
    if base is None:
        from samtailor.bases import load_base

        base = load_base(config.base)
    if config.present is not None and out == folder.beside(config.present):
        folder.refuse_other_adapter(config.present, names, base)
    if store is None:
        from samtailor.fitting.store import open_store

        store = open_store(config)
    contest = by_contest(config)
    if contest and len(names) > 1:
        from samtailor.fitting.contest.classes import per_class

        config = per_class(config, names)
    if not config.per_class:
        samples = images.joined_regions(config, samples, names)
        from samtailor.train.denormals import flushed

        with flushed():
            if contest:
                from samtailor.fitting.contest import fit_by_contest

                result = fit_by_contest(
                    config, out, samples, names, base, split, store,
                    by_name=given.by_name, progress=given.progress, stop=given.stop,
                )  # fmt: skip
                return replace(result, account=account)
            result = Run(
                config, out, samples, names, base, split, store, given.resume, given.progress, given.stop, given.finish
            ).result()
        return replace(result, account=account)
    if split is None:  # one split, so that the held-out images of one class are held out for all
        split = images.new_split(config, samples, names)
    shared = replace(given, samples=samples, base=base, split=split, store=store)
    parts = _fit_classes(config, folder.of_classes(out, names), shared)
    if contest:
        from samtailor.fitting.contest.report.class_confusion import write_confusion

        write_confusion(out)
    return FitResult(out, config, parts=parts, account=account)


def _fit_classes(config: FitConfig, folders: Mapping[str, Path], given: _Given) -> dict[str, FitResult]:
    """One adapter for each class, in the folder of the class."""
    parts: dict[str, FitResult] = {}
    for name, part_folder in folders.items():
        of_class = {
            "classes": (name,),
            "out": part_folder,
            "per_class": False,
            "present": folder.present_of(config.present, name),
        }
        named = None if given.progress is None else _named(given.progress, name)
        try:
            parts[name] = _fit_into_folder(config.model_copy(update=of_class), replace(given, progress=named))
        except Interrupted as error:
            if waiting := list(folders)[len(parts) + 1 :]:
                text = f"{error} There is no adapter for {', '.join(waiting)} yet; --resume goes on."
                raise Interrupted(text) from error
            raise
    return parts


def by_contest(config: FitConfig) -> bool:
    """Whether the method is fitted by a contest; its file says so."""
    return bool(getattr(find("methods", config.method), "CONTEST", False))


def _stopped_contest(config: FitConfig, out: Path) -> bool:
    """Whether the folder has an adapter of a contest that was stopped before its end."""
    if not by_contest(config):
        return False
    from samtailor.fitting.contest.plan_file import ContestPlan

    return not (out / folder.PLAN).is_file() or not ContestPlan.read(out / folder.PLAN).complete


def _refuse_settings_of_a_contest(config: FitConfig) -> None:
    """Raise if a single method is given settings of a contest."""
    if by_contest(config):
        default = resolve(FitConfig(method=config.method))
        given = [name for name in OF_ONE_METHOD if getattr(config, name) != getattr(default, name)]
        if given:
            raise InputError(
                f"{', '.join(given)} is a setting of a single method, and {config.method} compares several. Leave it "
                "out, or name a method: --method tailor."
            )
        return
    for name in ("budget", "plan"):
        if getattr(config, name) is not None:
            raise InputError(
                f"{name} is a setting of the method auto, and the method is {config.method}. Leave it out."
            )


def _named(progress: Callable[[Progress], None], name: str) -> Callable[[Progress], None]:
    return lambda update: progress(replace(update, name=name))


__all__ = ["FitResult", "by_contest", "fit"]
