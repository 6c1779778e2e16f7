"""Target-guided attention and target-semantic prompting of PerSAM in the mask decoder of a base."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases import Base
from samtailor.bases._modules import shallow_copy

_TRANSFORMER = "mask_decoder.transformer"
_CROSS = "cross_attn_token_to_image"


def guided(base: Base, guide: Tensor, target: Tensor) -> Base:
    """A twin of a base whose mask decoder is guided to a target; the base itself is not changed.

    Args:
        base: frozen base.
        guide: (G G,) what is added to the attention of every token to each cell of the image.
        target: (D,) embedding of the target, added to every token before each layer.
    """
    model: Any = base.model
    transformer = model.mask_decoder.transformer
    names = [f"{_TRANSFORMER}.{name}" for name, _ in transformer.named_modules() if name.endswith(_CROSS)]
    known = dict(model.named_modules())
    attending = base.with_modules({name: _GuidedAttention(known[name], guide) for name in names})
    guided_model: Any = attending.model
    inner = guided_model.mask_decoder.transformer
    return attending.with_modules({_TRANSFORMER: _prompted(inner, target)})


class _GuidedAttention(nn.Module):
    """Stands in for an attention of tokens to the image: Softmax(A + guide), A being the attention after its softmax.

    Args:
        attention: of SAM or SAM 2 in transformers.
        guide: (K,) for the K cells.
    """

    def __init__(self, attention: Any, guide: Tensor) -> None:
        super().__init__()
        self._attention, self._guide = (attention,), guide  # a tuple hides it from nn.Module

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **_: Any) -> tuple[Tensor, None]:
        """(B, P, N, D) from (B, P, K, D)."""
        (attention,) = self._attention
        heads = attention.num_attention_heads
        query, key, value = (
            project(x).unflatten(-1, (heads, -1)).transpose(-3, -2)
            for project, x in ((attention.q_proj, query), (attention.k_proj, key), (attention.v_proj, value))
        )
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        attended = (weights + self._guide).softmax(-1) @ value
        out = attention.o_proj if hasattr(attention, "o_proj") else attention.out_proj
        return out(attended.transpose(-3, -2).flatten(-2)), None


def _prompted(transformer: Any, target: Tensor) -> nn.Module:
    """A copy of the decoder's transformer to which the embedding (D,) of the target is passed.

    The forward of SAM and SAM 2 in transformers adds it to the tokens before each layer.
    """

    def prompt(module: nn.Module, positional: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        tokens = named["point_embeddings"].clone()  # it is added in place
        return positional, named | {"point_embeddings": tokens, "target_embedding": target}

    copy = shallow_copy(transformer)
    copy.register_forward_pre_hook(prompt, with_kwargs=True)
    return copy


def guide_of(similarity: Tensor, grid: int) -> Tensor:
    """What is added to the attention, (grid grid,), from a similarity map (h, w): standardized, then a sigmoid.

    The paper adds alpha Softmax(S); this is the form in the authors' code.
    """
    standard = (similarity - similarity.mean()) / similarity.std().clamp(min=1e-6)
    small = F.interpolate(standard[None, None], (grid, grid), mode="bilinear", align_corners=False)
    return torch.sigmoid(small).flatten()


__all__ = ["guide_of", "guided"]
