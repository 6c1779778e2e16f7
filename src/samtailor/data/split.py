"""Seeded splits of images into train, val (for model selection) and test.

Images of one explicit group and near-duplicates stay together. Groups are assigned in the order of a hash of the seed
and the group's first id (`shots.shuffle_key`), so that an additional image moves few others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from samtailor.data.assignment import PARTS, Amount, covering_assignment, deviations, part_counts, uncovered
from samtailor.data.duplicates import near_duplicates as find_near_duplicates
from samtailor.data.listing import natural_key, read_json
from samtailor.data.shots import shots
from samtailor.data.writing import check_seal, sealed, write_json
from samtailor.errors import DataError, InputError, counted
from samtailor.limits import MALFORMED
from samtailor.structures import Sample
from samtailor.structures.disjoint_sets import DisjointSets

ALIKE = (
    "Almost all images are near-duplicates of each other and are split as if they were not (as with "
    "near_duplicates=false): held-out images resemble training images, and scores on them are optimistic. With val=0 "
    "(--val 0) no image is held out."
)
"""The notice of a split of images that are almost all near-duplicates."""

pick_shots = shots  # `split` has an argument named shots


@dataclass(frozen=True)
class Split:
    """Image ids of each part in natural order (`train` of a few-shot split: in order of selection).

    Args:
        train, val, test: ids; a part may be empty.
        unused: ids in no part: without a target, or beyond the requested counts or shots.
        groups: ids that were kept together; groups of at least two.
        seed: random seed of the split.
        notices: deviations from the request, as sentences.
    """

    train: tuple[str, ...]
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    notices: tuple[str, ...] = ()

    def pick(self, samples: Iterable[Sample], part: str) -> list[Sample]:
        """Samples of a part ("train", "val", "test" or "unused"), in the order of the part.

        Raises:
            InputError: an unknown part.
            DataError: an id of the part is not among the samples.
        """
        if part not in (*PARTS, "unused"):
            raise InputError(f"No part is called {part!r}. Parts: {', '.join(PARTS)}, unused.")
        ids, known = getattr(self, part), {sample.id: sample for sample in samples}
        missing = [id for id in ids if id not in known]
        if missing:
            which = f"{counted(len(missing), 'image')} of {part}"
            raise DataError(f"{which} not found in the data set, for example {missing[0]!r}.")
        return [known[id] for id in ids]

    def write(self, path: str | Path) -> None:
        """Write the split as JSON, atomically."""
        write_json(Path(path), sealed(asdict(self)))

    @classmethod
    def read(cls, path: str | Path) -> Split:
        """Read a split written by `write`.

        Raises:
            DataError: the file is missing, not JSON, not a split, or has an id in two parts.
        """
        value = read_json(Path(path))
        try:
            parts = {part: tuple(str(id) for id in value[part]) for part in (*PARTS, "unused")}
            groups = tuple(tuple(str(id) for id in group) for group in value["groups"])
            seed, notices = int(value["seed"]), tuple(value["notices"])
            check_seal(value, path)
            split = cls(**parts, groups=groups, seed=seed, notices=notices)
        except DataError:
            raise
        except MALFORMED as error:
            raise DataError(f"{path}: not a split file of samtailor ({error!r:.200}).") from error
        ids = [id for part in parts.values() for id in part]
        if len(ids) != len(set(ids)):
            raise DataError(f"{path}: an image is in two parts.")
        return split


def split(
    samples: Sequence[Sample],
    *,
    train: Amount = None,
    val: Amount = 0,
    test: Amount = 0.2,
    shots: int | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    near_duplicates: bool = True,
) -> Split:
    """Split images into train, val and test.

    Args:
        samples: the data set.
        train, val, test: number of images (int) or share of all images (float in [0, 1]); at most one None takes the
            rest.
        shots: keep only this many training images of each class (see `shots`); the others become unused.
        seed: random seed.
        classes: split only images that contain one of these classes, so that every part has every class if possible.
            Reads all annotations. None splits all images and ignores classes.
        near_duplicates: detect near-duplicate images and keep them together. Reads all images at low resolution.

    Raises:
        InputError: invalid amounts, or more images requested than available.
        DataError: a class without images or without training images; fewer images than shots; a part that
            stays empty because groups stay together. If that is only because images are near-duplicates, they are split
            as if they were not, with a notice.
    """
    ordered = sorted(samples, key=lambda sample: natural_key(sample.id))
    contents = {sample.id: frozenset(a.label for a in sample.of(classes)) for sample in ordered} if classes else {}
    usable = [sample for sample in ordered if not classes or contents[sample.id]]
    _refuse_missing(classes, contents)
    amounts = {"train": train, "val": val, "test": test}
    wanted = part_counts(amounts, len(usable))
    rest = next((part for part in PARTS if amounts[part] is None), None)
    groups = group(usable, near_duplicates=near_duplicates)
    try:
        parts = covering_assignment(groups, wanted, rest, seed, classes or (), contents)
        notices = [*deviations(parts, wanted, rest), *uncovered(parts, classes or (), contents)]
    except DataError:
        if not near_duplicates or len(groups) == len(group(usable, near_duplicates=False)):
            raise
        apart = split(
            samples, train=train, val=val, test=test, shots=shots, seed=seed, classes=classes, near_duplicates=False
        )
        return replace(apart, notices=(ALIKE, *apart.notices))
    if shots is not None:
        pool = [sample for sample in usable if sample.id in set(parts["train"])]
        keys = {id: members[0] for members in groups for id in members}
        parts["train"] = [s.id for s in pick_shots(pool, shots, seed, classes=classes, groups=keys)]
    taken = {id for part in PARTS for id in parts[part]}
    return Split(
        **{part: tuple(parts[part]) for part in PARTS},
        unused=tuple(sample.id for sample in ordered if sample.id not in taken),
        groups=tuple(members for members in groups if len(members) > 1),
        seed=seed,
        notices=tuple(notices),
    )


def own_split(
    samples: Sequence[Sample],
    *,
    val: Amount = 0,
    test: Amount = 0,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    near_duplicates: bool = True,
) -> Split | None:
    """The split that a data set brings along: the parts of its samples (`Sample.part`). None if it has none.

    A data set has a split if some samples are of the part train and some of val or test. A part that it lacks is split
    off its training images as `split` does; a part that it has is taken whole, whatever its amount. With `val` 0, its
    images of val are unused.

    Args:
        samples: the data set.
        val, test: amount of a part that the data set lacks.
        seed, classes, near_duplicates: as for `split`. With classes, images without one of them are unused.

    Raises:
        InputError, DataError: as `split`.
    """
    by_part: dict[str | None, list[Sample]] = {part: [] for part in (*PARTS, None)}
    for sample in sorted(samples, key=lambda sample: natural_key(sample.id)):
        by_part[sample.part].append(sample)
    if not by_part["train"] or not (by_part["val"] or by_part["test"]):
        return None
    inner = split(
        by_part["train"],
        val=0 if by_part["val"] else val,
        test=0 if by_part["test"] else test,
        seed=seed,
        classes=classes,
        near_duplicates=near_duplicates,
    )
    parts = {"train": inner.train, "val": inner.val, "test": inner.test}
    for part in ("val", "test"):
        if by_part[part]:
            parts[part] = tuple(sample.id for sample in by_part[part] if not classes or sample.of(classes))
    notices = [*inner.notices, "The parts (train, val, test) of the data set are used."]
    if by_part["val"] and val == 0:
        parts["val"] = ()
        notices.append(f"{counted(len(by_part['val']), 'image')} of its part val are unused, since val is 0.")
    if by_part[None]:
        notices.append(f"{counted(len(by_part[None]), 'image')} of no part are unused, e.g. {by_part[None][0].id!r}.")
    taken = {id for ids in parts.values() for id in ids}
    unused = tuple(s.id for s in sorted(samples, key=lambda s: natural_key(s.id)) if s.id not in taken)
    return Split(**parts, unused=unused, groups=inner.groups, seed=seed, notices=tuple(notices))


def group(samples: Sequence[Sample], *, near_duplicates: bool = True) -> list[tuple[str, ...]]:
    """Ids that stay together: explicit groups merged with near-duplicates. Every id is in exactly one tuple."""
    sets = DisjointSets(len(samples))
    by_group: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        if sample.group is not None:
            by_group.setdefault(sample.group, []).append(i)
    pairs = [pair for members in by_group.values() for pair in pairwise(members)]
    for i, j in [*pairs, *(find_near_duplicates(samples) if near_duplicates else ())]:
        sets.union(i, j)
    joined = (sorted((samples[i].id for i in members), key=natural_key) for members in sets.groups())
    return sorted(map(tuple, joined), key=lambda ids: natural_key(ids[0]))


def _refuse_missing(classes: Sequence[str] | None, contents: Mapping[str, frozenset[str]]) -> None:
    for label in classes or ():
        if not any(label in content for content in contents.values()):
            raise DataError(f"No image of the data set contains the class {label!r}.")


__all__ = ["ALIKE", "Split", "group", "own_split", "shots", "split"]
