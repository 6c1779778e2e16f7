"""A change of the list of classes: new, renamed, removed and moved classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from samtailor.errors import InputError, counted
from samtailor.serve.refusals import Taken
from samtailor.workbench.settings import Class, Settings, updated_aliases, with_color


class ClassChange:
    """A new list of classes in place of the present one.

    Args:
        present: names of the present classes.
        classes: the new list.
        renamed: old name to new name.
        moved: class that is removed to the class of the new list that its objects get.

    Raises:
        InputError: a duplicate name, or an invalid renaming or move.
    """

    def __init__(
        self, present: Sequence[str], classes: Sequence[Class], renamed: Mapping[str, str], moved: Mapping[str, str]
    ) -> None:
        self._old, self._classes = set(present), classes
        self._names = names = [class_.name for class_ in classes]
        if len({name.lower() for name in names}) != len(names):
            raise InputError("Two classes have the same name (upper and lower case are not distinguished).")
        renamed = {a: b for a, b in renamed.items() if a != b}
        if wrong := [a for a, b in renamed.items() if not self._can_rename(a, b)]:
            raise InputError(
                f"{wrong[0]!r} cannot be renamed to {renamed[wrong[0]]!r}: the old name must be an existing class "
                "that is not in the new list, and the new name must be new in it."
            )
        if wrong := [a for a, b in moved.items() if not self._can_move(a, b) or a in renamed]:
            raise InputError(
                f"The objects of {wrong[0]!r} cannot get the class {moved[wrong[0]]!r}: the first must be a class "
                "that is removed, and the second one of the new list."
            )
        self.renamed = {**renamed, **moved}

    def check(self, images: Mapping[str, int]) -> None:
        """Raise Taken if a class that is in use would be removed.

        Args:
            images: number of images with objects of each class.
        """
        kept = {*self._names, *self.renamed}
        if removed := [name for name in self._old if name not in kept and images.get(name)]:
            number = counted(images[removed[0]], "image has", "images have")
            raise Taken(f"The class {removed[0]!r} cannot be removed: {number} objects of it.")

    def applied(self, settings: Settings) -> Settings:
        """The settings with the new list; records are still to be rewritten."""
        changed = {
            "classes": [with_color(class_, i) for i, class_ in enumerate(self._classes)],
            "aliases": updated_aliases(settings.aliases, self.renamed, self._names),
            "renaming": self.renamed,
        }
        return settings.model_copy(update=changed)

    def _can_rename(self, old: str, new: str) -> bool:
        return old in self._old and old not in self._names and new in self._names and new not in self._old

    def _can_move(self, old: str, new: str) -> bool:
        return old in self._old and old not in self._names and new in self._names


__all__ = ["ClassChange"]
