"""Parse Label Studio's labeling configuration (XML): the key of the image and the control for masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from samtailor.errors import InputError

_MAX_LENGTH = 200_000
CONTROLS = ("BrushLabels", "PolygonLabels")
"""Controls for masks, in order of preference."""


@dataclass(frozen=True)
class LabelConfig:
    """The relevant parts of a configuration.

    Args:
        image: name of the image tag.
        value: key of the image address in the data of a task.
        control: name of the tag for masks.
        kind: "brushlabels" or "polygonlabels".
        labels: of that control.
    """

    image: str
    value: str
    control: str
    kind: str
    labels: tuple[str, ...]

    def label(self, wanted: Sequence[str]) -> str:
        """The first of the wanted labels that the control has, else its first label."""
        return next((name for name in wanted if name in self.labels), self.labels[0])


def parse(text: object) -> LabelConfig:
    """Parse a configuration.

    Raises:
        InputError: not a configuration, or without an image that has BrushLabels or PolygonLabels.
    """
    if isinstance(text, str) and len(text) > _MAX_LENGTH:
        raise InputError(f"A labeling configuration has at most {_MAX_LENGTH:,} characters, got {len(text):,}.")
    if not isinstance(text, str) or "<!" in text.replace("<!--", ""):  # entities can expand without limit
        raise InputError("The labeling configuration must be XML without a document type.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: characters that are not Unicode
        raise InputError(f"The labeling configuration is not XML: {error}.") from error
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    for kind in CONTROLS:
        for tag in root.iter(kind):
            target = (tag.get("toName") or "").split(",")[0]
            labels = tuple(label.get("value", "") for label in tag.iter("Label") if label.get("value"))
            if target in images and images[target].startswith("$") and labels and tag.get("name"):
                return LabelConfig(target, images[target][1:], tag.get("name", ""), kind.lower(), labels)
    raise InputError(
        "The labeling configuration needs an <Image> and <BrushLabels> or <PolygonLabels> with labels for it; "
        'for clicks also <KeyPointLabels smart="true">, for boxes <RectangleLabels smart="true">.'
    )


__all__ = ["CONTROLS", "LabelConfig", "parse"]
