"""The images of one seed, the same for every method: for training, for selecting the best state, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from samtailor.data.dataset import class_names
from samtailor.data.split import Split, own_split, shots, split
from samtailor.structures import Sample
from samtailor.train.config import FitConfig

TEST_SHARE = 0.2
"""Default share of the images to evaluate on."""


@dataclass(frozen=True)
class SeedSplit:
    """Images of one seed, the same for every method.

    Args:
        samples: images that `split` refers to.
        split: ids of the images to train on and to select the best state on.
        held_out: images to evaluate on; no fit uses them.
    """

    samples: Sequence[Sample]
    split: Split
    held_out: Sequence[Sample]


def few_shot_config(config: FitConfig, count: int | None) -> FitConfig:
    """Settings for a number of shots; None returns them unchanged.

    No image is held out to select the best state unless `config.val` is given, because a user with 8 masks has no
    others. Bi-level methods then select on their second half, other methods keep the last state.
    """
    if count is None:
        return config
    defaults = {} if "val" in config.model_fields_set else {"val": 0}
    return with_settings(config, **defaults, shots=count)


def with_settings(config: FitConfig, **fields: Any) -> FitConfig:
    """The settings with some fields replaced; fields that are not given stay unset."""
    given = {name: getattr(config, name) for name in config.model_fields_set}
    return FitConfig(**given | fields)


def split_for_seed(
    samples: Sequence[Sample],
    config: FitConfig,
    seed: int,
    classes: Sequence[str] | None,
    held_out: Sequence[Sample] | None = None,
) -> SeedSplit:
    """Split images as `fit` does, with a part to evaluate on.

    Args:
        samples: images to train on, and without `held_out` also to evaluate on.
        config: `val` and `near_duplicates` are used, and without `held_out` also `test` (0: `TEST_SHARE`).
        seed: seed of the split.
        classes: classes that every part must contain.
        held_out: a separate test set.
    """
    how: dict[str, Any] = {
        "val": config.val,
        "test": 0 if held_out is not None else config.test or TEST_SHARE,
        "seed": seed,
        "classes": classes or class_names(samples),
        "near_duplicates": config.near_duplicates,
    }
    own = own_split(samples, **how) if config.own_split else None
    parts = own or split(samples, **how)
    return SeedSplit(samples, parts, parts.pick(samples, "test") if held_out is None else held_out)


def limit_shots(images: SeedSplit, config: FitConfig, classes: Sequence[str] | None) -> SeedSplit:
    """Keep only `config.shots` training images per class, if it is set.

    The first 4 of 8 shots are the 4 shots of the same seed.
    """
    if config.shots is None:
        return images
    pool, parts = images.split.pick(images.samples, "train"), images.split
    groups = {id: members[0] for members in parts.groups for id in members}
    kept = tuple(sample.id for sample in shots(pool, config.shots, parts.seed, classes=classes, groups=groups))
    unused = tuple(id for id in parts.train if id not in kept)
    return replace(images, split=replace(parts, train=kept, unused=parts.unused + unused))


__all__ = ["TEST_SHARE", "SeedSplit", "few_shot_config", "limit_shots", "split_for_seed", "with_settings"]
