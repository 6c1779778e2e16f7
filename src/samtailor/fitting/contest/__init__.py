"""The method `auto`: candidates are compared by cross-validation on the masks that they would learn from, and the best
one for each way of use goes into one adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from pickle import PicklingError
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError, nothing_to_train_on
from samtailor.fitting import folder
from samtailor.fitting.contest import budget as budgets
from samtailor.fitting.images import split_in
from samtailor.fitting.pool import Pool, cores
from samtailor.fitting.result import FitResult
from samtailor.registry import find, number, refuse_unknown
from samtailor.registry import options as known_options
from samtailor.structures import InferenceSpec
from samtailor.train.interrupt import Interrupted

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig
    from samtailor.train.progress import Progress

_MEMORY = 700 << 20  # bytes that a process takes, about
_ENCODING_SHARE = 0.15  # of the budget, for augmented views
_PARALLEL_FROM = 45.0  # seconds; a process needs some to start


def fit_by_contest(
    config: FitConfig,
    out: Path,
    samples: Sequence[Sample],
    classes: tuple[str, ...],
    base: Base,
    split: Split | None,
    store: EmbeddingCache,
    *,
    by_name: bool,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Fit one adapter by a contest of candidates.

    Args:
        config: resolved settings.
        out: folder of the adapter.
        samples: all images.
        classes: to be segmented.
        base: frozen base.
        split: parts of the samples; None: by the settings.
        store: cached embeddings.
        by_name: other processes can load the base by its name.
        progress, stop: as of `fit`.

    Raises:
        InputError: an unknown option, candidate or budget.
        DataError: no mask of the classes.
        Interrupted: stopped; the message says whether the folder has an adapter.
    """
    from samtailor.fitting.contest.candidates import all_candidates
    from samtailor.fitting.contest.encoding import encode_views
    from samtailor.fitting.contest.fingerprint import fingerprint, time_encoder
    from samtailor.fitting.contest.plan_file import ContestPlan
    from samtailor.fitting.contest.run import Contest
    from samtailor.fitting.judge import Present

    options, build = config.options, find("methods", config.method).build
    refuse_unknown(build, options.keys() - known_options(build).keys())
    budget = budgets.Budget(budgets.total_seconds(config.budget), clock=options.get("clock", "wall"))
    made = split_in(out, config, samples, classes, split, False)
    train = made.pick(samples, "train")
    if not any(sample.of(classes) for sample in train):
        raise nothing_to_train_on(len(train), classes)
    workers = processes(config, budget.total, by_name)
    alone = workers > 1 and not _can_be_sent(samples)
    budget.workers = workers = 1 if alone else workers
    present = None if config.present is None else Present.load(config.present, base, classes)
    replay = None if config.plan is None else ContestPlan.read(config.plan)
    data = fingerprint(train, classes, made, encode_seconds=time_encoder(base), cores=workers)
    views = None if replay is None else replay.decisions.get("views")
    config = config.model_copy(update={"views": views or _views(config, data.encode_seconds, len(train), budget)})
    wanted = _names(options.get("candidates"))
    candidates = all_candidates(config, data, wanted)
    if not any(one.method for one in candidates):
        raise InputError("A contest needs a candidate that is fitted: plm, or tailor for a single class.")
    folder.begin(config, out, made)
    device = str(next(base.model.parameters()).device)
    with Pool(base, store, workers=workers, device=device, stop=stop) as pool:
        contest = Contest(
            config, out, samples, classes, made, base, store, pool, budget, data, candidates, progress, stop,
            present=present, replay=replay,
        )  # fmt: skip
        if alone:
            contest.plan.notes.append("One process was used, since the images cannot be sent to others.")
        try:
            encode_views(contest)
        except KeyboardInterrupt as error:
            pool.stop()
            raise Interrupted("Stopped before there was an adapter. Continue with --resume.") from error
        contest.run()
    return FitResult(out, config, contest.figures, contest.history, inference=contest.inference or InferenceSpec())


def _names(value: Any) -> tuple[str, ...]:
    """Names of candidates, given as a list or separated by commas."""
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else tuple(value or ())


def processes(config: FitConfig, seconds: float, by_name: bool) -> int:
    """Processes of a contest: those of the options, else one per core and as many as the memory holds; 1 where they do
    not pay.

    Args:
        config: resolved settings.
        seconds: budget.
        by_name: they can load the base by its name.
    """
    from samtailor.fitting.memory import available_bytes

    if config.options.get("workers") is not None:
        return int(number("workers", config.options["workers"], at_least=1, integer=True))
    if not by_name or seconds < _PARALLEL_FROM or _on_accelerator(config):
        return 1
    return max(1, min(cores(), available_bytes() // _MEMORY, 8))


def _can_be_sent(samples: Sequence[Sample]) -> bool:
    """Whether other processes can get the samples; not if they read their images by a local function, for example."""
    try:
        ForkingPickler.dumps(list(samples))
    except (AttributeError, TypeError, PicklingError):
        return False
    return True


def _on_accelerator(config: FitConfig) -> bool:
    import torch

    return config.device not in ("cpu", "auto") or (config.device == "auto" and torch.cuda.is_available())


def _views(config: FitConfig, encode_seconds: float, images: int, budget: budgets.Budget) -> int:
    """Views per image: fewer where encoding them would take too much of the budget."""
    time = _ENCODING_SHARE * budget.total * budget.workers
    return max(1, min(config.views, int(time / max(encode_seconds * images, 1e-9))))


__all__ = ["fit_by_contest", "processes"]
