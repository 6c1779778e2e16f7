"""Saving imported annotations in a project.

Every image is saved on its own, so that an import that is stopped loses nothing and a second import continues it. An
image that has annotations of the user is left as it is, and one that has the same annotations is not written again.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from samtailor.errors import DataError, InputError, counted
from samtailor.serve.refusals import Refused
from samtailor.workbench.images import ImageFile
from samtailor.workbench.importing import ImportedImage
from samtailor.workbench.project import Project, Stale
from samtailor.workbench.records import Object, Runs
from samtailor.workbench.settings import DEFAULT_CLASS, make_class

ACCEPTED, DRAFT, SAME, KEPT = "imported", "imported as draft", "already in the project", "annotated by hand"
ABSENT, TWICE, REFUSED = "image not in the project", "image listed twice", "cannot be saved"
SAVED = (ACCEPTED, DRAFT)
"""Outcomes with which annotations are saved."""
_SENTENCES = {
    ACCEPTED: "{} was accepted with {}.",
    DRAFT: "{} is a draft, because some of its annotations were left out. Check and accept it.",
    SAME: "{} already has these annotations ({}).",
    KEPT: "{} has other annotations, which were kept. Import with `replace` to replace them.",
    TWICE: "{} is in the data set more than once; the first entry is used.",
}


@dataclass
class Outcome:
    """Number of images and objects with one outcome, and an example."""

    images: int = 0
    objects: int = 0
    example: str = ""


@dataclass
class ImportReport:
    """What became of the images that were read. The numbers of images and of objects add up to those of the data set.

    Args:
        outcomes: by name of the outcome.
        renamed: class of the data set to class of the project, where they differ.
        crowds: number of regions of many objects, which are not imported.
        hidden: number of files that are no longer listed as images, see `Importer.hide`.
    """

    outcomes: dict[str, Outcome] = field(default_factory=lambda: defaultdict(Outcome))
    renamed: dict[str, str] = field(default_factory=dict)
    crowds: int = 0
    hidden: int = 0

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        rows = [
            {"outcome": name, "saved": name in SAVED, "images": o.images, "objects": o.objects, "example": o.example}
            for name, o in self.outcomes.items()
        ]
        return {"outcomes": rows, "renamed": dict(self.renamed), "crowds": self.crowds, "hidden": self.hidden}

    def lines(self) -> list[str]:
        """The report as lines of text."""
        lines = [f"{name}: {o.images} images, {o.objects} objects, for example: {o.example}"
                 for name, o in self.outcomes.items()]  # fmt: skip
        lines += [f"class {old!r} is called {new!r} here" for old, new in self.renamed.items()]
        if self.crowds:
            lines.append(f"left out: {self.crowds} regions of many objects (crowds)")
        if self.hidden:
            lines.append(f"{self.hidden} image files of the data set are not its images (masks) and are not listed")
        return lines


class Importer:
    """Saves images of a data set in a project.

    Args:
        project: an open project.
        replace: replace annotations of the user too.
        dry: save nothing; the report says what would be saved.
    """

    def __init__(self, project: Project, *, replace: bool = False, dry: bool = False) -> None:
        self._project, self._replace, self._dry = project, replace, dry
        self._finder = ImageMatcher(project.images.refresh().values(), project.images.folder)
        self._taken: set[str] = set()
        self._names: dict[str, str] = {}
        self._placeholder = project.classes == [DEFAULT_CLASS] and not project.class_objects()
        self.report = ImportReport()

    def add(self, image: ImportedImage) -> str | None:
        """Save one image. Returns the id of the image of the project if its annotations have changed."""
        self.report.crowds += image.crowds
        match = self._finder.find(image)
        if isinstance(match, str):
            self._count(ABSENT, image, match)
            return None
        name, sentence = self._outcome(match, image)
        self._count(name, image, sentence)
        return match.id if name in SAVED else None

    def hide(self, files: Iterable[str | Path]) -> None:
        """List files of the images' folder no longer as images. Files with annotations stay.

        Args:
            files: image files of the data set that are none of its images.
        """
        folder = self._project.images.folder
        inside = [Path(os.path.relpath(os.path.realpath(file), folder)).as_posix() for file in files]
        names = [name for name in inside if not name.startswith("../")]
        self.report.hidden = self._project.hide(names, dry=self._dry)

    def _outcome(self, match: ImageFile, image: ImportedImage) -> tuple[str, str | None]:
        """Save an image; its outcome, and a sentence if there is a reason."""
        if match.id in self._taken:
            return TWICE, None
        self._taken.add(match.id)
        try:
            return self._save(match, image), None
        except Stale:
            return KEPT, None
        except (DataError, InputError, Refused) as error:
            return REFUSED, str(error)

    def _save(self, match: ImageFile, image: ImportedImage) -> str:
        if match.error is not None:
            raise Refused(match.error)
        if (match.height, match.width) != tuple(image.size):
            raise InputError(f"{match.name} has {match.width}x{match.height} px, the annotations {image.size[::-1]}.")
        objects = self._objects(image)
        before = self._project.read(match.id)
        if _content(before.objects) == _content(objects) and before.state in ("accepted", "open") and before.revision:
            return SAME
        if not (before.untouched or self._replace):
            return KEPT
        complete = image.missing == 0 and image.crowds == 0
        if not self._dry:
            self._add_classes(objects)
            self._project.put(match.id, before.revision, "accepted" if complete else "open", objects)
        return ACCEPTED if complete else DRAFT

    def _objects(self, image: ImportedImage) -> list[Object]:
        seen: Counter[str] = Counter()
        objects = []
        for one in image.objects:
            name = self._class(one["class"])
            digest = hashlib.sha256(f"{name}\0{one['rle']['counts']}".encode()).hexdigest()[:16]
            seen[digest] += 1  # two objects may have the same mask
            id = f"i{digest}" if seen[digest] == 1 else f"i{digest}-{seen[digest]}"
            objects.append(Object(id=id, class_=name, rle=Runs.model_validate(one["rle"]), source="import"))
        return objects

    def _class(self, name: str) -> str:
        """The class of the project for a class of the data set. Names that a project cannot have are changed."""
        if name not in self._names:
            known = {*(() if self._placeholder else self._project.classes), *self._names.values()}
            mine = class_name(name, taken=[other for other in known if other != name])
            self._names[name] = mine
            if mine != name:
                self.report.renamed[name] = mine
        return self._names[name]

    def _add_classes(self, objects: Sequence[Object]) -> None:
        project = self._project
        names = [name for name in dict.fromkeys(o.class_ for o in objects) if name not in project.classes]
        if not names:
            return
        project.add_classes(names)
        if self._placeholder and DEFAULT_CLASS not in self._names.values():
            project.set_classes([one for one in project.settings.classes if one.name != DEFAULT_CLASS], {})
        self._placeholder = False

    def _count(self, name: str, image: ImportedImage, sentence: str | None = None) -> None:
        outcome = self.report.outcomes[name]
        outcome.images += 1
        outcome.objects += len(image.objects)
        objects = counted(len(image.objects), "object")
        outcome.example = outcome.example or (sentence or _SENTENCES[name].format(image.name, objects))


class ImageMatcher:
    """Finds the image of a project that an image of a data set is.

    It is the same file, a file with the same content, or one with the same name and size, in this order. Of an image
    stack it is the first page.

    Args:
        images: images of the project.
        folder: their folder.
    """

    def __init__(self, images: Iterable[ImageFile], folder: Path) -> None:
        self._folder = folder
        self._by_path: dict[str, ImageFile] = {}
        self._by_bytes: dict[str, list[ImageFile]] = defaultdict(list)
        self._by_stem: dict[str, list[ImageFile]] = defaultdict(list)
        for image in (image for image in images if image.page == 1):
            self._by_path[os.path.realpath(folder / image.name)] = image
            self._by_bytes[image.stamp.partition("-")[0]].append(image)
            self._by_stem[PurePosixPath(image.name).stem.lower()].append(image)
        self._digests: dict[str, str] = {}

    def find(self, image: ImportedImage) -> ImageFile | str:
        """The image of the project, or a sentence that says why there is none."""
        if image.source is None:
            return f"The image of {image.name} is inside the annotation file; save it as a file in the project first."
        if (same := self._by_path.get(os.path.realpath(image.source))) is not None:
            return same
        equal = self._same_content(image.source)
        named = self._same_name(image) if len(equal) != 1 else equal
        if len(named) == 1:
            return named[0]
        if named:
            return f"{image.source} could be {named[0].name} or {named[1].name} of the project."
        return f"{image.source} is no image of {self._folder}."

    def _same_content(self, source: str) -> list[ImageFile]:
        try:
            candidates = self._by_bytes.get(str(os.stat(source).st_size), [])
            wanted = self._digest(source) if candidates else ""
        except OSError:
            return []
        return [one for one in candidates if self._digest(str(self._folder / one.name)) == wanted]

    def _same_name(self, image: ImportedImage) -> list[ImageFile]:
        """Images with the stem and size; of several those whose folders agree best."""
        parts = PurePosixPath(Path(image.source or "").as_posix()).parts[:-1]
        stem = Path(image.source or "").stem.lower()
        same = [one for one in self._by_stem.get(stem, []) if (one.height, one.width) == tuple(image.size)]
        scores = [_agreement(PurePosixPath(one.name).parts[:-1], parts) for one in same]
        return [one for one, score in zip(same, scores, strict=True) if score == max(scores)]

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
            self._digests[path] = digest.hexdigest()
        return self._digests[path]


def class_name(name: str, taken: Iterable[str] = ()) -> str:
    """A class name as a project can have it: without the characters of paths, and different from `taken`.

    Args:
        name: name in the data set.
        taken: names of other classes; upper and lower case are not distinguished.
    """
    text = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in name).strip().lstrip(".")[:60]
    others = {other.lower() for other in taken}
    text = text or "unnamed"
    numbered = (text if i == 1 else f"{text} {i}" for i in range(1, len(others) + 3))
    return make_class(next(one for one in numbered if one.lower() not in others)).name


def _agreement(one: Sequence[str], other: Sequence[str]) -> int:
    """Number of equal folders, from the last one on."""
    same = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        same += 1
    return same


def _content(objects: Sequence[Object]) -> Counter[tuple[str, str]]:
    return Counter((o.class_, o.rle.counts) for o in objects)


def imported_image(values: Mapping[str, Any]) -> ImportedImage:
    """An `ImportedImage` from JSON."""
    return ImportedImage(**{**values, "size": tuple(values["size"])})


__all__ = ["SAVED", "ImageMatcher", "ImportReport", "Importer", "Outcome", "class_name", "imported_image"]
