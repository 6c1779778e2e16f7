"""Label Studio's labelling configuration (XML): where the image is, and which control takes masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from samtailor.errors import InputError

CONTROLS = ("BrushLabels", "PolygonLabels")
"""Controls that a mask can be given to, the first that a configuration has is taken."""


@dataclass(frozen=True)
class LabelConfig:
    """What is needed of a configuration.

    Args:
        image: name of the image's tag.
        value: key of the task's data that holds the image's address.
        control: name of the tag that masks are given to.
        kind: "brushlabels" or "polygonlabels".
        labels: of that control.
    """

    image: str
    value: str
    control: str
    kind: str
    labels: tuple[str, ...]

    def label(self, wanted: Sequence[str]) -> str:
        """The first wanted label that the control has, else its first one."""
        return next((name for name in wanted if name in self.labels), self.labels[0])


def parse(text: object) -> LabelConfig:
    """Read a configuration.

    Raises:
        InputError: not one, or one without an image and a BrushLabels or PolygonLabels for it.
    """
    if not isinstance(text, str) or "<!" in text.replace("<!--", ""):  # no entities: they can be made to explode
        raise InputError("The labelling configuration must be XML without a document type.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"The labelling configuration is not XML: {error}.") from error
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    for kind in CONTROLS:
        for tag in root.iter(kind):
            target = (tag.get("toName") or "").split(",")[0]
            labels = tuple(label.get("value", "") for label in tag.iter("Label") if label.get("value"))
            if target in images and images[target].startswith("$") and labels and tag.get("name"):
                return LabelConfig(target, images[target][1:], tag.get("name", ""), kind.lower(), labels)
    raise InputError(
        "The labelling configuration needs an <Image> and <BrushLabels> or <PolygonLabels> with labels for it; "
        'for clicks also <KeyPointLabels smart="true">, for boxes <RectangleLabels smart="true">.'
    )


__all__ = ["CONTROLS", "LabelConfig", "parse"]
