"""Candidates of a contest (method `auto`), one per file: `candidate(config, data) -> Candidate | None`.

`config` has the resolved settings of the contest, `data` is its `DataFingerprint`. None: it does not take part, since
it does not suit these data. Only what fits in one adapter folder is a candidate: prompt adapters and a region map on
the same base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.registry import find, names
from samtailor.train.config import FitConfig


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to answer.

    Args:
        name: of its file.
        title: for sentences and tables.
        ways: ways of use that it can answer, see `fitting.gate.WAYS`.
        rank: the lower one is chosen where two are equally good.
        method: method that fits it; None: nothing is fitted.
        steps: updates of a complete fit.
        settings: of its fits, besides those of the contest.
        fold_options: options of the method that differ in the fits of the cross-validation, to save time.
    """

    name: str
    title: str
    ways: tuple[str, ...]
    rank: int
    method: str | None = None
    steps: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    fold_options: Mapping[str, Any] = field(default_factory=dict)


def all_candidates(config: FitConfig, data: DataFingerprint, wanted: tuple[str, ...] = ()) -> list[Candidate]:
    """Candidates that suit the data, the simplest first.

    Args:
        config: of the contest.
        data: what is to be segmented.
        wanted: names; empty for all.

    Raises:
        InputError: an unknown name.
    """
    made = [find("candidates", name).candidate(config, data) for name in wanted or names("candidates")]
    return sorted((one for one in made if one is not None), key=lambda one: (one.rank, one.name))


__all__ = ["Candidate", "all_candidates"]
