"""An adapter asked for another class, and what the parts of a method weigh (Kim et al., Fig. 6 and Table 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from samtailor.bases import Base
from samtailor.evaluation.masks import evaluate_many
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache


def cross_model(
    base: Base,
    adapters: Mapping[str, Segmenter],
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    store: EmbeddingCache | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Adapters fitted to one class, asked for another (Kim et al., Fig. 6).

    Args:
        adapters: name (usually the class it was fitted to) to segmenter on `base`.
        samples: held-out images.
        classes: whose masks are asked for; the columns.

    Returns:
        `rows` (the base first), `columns`, `miou` [row][column] in 0..1 with None where a class has no mask, and
        `summaries` by row.
    """
    found = evaluate_many({"SAM": base, **adapters}, samples, classes=classes, store=store, seed=seed)
    summaries = {name: evaluation.summary() for name, evaluation in found.items()}
    table = [[s["classes"].get(c, {}).get("miou") for c in classes] for s in summaries.values()]
    return {"rows": list(found), "columns": list(classes), "miou": table, "summaries": summaries}


def parameters(base: Base) -> dict[str, Any]:
    """What every part weighs, in numbers (Kim et al., Table 4), for any base.

    The Fourier matrix of positions is left out: Meta's code has it as a buffer, transformers as a parameter.

    Returns:
        `image_encoder`, `prompt_encoder`, `mask_decoder`, `base` (their sum and what else the base has), `plm` and
        `plm_paper` (with and without the zero-initialised head), `pmm`, and of the paper's variant `train`
        (PLM + PMM) and `inference` (PLM); `share` of the base that is trained.
    """
    model = base.model
    counts = {name: _count(getattr(model, name)) for name in ("vision_encoder", "prompt_encoder", "mask_decoder")}
    whole = _count(model)
    ours, paper = (find("methods", "plm-pmm").build(base, head=head)[0] for head in ("zero_linear", "paper_plain"))
    plm, pmm = _count(paper.adapter("plm")), _count(paper.adapter("pmm"))
    return {
        "image_encoder": counts["vision_encoder"],
        "prompt_encoder": counts["prompt_encoder"],
        "mask_decoder": counts["mask_decoder"],
        "base": whole,
        "plm": _count(ours.adapter("plm")),
        "plm_paper": plm,
        "pmm": pmm,
        "train": plm + pmm,
        "inference": plm,
        "share": plm / whole,
    }


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for name, p in module.named_parameters() if not name.endswith("positional_embedding"))


__all__ = ["cross_model", "parameters"]
