"""Input of a fit: images, classes, and the split into training and held-out parts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.errors import DataError, InputError
from samtailor.registry import find
from samtailor.train.config import FitConfig

if TYPE_CHECKING:
    from samtailor.data.split import Split
    from samtailor.structures import Account, Sample

_log = logging.getLogger("samtailor.fitting")


def opened(config: FitConfig) -> list[Sample]:
    """Images of the data set of the config."""
    from samtailor.data.dataset import open_dataset

    if config.data is None:
        raise InputError("A fit needs a data set. Set data to its folder.")
    wanted = None if config.classes is None else list(config.classes)
    return open_dataset(config.data, format=config.format, classes=wanted, group=config.group, **config.data_options)


def account_of(samples: Sequence[Sample]) -> Account | None:
    """What the data set contains and what is left out of it; None for samples in memory. Reads all annotations."""
    from samtailor.data.dataset import Dataset

    return samples.account() if isinstance(samples, Dataset) else None


def classes_of(config: FitConfig, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Classes of the config, by default all that occur."""
    if config.classes is not None:
        return config.classes
    from samtailor.data.dataset import class_names

    names = tuple(class_names(samples))
    if not names:
        raise DataError(f"None of the {len(samples)} images has a mask.")
    return names


def joined_regions(config: FitConfig, samples: Sequence[Sample], names: Sequence[str]) -> Sequence[Sample]:
    """For methods that predict one region per image: the objects of a class joined into one annotation.

    Raises:
        InputError: several classes; such a method has one output.
    """
    if not getattr(find("methods", config.method), "REGIONS", False):
        return samples
    if len(names) > 1:
        raise InputError(
            f"{config.method} segments one class, and the data have {', '.join(names)}. "
            "Choose one with classes (--classes), or fit one adapter per class with per_class (--per-class)."
        )
    from samtailor.data.regions import regions

    return regions(samples, names)


def split_in(
    out: Path, config: FitConfig, samples: Sequence[Sample], classes: Sequence[str], given: Split | None, resume: bool
) -> Split:
    """Split of a resumed fit, else `given`, else a new one; `shots` are sampled from its train part."""
    from samtailor.data.split import Split, shots

    file = out / artefact.SPLIT
    if resume and file.exists():
        return Split.read(file)
    made = given or new_split(config, samples, classes)
    for notice in made.notices:
        _log.warning("%s", notice)
    if config.shots is None:
        return made
    groups = {id: members[0] for members in made.groups for id in members}
    pool = made.pick(samples, "train")
    picked = tuple(s.id for s in shots(pool, config.shots, config.seed, classes=classes, groups=groups))
    return replace(made, train=picked, unused=(*made.unused, *(id for id in made.train if id not in set(picked))))


def new_split(config: FitConfig, samples: Sequence[Sample], classes: Sequence[str]) -> Split:
    """The split of the data set (`Sample.part`), else one by the amounts and the seed of the config."""
    from samtailor.data.split import own_split, split

    how: dict[str, Any] = {
        "classes": classes,
        "seed": config.seed,
        "val": config.val,
        "test": config.test,
        "near_duplicates": config.near_duplicates,
    }
    own = own_split(samples, **how) if config.own_split else None
    return own or split(samples, **how)


__all__ = ["account_of", "classes_of", "joined_regions", "new_split", "opened", "split_in"]
