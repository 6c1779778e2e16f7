"""Which images an evaluation uses, and what its scores mean: test images where there are any.

Images that an adapter was fitted on are left out. Images that selected its best state (validation images) are used only
if there are no others, and never called test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samtailor.artefact import SPLIT
from samtailor.data.split import Split
from samtailor.errors import InputError, counted
from samtailor.evaluation.masks import without_training_images
from samtailor.fitting.gate import MIN_OBJECTS
from samtailor.structures import Sample

CHOICES = ("val", "test", "all")
"""Values of `split`: a part of the split that the adapter was fitted with, or all images that it was not fitted on."""


@dataclass(frozen=True)
class Part:
    """The images of an evaluation.

    Args:
        name: "test"; "validation": some of them selected the best state of the adapter; "unseen": the adapter was
            fitted without them, and they are of no part; "training": some of them were fitted on; "all": there is no
            adapter, and no test part.
        samples: the images.
        left_out: ids of the images that were left out because the adapter was fitted on them.
        about: what the images are, as a sentence.
    """

    name: str
    samples: tuple[Sample, ...]
    left_out: tuple[str, ...] = ()
    about: str = ""


def choose_part(
    samples: Sequence[Sample],
    folders: Sequence[Path],
    data: Path,
    classes: Sequence[str] | None,
    *,
    split: str | None = None,
    include_train: bool = False,
) -> Part:
    """Choose the images of an evaluation.

    The test part of the split that the adapter was fitted with, else the test part of the data set, else the images
    that the adapter has never seen, else also its validation images.

    Args:
        samples: all images of the data set.
        folders: of the adapters, of several one for each class; empty without one. Images that one of them was fitted
            on are left out, and test images are those of all.
        data: folder of the data set; compared with that of the fit.
        classes: that are evaluated; images without an object of them are added to the test part of the adapter.
        split: one of `CHOICES` instead.
        include_train: also use the images that the adapter was fitted on.

    Raises:
        InputError: an unknown part, or one without images.
    """
    if split is not None and split not in CHOICES:
        raise InputError(f"--split must be val or test (parts of the split of an adapter), or all; got {split!r}.")
    files = [folder / SPLIT for folder in folders]
    known = bool(files) and all(file.is_file() for file in files)
    if split in ("val", "test") and not known:
        raise InputError(f"--split must be val or test, with an --adapter that has a {SPLIT}; got {split!r}.")
    known_to = [] if include_train else [set(without_training_images(samples, one, data)[1]) for one in folders]
    fitted_on = set().union(*known_to)
    rest = [sample for sample in samples if sample.id not in fitted_on]
    left_out = [sample.id for sample in samples if sample.id in fitted_on]
    saved = _joined([Split.read(file) for file in files]) if known else Split(())
    if split in ("val", "test"):
        rest = _of(rest, getattr(saved, split))
        if not rest:
            raise InputError(f"The {split} part of {files[0]} has no image of {data}.")
        named = "test" if split == "test" else "validation"
        return Part(
            named, tuple(rest), tuple(left_out), _about(named, rest, "the split that the adapter was fitted with")
        )
    if include_train and folders:
        trained = sum(sample.id in set(saved.train) for sample in samples)
        about = f"{counted(len(rest), 'image')}, of which the adapter was fitted on {trained}."
        return Part("training", tuple(rest), (), about)
    if split is None and (test := _test(rest, samples, saved if left_out else Split(()), classes)) is not None:
        return Part("test", tuple(test[0]), tuple(left_out), _about("test", *test))
    if not folders:
        return Part("all", tuple(rest), (), f"All {counted(len(rest), 'image')}.")
    return _unseen(rest, left_out, saved if left_out else Split(()), classes, everything=split == "all")


def _joined(splits: Sequence[Split]) -> Split:
    """Parts for several adapters: what one of them was fitted on is training, and what all keep back is test."""
    train = list(dict.fromkeys(id for one in splits for id in one.train))
    test = [id for id in splits[0].test if all(id in one.test for one in splits)]
    used = {*train, *test}
    val = list(dict.fromkeys(id for one in splits for id in (*one.val, *one.test) if id not in used))
    return Split(tuple(train), tuple(val), tuple(test))


def _test(
    rest: Sequence[Sample], samples: Sequence[Sample], saved: Split, classes: Sequence[str] | None
) -> tuple[list[Sample], str] | None:
    """The test images, and whose split they are from; None without any."""
    if chosen := _of(rest, saved.test):
        used = {*saved.train, *saved.val, *saved.test}
        without = [sample for sample in rest if sample.id not in used and not sample.of(classes)]
        return [*chosen, *without], "the split that the adapter was fitted with"
    own = {sample.part for sample in samples}
    chosen = [sample for sample in rest if sample.part == "test" and sample.id not in set(saved.val)]
    return (chosen, "the data set") if chosen and "train" in own else None


def _unseen(
    rest: list[Sample], left_out: Sequence[str], saved: Split, classes: Sequence[str] | None, *, everything: bool
) -> Part:
    """Images that the adapter was not fitted on, without its validation images if the others have enough objects."""
    val = set(saved.val)
    chose = [sample for sample in rest if sample.id in val]
    others = [sample for sample in rest if sample.id not in val]
    if not chose:
        return Part("unseen", tuple(rest), tuple(left_out), _never_seen(rest))
    if not everything and sum(len(sample.of(classes)) for sample in others) >= MIN_OBJECTS:
        about = f"{_never_seen(others)} Its {counted(len(chose), 'validation image')} left out (--split all adds them)."
        return Part("unseen", tuple(others), tuple(left_out), about)
    about = _about("validation", chose, "the split that the adapter was fitted with")
    about += f" {counted(len(others), 'further image')} were not used by the fit." if others else ""
    return Part("validation", tuple(rest), tuple(left_out), about)


def _about(name: str, samples: Sequence[Sample], of: str) -> str:
    number = f"{counted(len(samples), f'{name} image')} ({name} part of {of})"
    if name == "test":
        return f"{number}."
    return (
        f"{number}. They selected the best state of the adapter, so that its scores are optimistic; "
        "fit with --test to keep test images."
    )


def _never_seen(samples: Sequence[Sample]) -> str:
    return f"{counted(len(samples), 'image')} that the adapter was not fitted on."


def _of(samples: Sequence[Sample], ids: Sequence[str]) -> list[Sample]:
    wanted = set(ids)
    return [sample for sample in samples if sample.id in wanted]


__all__ = ["CHOICES", "Part", "choose_part"]
