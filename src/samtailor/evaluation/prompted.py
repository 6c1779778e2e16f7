"""Evaluate base model and adapters with one prompt for each mask; of several adapters each on its own classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from samtailor.errors import InputError
from samtailor.evaluation.masks import evaluate_many
from samtailor.evaluation.scores import Evaluation
from samtailor.evaluation.subject import Scope, Subject


@dataclass(frozen=True)
class ScopeEvaluation:
    """The evaluations of one scope by name."""

    scope: Scope
    evaluations: Mapping[str, Evaluation]


def evaluate_scopes(
    subject: Subject,
    *,
    prompt: str | None = None,
    seed: int = 0,
    refine: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[ScopeEvaluation]:
    """Evaluate each adapter on its classes, with the base model beside it.

    Args:
        subject: as `select` returns it.
        prompt, seed, refine: see `masks.evaluate_many`.
        progress: called with (images done, images in total), where an image counts once for each adapter.

    Raises:
        InputError: no mask to evaluate, or adapters of which some predict regions and others objects.
    """
    scopes, images = subject.scopes, len(subject.samples)
    if not scopes:
        raise InputError(
            f"There is no mask to evaluate: {images} images, none has a mask of {', '.join(subject.fitted_classes)}."
        )
    kinds = {scope.adapter.meta.inference.regions for scope in scopes if scope.adapter is not None}
    if len(kinds) > 1:
        raise InputError(
            "Some of the adapters segment one region per image and others single objects. Evaluate them one by one."
        )
    made = []
    for number, scope in enumerate(scopes):

        def report(done: int, _: int, before: int = number * images) -> None:
            if progress is not None:
                progress(before + done, len(scopes) * images)

        evaluations = evaluate_many(
            scope.segmenters, subject.samples, classes=scope.classes, prompt=prompt, store=subject.store, seed=seed,
            refine=refine, progress=report,
        )  # fmt: skip
        made.append(ScopeEvaluation(scope, evaluations))
    return made


def joined(parts: Sequence[ScopeEvaluation]) -> dict[str, Evaluation]:
    """The evaluations of all scopes together, by name; the masks of a scope follow those of the one before.

    A name that not all scopes have (refined masks) is left out.
    """
    first, *others = (part.evaluations for part in parts)
    together = {}
    for name, evaluation in first.items():
        same = [one[name] for one in others if name in one]
        if len(same) < len(others):
            continue
        every = [evaluation, *same]
        rows = tuple(row for one in every for row in one.rows)
        prompts = ", ".join(dict.fromkeys(one.prompt for one in every))
        together[name] = Evaluation(rows, prompts, evaluation.seed)
    return together


__all__ = ["ScopeEvaluation", "evaluate_scopes", "joined"]
