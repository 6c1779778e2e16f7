"""`med-sa`: Med-SA, the Medical SAM Adapter (Wu et al., arXiv 2304.12620): bottleneck adapters in every block of the
image encoder, the mask decoder trained, one click. The encoder changes, so embeddings cannot be cached.

7,100,928 parameters in the adapters of SAM ViT-B and 3,638,916 in the decoder (of its 4,058,340, the MLPs of the three
unused masks would get no gradient). Its click comes from the true mask at test too: an oracle prompt, not comparable
with methods without a prompt. The random views of the reference and its Dice averaged over five thresholds are not
implemented.

A convolutional encoder, as of the bundled base, gets one adapter after each of its blocks.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from samtailor.adapters.bottleneck import Bottlenecks
from samtailor.adapters.decoder_tail import DecoderCopy, Single
from samtailor.bases import Base
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.joint import Joint
from samtailor.train.losses import cross_entropy

TITLE = "Med-SA"
# Adam 1e-4, halved every 10 of 100 epochs
DEFAULTS: dict[str, Any] = {
    "epochs": 100,
    "batch_size": 2,
    "lr": 1e-4,
    "weight_decay": 0.0,
    "warmup": 0,
    "milestones": tuple(round(0.1 * tenth, 1) for tenth in range(1, 10)),
    "gamma": 0.5,
}


def build(
    base: Base, *, ratio: float = 0.25, positive_weight: float = 2.0, **unknown: Any
) -> tuple[Segmenter, partial[Joint]]:
    """Med-SA.

    Args:
        base: frozen base.
        ratio: hidden width of the adapters relative to that of the block.
        positive_weight: weight of the cells of the object in the cross entropy.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    inside = {"adapters": Bottlenecks(base, ratio=ratio), "decoder": DecoderCopy(base, ends=True)}
    segmenter = Segmenter(base, inside=inside, outputs={"single": Single()}, encoder_frozen=False)
    return segmenter, partial(Joint, objective=cross_entropy, positive_weight=positive_weight)
