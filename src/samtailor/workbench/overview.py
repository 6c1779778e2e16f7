"""What is known of the images of a project without reading a record: their states and numbers of objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from samtailor.workbench.annotation_folder import AnnotationFolder, Summary
from samtailor.workbench.images import ImageFile, ImageFolder

STATES = ("open", "proposed", "accepted", "failed")


class Overview:
    """States and counts of the images of a project.

    Args:
        images: the images.
        annotations: their records.
        present: the present name of a class in a record that a renaming has not reached yet.
    """

    def __init__(self, images: ImageFolder, annotations: AnnotationFolder, present: Callable[[str], str]) -> None:
        self._images, self._annotations, self._present = images, annotations, present

    def row(self, image: ImageFile) -> dict[str, Any]:
        """An image as the page lists it."""
        summary, (state, error) = self._annotations.summaries.get(image.id), self.state(image)
        proposed = summary is not None and state == "proposed"
        return {
            "id": image.id, "name": image.name, "width": image.width, "height": image.height, "state": state,
            "objects": 0 if summary is None else sum(summary.labels.values()),
            "uncertainty": summary.record.uncertainty if summary is not None and proposed else None,
            "match": summary.match if summary is not None and proposed else None,
            "labels": {} if summary is None else {self._present(name): n for name, n in summary.labels.items()},
            "page": image.page, "pages": image.pages, "error": error,
        }  # fmt: skip

    def state(self, image: ImageFile) -> tuple[str, str | None]:
        """State of an image and, if it is "failed", the reason."""
        summary = self._annotations.summaries.get(image.id)
        if image.error is not None or summary is None:
            return ("open", None) if image.error is None else ("failed", image.error)
        return summary.state(image)

    def in_states(self, states: tuple[str, ...]) -> Iterator[ImageFile]:
        """Images in some states, in the order of the list."""
        return (image for image in self._images.all().values() if self.state(image)[0] in states)

    def counts(self) -> dict[str, int]:
        """Number of images in each state."""
        counter = Counter(self.state(image)[0] for image in self._images.all().values())
        return {state: counter[state] for state in STATES}

    def labels(self, state: str) -> Counter[str]:
        """Number of images with objects of each class, of the images in a state."""
        summaries = (self._annotations.summaries.get(image.id) for image in self.in_states((state,)))
        return Counter(self._present(label) for summary in summaries if summary for label in summary.labels)

    def objects_of(self) -> dict[str, int]:
        """Number of objects of each class over all images, whatever their state."""
        counter = Counter[str]()
        for summary in self._summaries():
            counter.update({self._present(label): number for label, number in summary.labels.items()})
        return dict(counter)

    def images_with(self) -> Counter[str]:
        """Number of images with objects of each class, whatever their state."""
        return Counter(self._present(label) for summary in self._summaries() for label in summary.labels)

    def _summaries(self) -> list[Summary]:
        return list(self._annotations.summaries.values())  # a copy: other threads save


__all__ = ["STATES", "Overview"]
