"""Whether an adapter segments the objects of its learned proposals better than the base model (`fitting.gate`).

Both get the same prompts, so that the comparison is paired, also on images that the proposals were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.evaluation.instances import LOWEST, InstanceEvaluation, evaluate_instances
from samtailor.fitting.gate import Decision, Gate, Judged, decide, gate_of
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource
from samtailor.structures import InferenceSpec, Sample

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache

_NAME = "adapter"


def gate_instances(
    base: Base, folder: Path, samples: Sequence[Sample], classes: Sequence[str], store: EmbeddingCache
) -> Decision | None:
    """Compare adapter and base model on the prompts of its proposals, and save who segments the objects.

    Args:
        base: of the adapter.
        folder: of the adapter, with proposals.
        samples: images that the adapter did not learn from.
        classes: of the proposals.
        store: cached embeddings.

    Returns:
        the decision, with the mean F1 per image (IoU of at least 0.5) as its metric; None if no image has an object.
        The error of the number of objects per image is saved with the adapter (`fitting.verdict.count_sentence`).
    """
    judged = [sample for sample in samples if sample.of(classes)]
    if not judged:
        return None
    loaded = artefact.load(folder, base)
    inference = loaded.segmenter.inference
    adapter_alone = {name: value for name, value in inference.strength.items() if name != "instances"}
    loaded.segmenter.inference = replace(inference, strength=adapter_alone)
    predictor = Predictor(base, {_NAME: loaded.segmenter}, store=store)
    sources = {
        "base": AdapterSource.of(predictor, None, folder, lowest=LOWEST, prompt_type=_prompt_type(folder)),
        "new": AdapterSource.of(predictor, _NAME, folder, lowest=LOWEST),
    }
    evaluations = evaluate_instances(predictor, sources, judged, classes, store=store)
    scores = {name: _by_image(one) for name, one in evaluations.items()}
    decision = decide(
        Judged(
            "instances",
            images=tuple(sample.id for sample in judged),
            groups=tuple(sample.group or sample.id for sample in judged),
            new=scores["new"],
            base=scores["base"],
            objects=sum(len(sample.of(classes)) for sample in judged),
            metric="F1",
        ),
        unjudged="adapter",
    )
    strength = adapter_alone | ({"instances": 0.0} if decision.answers == "base" else {})
    counts = evaluations["base" if decision.answers == "base" else "new"].count_figures()
    _save(folder, replace(inference, strength=strength), decision, counts)
    return decision


def _by_image(evaluation: InstanceEvaluation) -> tuple[float, ...]:
    return tuple(replace(evaluation, images=(image,)).accepted_f1() for image in evaluation.images)


def _prompt_type(folder: Path) -> str:
    from samtailor.proposals import disk

    return disk.read_meta(folder).give


def _save(folder: Path, inference: InferenceSpec, decision: Decision, counts: Mapping[str, Any]) -> None:
    meta = artefact.read_meta(folder)
    gate = gate_of(meta.figures) or Gate(())
    others = tuple(one for one in gate.decisions if one.way != decision.way)
    gate = replace(gate, decisions=(*others, decision))
    figures = {**meta.figures, "comparison": gate.to_json(), **counts}
    figures |= {"count_images": decision.images, "count_objects": decision.objects}
    artefact.update(folder, inference=inference, figures=figures)


__all__ = ["gate_instances"]
