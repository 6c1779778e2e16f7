"""SlimSAM (Chen et al., arXiv 2312.05284): SAM ViT-B, pruned to half of its width, by the name `slimsam`.

Other pruned models (`Zigeng/SlimSAM-uniform-77`, a quarter of the width) and copies in a folder load as any other SAM,
by their hub id or folder.
"""

from __future__ import annotations

from samtailor.bases.sam import Sam, load

NAME, HUB_ID = "slimsam", "Zigeng/SlimSAM-uniform-50"


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`: only its own name."""
    return source == NAME


def build(source: str = NAME) -> Sam:
    """Load it from the hub, or from the cache of the hub on this machine.

    Raises:
        BaseUnavailableError: it is not in the cache, and the hub cannot be reached.
    """
    return load(HUB_ID, NAME)
