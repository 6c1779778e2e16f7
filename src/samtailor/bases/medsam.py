"""MedSAM (Ma et al., arXiv 2304.12306): SAM ViT-B trained on medical images, by the name `medsam`.

It was trained with boxes as prompts. A copy in a folder loads as any other SAM: `--base FOLDER`.
"""

from __future__ import annotations

from samtailor.bases.sam import Sam, load

NAME, HUB_ID = "medsam", "wanglab/medsam-vit-base"


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`: only its own name."""
    return source == NAME


def build(source: str = NAME) -> Sam:
    """Load it from the hub, or from the cache of the hub on this machine.

    Raises:
        BaseUnavailableError: it is not in the cache, and the hub cannot be reached.
    """
    return load(HUB_ID, NAME)
