"""Open a data set in any supported layout."""

from __future__ import annotations

import csv
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from samtailor import registry
from samtailor.data.account import Record, account, recording
from samtailor.data.image import pages
from samtailor.data.listing import natural_key, read_text
from samtailor.data.no_dataset import beneath, refuse_no_folder, without_annotations
from samtailor.data.parts import with_parts
from samtailor.errors import DataError, InputError, SamtailorError
from samtailor.limits import MALFORMED
from samtailor.structures import Account, LeftOut, Sample, Tally
from samtailor.structures.account import summed


class Dataset(list[Sample]):
    """Samples of a data set, a list, and the account of what its files contain.

    Args:
        samples: the samples.
        path: folder of the data set.
        format: name of its layout.
        record: what the reader reported while it listed the samples.
    """

    def __init__(self, samples: Iterable[Sample], path: Path, format: str, record: Record) -> None:
        super().__init__(samples)
        self.path, self.format, self.record = path, format, record
        self._samples = tuple(self)

    def account(self) -> Account:
        """Images and annotations in the files, those that are read, and those left out with reasons. Reads them all.

        Raises:
            DataError: the annotations of an image cannot be read.
        """
        one = account(self._samples, self.record)
        return replace(one, images=summed([one.images, self.further_pages()]))

    def further_pages(self) -> Tally:
        """Pages after the first of the image files, which are left out. Files that cannot be read count as one page."""
        left_out = []
        for sample in self._samples:
            number = _pages(sample.source)
            if number > 1:
                sentence = f"{sample.source} has {number} pages, of which the first is read."
                left_out.append(LeftOut("further page", number - 1, sentence))
        return summed([Tally(entry.count, 0, (entry,)) for entry in left_out])


def _pages(file: Path | None) -> int:
    try:
        return 1 if file is None else pages(file)
    except DataError:
        return 1


def open_dataset(
    path: str | Path,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    group: str | None = None,
    **options: Any,
) -> Dataset:
    """Samples of a data set, sorted by id in natural order (2 before 10). Images and masks are read lazily.

    The result is a list. Its method `account()` reports what is in the files, what is read, and what is left out.

    Args:
        path: folder of the data set.
        format: name of a layout (`data.formats`) or of a published data set (`data.sets`); None detects the layout.
        classes: names of the classes to read; None for all. Images without these classes are kept.
        group: rule for images that stay together in a split: "prefix:N" (first N characters of the file name),
            "regex:PATTERN" (first group, or the whole match, within the id; ids without a match have no group),
            "folder" (folder of the id), "csv:FILE" (columns id and group; relative to `path`). None uses groups.csv
            if it exists.
        options: options of the layout's `build`.

    Raises:
        DataError: the folder does not exist, no or several layouts match, or the files violate the layout.
        InputError: an unknown format, class, option or group rule.
    """
    root = Path(path)
    refuse_no_folder(root)
    name = detect(root) if format is None else format
    build, known = _layout(name).build, layout_options(name)
    for option in options:
        if option not in known:
            raise InputError(f"The format {name!r} has no option {option!r}. Options: {', '.join(known) or 'none'}.")
    with recording() as record, _malformed(root, name):
        try:
            samples = sorted(build(root, classes=classes, **options), key=lambda sample: natural_key(sample.id))
        except DataError as error:
            raise DataError(_with_flags(str(error), known)) from error
    _refuse_equal_ids(samples, root)
    return Dataset(_grouped(with_parts(samples, root), root, group), root, name, record)


def layout_options(format: str) -> tuple[str, ...]:
    """Names of the options of a layout.

    Raises:
        InputError: an unknown format.
    """
    return tuple(inspect.signature(_layout(format).build).parameters)[2:]


def _with_flags(message: str, known: Sequence[str]) -> str:
    """An error message in which "annotations=..." is followed by the spelling of the command line."""
    for name in known:
        message = message.replace(f"{name}=...", f"{name}=... (--set data_options.{name}=...)")
    return message


@contextmanager
def _malformed(root: Path, name: str) -> Iterator[None]:
    """Turn what a reader raises for values of a wrong type, range or shape into a DataError."""
    try:
        yield
    except SamtailorError:
        raise
    except (OSError, *MALFORMED) as error:
        raise DataError(
            f"{root} cannot be read as {name}: {type(error).__name__}: {error!s:.300} A file is damaged or of another "
            "layout."
        ) from error


