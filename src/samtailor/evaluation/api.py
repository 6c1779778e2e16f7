"""`samtailor.evaluate`: base model and adapter on the masks of a data set, as `samtailor evaluate` does it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from samtailor.bases import Base
from samtailor.data.dataset import class_names
from samtailor.errors import InputError
from samtailor.evaluation.instances import LOWEST, InstanceEvaluation, Sources, by_class, evaluate_instances
from samtailor.evaluation.prompted import evaluate_scopes, joined
from samtailor.evaluation.scores import Evaluation
from samtailor.evaluation.subject import Subject, select
from samtailor.predict.source import AdapterSource
from samtailor.proposals import disk as proposals
from samtailor.train.progress_lines import ProgressLines, count_lines

if TYPE_CHECKING:
    from samtailor.structures import Sample

Result = TypeVar("Result", Evaluation, InstanceEvaluation)
_log = logging.getLogger("samtailor.evaluation")
AUTO = "auto"
"""Value of `prompt` that finds objects without a prompt."""


def evaluate(
    data: str | Path | Sequence[Sample],
    adapter: str | Path | None = None,
    base: str | Path | Base | None = None,
    *,
    classes: Sequence[str] | None = None,
    prompt: str | None = None,
    split: str | None = None,
    include_train: bool = False,
    limit: int | None = None,
    detector: str | None = None,
    detector_classes: Sequence[str] | None = None,
    threshold: float | None = None,
    prompt_type: str | None = None,
    seed: int = 0,
    format: str | None = None,
    group: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    device: str | None = None,
    verbose: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation | InstanceEvaluation:
    """Evaluate an adapter and its base model on the masks of a data set.

    One prompt for each mask; the predicted mask is the candidate with the highest predicted IoU (single-point
    protocol, Kirillov et al. 2023, section 7.1). Test images are used where there are any: the test part of the split
    that the adapter was fitted with, else that of the data set. Otherwise all images that the adapter was not fitted on
    are used, without its validation images if the others have enough objects. `Evaluation.part` tells which.

    Args:
        data: folder of the data set, or samples as `open_dataset` returns them.
        adapter: folder or hub id of the adapter, or folder with an adapter for each of several classes, each of which
            is evaluated on its class. None evaluates the base model alone.
        base: base model; None uses the one that the adapter was fitted on, or the bundled one.
        classes: classes to evaluate; None uses those of the adapter, or all.
        prompt: name of a prompt source, for example "mask-center" or "mask-box"; None uses the one that the adapter
            was fitted for. "auto" finds the objects without a prompt and returns an `InstanceEvaluation`.
        split: "val" or "test": this part of the split that the adapter was fitted with; "all": all images that it was
            not fitted on.
        include_train: also evaluate on the images that the adapter was fitted on.
        limit: evaluate only the first `limit` images.
        detector, detector_classes, threshold, prompt_type: for `prompt="auto"`: a detector instead of the proposals
            of the adapter, its classes, the minimum score (0 to 1), and "points" or "boxes".
        seed: seed of random prompts and of the bootstrap.
        format, group: as in `open_dataset`.
        data_options: options of the layout, for example {"mask_suffix": "_GT"}. The format and the options that are
            not given are those that the adapter was fitted with, if the data have the same layout.
        device: "cpu", "cuda", ...; None uses a GPU if there is one.
        verbose: print progress on standard error; has no effect if `progress` is given.
        progress: called with (images done, images in total).

    Returns:
        The evaluation of the adapter, with the base model on the same masks and prompts in `reference`; without an
        adapter the evaluation of the base model. Scores are in 0 to 1.

    Raises:
        InputError: an unknown class, prompt source or split, or no mask to evaluate.
        DataError: the data cannot be read.
        ArtefactError: the adapter is damaged or belongs to another base model.

    Example:
        ```python
        import samtailor

        evaluation = samtailor.evaluate("data/banners", "adapters/banner")
        print(evaluation.summary()["miou"], evaluation.reference.summary()["miou"])
        ```
    """
    subject = select(
        data, adapter, base, classes=classes, split=split, include_train=include_train, limit=limit, format=format,
        group=group, data_options=data_options, device=device,
    )  # fmt: skip
    if subject.note:
        _log.info("%s", subject.note)
    if subject.other_classes:
        _log.warning("The adapter was not fitted to %s, which it is evaluated on.", ", ".join(subject.other_classes))
    if subject.unmarked_classes:
        _log.warning("The images have no object of %s.", ", ".join(subject.unmarked_classes))
    if progress is None and verbose:
        progress = count_lines(ProgressLines(), "Evaluating images")
    if prompt == AUTO:
        instances = evaluate_automatic(
            subject, detector=detector, detector_classes=detector_classes, threshold=threshold,
            prompt_type=prompt_type, seed=seed, progress=progress,
        )  # fmt: skip
        return replace(_with_reference(instances), account=subject.account, part=subject.part)
    refuse_automatic_options(detector, detector_classes, threshold, prompt_type)
    evaluations = joined(evaluate_scopes(subject, prompt=prompt, seed=seed, progress=progress))
    return replace(_with_reference(evaluations), account=subject.account, part=subject.part)


def evaluate_automatic(
    subject: Subject,
    *,
    detector: str | None = None,
    detector_classes: Sequence[str] | None = None,
    threshold: float | None = None,
    prompt_type: str | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, InstanceEvaluation]:
    """Find the objects of all images without a prompt: mask AP, and false positives on images without an object.

    Args:
        subject: as `select` returns it.
        detector, detector_classes, threshold, prompt_type: as in `evaluate`.
        seed: seed of the bootstrap.
        progress: called with (images done, images in total).

    Returns:
        Evaluations by name, "base" and "adapter". The base model is left out if neither the proposals of all adapters
        nor a detector can prompt it. The objects of several adapters are found as in use: classes that compete share
        no pixel.

    Raises:
        InputError: an adapter segments one region per image instead of single objects, or a detector for several
            adapters.
    """
    adapters = subject.adapters
    if subject.regions:
        raise InputError(
            "The adapter segments one region per image, not single objects: evaluate it without --prompt auto."
        )
    if detector is not None and len(adapters) > 1:
        raise InputError(
            "A detector prompts a single adapter, got one for each of several classes: give the folder of one class."
        )
    predictor = subject.predictor()

    def source(name: str | None, folder: Path | None) -> AdapterSource:
        return AdapterSource.of(
            predictor, name, folder, detector=detector, classes=detector_classes, threshold=threshold, lowest=LOWEST,
            prompt_type=prompt_type,
        )  # fmt: skip

    sources: dict[str, Sources] = {}
    if not adapters:
        sources["base"] = source(None, None)
    elif detector is not None or all(proposals.exists(one.folder) for one in adapters):
        sources["base"] = by_class((one.meta.classes, source(None, one.folder)) for one in adapters)
    if adapters:
        sources["adapter"] = by_class(
            (one.meta.classes, source(name, one.folder)) for name, one in subject.named.items()
        )
    classes = list(subject.classes or class_names(subject.samples))
    return evaluate_instances(
        predictor, sources, subject.samples, classes, store=subject.store, seed=seed, progress=progress
    )


def refuse_automatic_options(
    detector: str | None, detector_classes: Sequence[str] | None, threshold: float | None, prompt_type: str | None
) -> None:
    """Raise an `InputError` if an option of automatic mode is given without `prompt="auto"`."""
    if detector or detector_classes or prompt_type or threshold is not None:
        raise InputError("detector, detector_classes, threshold and prompt_type are options of --prompt auto.")


def _with_reference(evaluations: Mapping[str, Result]) -> Result:
    """The evaluation of the adapter with that of the base model as its reference."""
    last = list(evaluations)[-1]
    if last == "base" or "base" not in evaluations:
        return evaluations[last]
    return replace(evaluations[last], reference=evaluations["base"])


__all__ = ["AUTO", "Subject", "evaluate", "evaluate_automatic", "refuse_automatic_options", "select"]
