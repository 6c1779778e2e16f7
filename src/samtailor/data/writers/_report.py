"""What a format cannot hold: objects that were left out or changed, counted by reason, with examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from samtailor.errors import counted

_EXAMPLES = 5


@dataclass
class WriteReport:
    """Account of a written data set. `images` and `objects` are what was given, less nothing.

    Args:
        images, objects: number of images and objects that were given to the writer.
        left_out: objects that are not in the result, by reason.
        changed: objects that are in the result but not as they were given, by reason. An object may have several.
        images_left_out: images that are not in the result, by reason; their objects count as left out.
        renamed: names of classes and images as given, and as written, where they differ.
        notes: other deviations, as sentences.
        examples: by reason, "IMAGE: CLASS" of the first objects.
    """

    images: int = 0
    objects: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    images_left_out: Counter[str] = field(default_factory=Counter)
    renamed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def written(self) -> int:
        """Number of objects that are in the result."""
        return self.objects - sum(self.left_out.values())

    @property
    def complete(self) -> bool:
        """Whether everything was written as it was given."""
        return not (self.left_out or self.changed or self.images_left_out or self.renamed or self.notes)

    def leave_out(self, image: str, label: str, reason: str) -> None:
        """Count an object that is not in the result."""
        self.left_out[reason] += 1
        self._example(reason, f"{image}: {label}")

    def change(self, image: str, label: str, reason: str) -> None:
        """Count an object that is written in another form."""
        self.changed[reason] += 1
        self._example(reason, f"{image}: {label}")

    def leave_out_image(self, image: str, objects: int, reason: str) -> None:
        """Count an image that is not in the result, and its objects."""
        self.images_left_out[reason] += 1
        if objects:
            self.left_out[reason] += objects
        self._example(reason, image)

    def sentences(self) -> list[str]:
        """The account for people, one sentence for each reason; empty if everything was written as it was given."""
        lines = [
            f"Left out {counted(n, 'image')}: {self._with_examples(why)}" for why, n in self.images_left_out.items()
        ]
        lines += [
            f"Left out {counted(n, 'object')}: {self._with_examples(why)}"
            for why, n in self.left_out.items()
            if why not in self.images_left_out
        ]
        lines += [f"Changed {counted(n, 'object')}: {self._with_examples(why)}" for why, n in self.changed.items()]
        if self.renamed:
            pairs = [f"{old!r} is {new!r}" for old, new in self.renamed.items()]
            more = f" and {len(pairs) - _EXAMPLES} more" if len(pairs) > _EXAMPLES else ""
            lines.append(f"Names written in another form: {', '.join(pairs[:_EXAMPLES])}{more}.")
        return [*lines, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """The account as JSON-compatible values."""
        counts = {name: dict(getattr(self, name)) for name in ("images_left_out", "left_out", "changed")}
        more = {"renamed": self.renamed, "notes": self.notes, "examples": self.examples}
        return {"images": self.images, "objects": self.objects, "written": self.written, **counts, **more}

    def _example(self, reason: str, text: str) -> None:
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(text)

    def _with_examples(self, reason: str) -> str:
        shown = ", ".join(self.examples.get(reason, ())[:3])
        return f"{reason} (for example {shown})." if shown else f"{reason}."


__all__ = ["WriteReport"]