def detect(path: Path) -> str:
    """Name of the only layout that matches a folder.

    Raises:
        DataError: no or several layouts match; the message lists them.
    """
    refuse_no_folder(path)
    modules = {name: registry.find("formats", name) for name in registry.names("formats")}
    fitting = _fits(path, modules)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(fitting)
        raise DataError(
            f"{path} matches several layouts: {names}. Choose one, for example format={fitting[0]!r} "
            f"(--format {fitting[0]})."
        )
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir())
    if known := [(folder, fitting[0]) for folder in inside if (fitting := _fits(folder, modules))]:
        raise DataError(f"{path} matches no known layout, but {beneath(known)}")
    if (nothing := without_annotations(path)) is not None:
        raise DataError(nothing)
    layouts = "\n".join(f"  {name}: {_first_line(module)}" for name, module in modules.items())
    sets = ", ".join(registry.names("sets"))
    raise DataError(
        f"{path} matches no known layout. Known layouts:\n{layouts}\n"
        f"Arrange the files like one of these, or name the format (published data sets: {sets}). For images and masks "
        "under other names use format=pairs with the option pair, as in pair=photos/{}.jpg:truth/{}_GT.png."
    )


def class_names(samples: Iterable[Sample]) -> list[str]:
    """Names of the classes with at least one target in the samples, in natural order. Reads all annotations."""
    return sorted({a.label for sample in samples for a in sample.of(None)}, key=natural_key)


def _fits(path: Path, modules: Mapping[str, ModuleType]) -> list[str]:
    """Names of the layouts that match; those with `FALLBACK` are asked only if no other matches."""
    fitting: list[str] = []
    for fallback in (False, True):
        for name, module in modules.items():
            if getattr(module, "FALLBACK", False) is not fallback:
                continue
            with _malformed(path, name):
                if module.matches(path):
                    fitting.append(name)
        if fitting:
            break
    return fitting


def _layout(name: str) -> ModuleType:
    if name.strip().lower().replace("_", "-") in registry.names("sets"):
        return registry.find("sets", name)
    return registry.find("formats", name)


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().split("\n")[0]


def _refuse_equal_ids(samples: Sequence[Sample], root: Path) -> None:
    if not samples:
        raise DataError(f"{root} contains no image.")
    for one, other in pairwise(samples):
        if one.id == other.id:
            raise DataError(f"Two images have the id {one.id!r}: {one.source} and {other.source}. Rename one of them.")


def _grouped(samples: list[Sample], root: Path, rule: str | None) -> list[Sample]:
    if rule is None:
        if not (root / "groups.csv").is_file():
            return samples
        rule = "csv:groups.csv"
    kind, _, value = rule.partition(":")
    rules: dict[str, Callable[[str, Path], Callable[[str], str | None]]] = {
        "prefix": _by_prefix,
        "regex": _by_pattern,
        "folder": _by_folder,
        "csv": _by_table,
    }
    if kind not in rules:
        raise InputError(f"Unknown group rule {rule!r}. Known rules: prefix:N, regex:PATTERN, folder, csv:FILE.")
    group_of = rules[kind](value, root)
    grouped = [replace(sample, group=group_of(sample.id)) for sample in samples]
    if all(sample.group is None for sample in grouped):
        raise InputError(f"The group rule {rule!r} matches no image. First id: {samples[0].id!r}.")
    return grouped


def _by_prefix(value: str, root: Path) -> Callable[[str], str]:
    if not value.isdecimal() or int(value) < 1:
        raise InputError(f"prefix:N needs a number of characters of at least 1, got {value!r}.")
    return lambda id: id.rpartition("/")[2][: int(value)]


def _by_pattern(value: str, root: Path) -> Callable[[str], str | None]:
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise InputError(f"{value!r} is not a regular expression ({error}).") from error

    def group(id: str) -> str | None:
        match = pattern.search(id)
        return None if match is None else match[1] if pattern.groups else match[0]

    return group


def _by_folder(value: str, root: Path) -> Callable[[str], str]:
    return lambda id: id.rpartition("/")[0]


def _by_table(value: str, root: Path) -> Callable[[str], str]:
    file = root / (value or "groups.csv")
    rows = list(csv.DictReader(read_text(file).splitlines()))
    if not rows or not {"id", "group"} <= rows[0].keys():
        raise DataError(f"{file}: the first line must name the columns id and group.")
    table = {row["id"]: row["group"] for row in rows}

    def group(id: str) -> str:
        if id not in table:
            raise DataError(f"{file}: no group for the image {id!r}. Every image needs a row.")
        return table[id]

    return group


__all__ = ["Dataset", "class_names", "detect", "layout_options", "open_dataset"]
