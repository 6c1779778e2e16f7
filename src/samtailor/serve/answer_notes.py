"""What a client should know about an answer: empty masks, answers of the base model, classes of other adapters."""

from __future__ import annotations

from collections.abc import Sequence

from samtailor.errors import counted
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.engine import Prediction


def notes(loaded: LoadedAdapter, predictions: Sequence[Prediction], *, automatic: bool) -> list[str]:
    """Sentences about the predictions of one image; none if everything is as requested.

    Args:
        loaded: the adapter, or the base model.
        predictions: of one image.
        automatic: they are not for prompts of the client.
    """
    lines = []
    if empty := sum(one.area == 0 for one in predictions):
        lines.append(f"{empty} of {counted(len(predictions), 'mask')} empty: nothing was found there.")
    if automatic or loaded.meta is None:
        return lines
    asked = dict.fromkeys(one.label for one in predictions if one.label is not None)
    for one in [one for one in loaded.members if set(asked) & set(one.classes)] or [loaded]:
        if not one.members and one.meta is not None and (types := one.meta.inference.base_prompts):
            plural = " and ".join({"click": "clicks", "box": "boxes"}[name] for name in types)
            lines.append(f"The base model answers {plural}: the adapter {one.name!r} was not better there.")
    if loaded.members and any(one.label is None for one in predictions):
        lines.append(
            f"The base model answers prompts without a label: {loaded.name!r} has one adapter for each class, "
            f"{', '.join(loaded.classes)}. Give the class as the label of the prompt."
        )
    if others := [label for label in asked if loaded.classes and label not in (*loaded.classes, loaded.name)]:
        lines.append(
            f"The adapter {loaded.name!r} segments {', '.join(loaded.classes)}; it was not fitted to "
            f"{', '.join(others)}."
        )
    return lines


__all__ = ["notes"]
