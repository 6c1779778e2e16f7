"""Which images a seed gives to all methods alike: to fit on, to choose the best state on, to be judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from samtailor.data.dataset import class_names
from samtailor.data.split import Split, shots, split
from samtailor.structures import Sample
from samtailor.train.config import FitConfig

TEST_SHARE = 0.2
"""Share of the images to evaluate on where nothing else is said."""


@dataclass(frozen=True)
class Deal:
    """Images of one seed, the same for every method.

    Args:
        samples: the pool that fits draw from.
        split: its ids to train and to choose the best state on.
        held_out: images to evaluate on; no fit sees them.
    """

    samples: Sequence[Sample]
    split: Split
    held_out: Sequence[Sample]


def few_shot(config: FitConfig, count: int | None) -> FitConfig:
    """Settings for a number of shots; None leaves them alone.

    Nothing is held out for choosing a state unless the settings say so (`val`): whoever has 8 masks has no further ones
    for that. Methods with two levels then choose on their own second half, others keep the last state.
    """
    if count is None:
        return config
    own = {} if "val" in config.model_fields_set else {"val": 0}
    return FitConfig(**_given(config) | own | {"shots": count})


def settled(config: FitConfig, **fields: object) -> FitConfig:
    """The settings with some fields in place; what was not given stays open."""
    return FitConfig(**_given(config) | fields)


def _given(config: FitConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.model_fields_set}


def deal(
    samples: Sequence[Sample],
    config: FitConfig,
    seed: int,
    classes: Sequence[str] | None,
    held_out: Sequence[Sample] | None = None,
) -> Deal:
    """Deal images out as `fit` would, and see to the held-out ones.

    Args:
        samples: images to train on, and without `held_out` also those to evaluate on.
        config: its `val` and `near_duplicates`; `test` (0: a fifth) where `held_out` is None.
        classes: classes that must be on every side.
        held_out: a test set of its own.
    """
    made = split(
        samples,
        val=config.val,
        test=0 if held_out is not None else config.test or TEST_SHARE,
        seed=seed,
        classes=classes or class_names(samples),
        near_duplicates=config.near_duplicates,
    )
    return Deal(samples, made, made.pick(samples, "test") if held_out is None else held_out)


def few(images: Deal, config: FitConfig, classes: Sequence[str] | None) -> Deal:
    """Keep only `config.shots` training images of each class, where it is given.

    The first 4 of 8 shots are the 4 shots of the same seed.
    """
    if config.shots is None:
        return images
    pool, made = images.split.pick(images.samples, "train"), images.split
    groups = {id: members[0] for members in made.groups for id in members}
    kept = tuple(sample.id for sample in shots(pool, config.shots, made.seed, classes=classes, groups=groups))
    rest = tuple(id for id in made.train if id not in kept)
    return replace(images, split=replace(made, train=kept, unused=made.unused + rest))


__all__ = ["TEST_SHARE", "Deal", "deal", "few", "few_shot", "settled"]
