"""Prompt learning module (Kim et al., arXiv 2403.09199, section 4.1): an offset for every prompt token.

Delta f_P = phi(f_P, f_I), f~_P = f_P + Delta f_P. Self-attention between the tokens, attention from the tokens to the
image embedding, then an MLP for each token; eight heads, LayerNorm after each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samtailor.bases.decoder import cross_attention, is_cpu_full_precision
from samtailor.errors import InputError
from samtailor.registry import choose
from samtailor.structures import Features, Tokens

HEADS = ("zero_linear", "paper_plain")


class PLM(nn.Module):
    """phi of the paper. All sparse tokens are transformed; a click has two, the point and SAM's "not a point" token.

    Positions enter as in SAM's two-way transformer: the original tokens are added to the queries (and to the keys of
    self-attention), the Fourier encoding of the grid to the image keys, nothing to the values. Unlike in SAM's first
    layer, every sub-layer has a residual connection. The paper's count of 1.6 M does not determine this design: a
    whole two-way block of SAM with an unused fourth sub-layer (1,579,520) rounds to the same.

    Args:
        dim: token width D; a multiple of `heads`.
        heads: attention heads (the paper's T = 8).
        mlp_dim: hidden width of the MLP.
        head: "zero_linear" ends in a linear layer of zeros (1,644,544 parameters at D = 256): the first output is
            exactly the base's, and the offset can still change fast. "paper_plain" has the paper's count (1,578,752)
            and starts with an offset of norm sqrt(D) for every token. This is more than the positional encoding of a
            click, so that the position of the click is lost at first.

    Raises:
        InputError: dim is not a multiple of heads, or head is unknown.
    """

    def __init__(self, dim: int, *, heads: int = 8, mlp_dim: int = 2048, head: str = "zero_linear") -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"The token width must be a multiple of the heads, got {dim} and {heads}.")
        choose("head", head, HEADS)
        self.tokens_to_tokens = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm1 = nn.LayerNorm(dim)
        self.tokens_to_image = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.ReLU(), nn.Linear(mlp_dim, dim))
        self.norm3 = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, dim) if head == "zero_linear" else nn.Identity()
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def offset(self, sparse: Tensor, image: Tensor, positions: Tensor, *, fast: bool = False) -> Tensor:
        """Delta f_P.

        Args:
            sparse: (B, P, N, D) encoded prompts f_P.
            image: (B, D, H, W) image embedding f_I.
            positions: (1, D, H, W) Fourier encoding of the grid.
            fast: attend to the image in a cheaper order of the sums, on a CPU in full precision.

        Returns:
            (B, P, N, D).
        """
        batch, prompts, count, dim = sparse.shape
        tokens = sparse.reshape(batch * prompts, count, dim)  # self-attention stays within a prompt
        attended = self.tokens_to_tokens(tokens + tokens, tokens + tokens, tokens, need_weights=False)[0]
        x = self.norm1(tokens + attended)
        # queries do not interact in this layer: all prompts at once
        queries = (x + tokens).reshape(batch, prompts * count, dim)
        keys, values = ((image + positions).flatten(2).mT, image.flatten(2).mT)
        if fast and is_cpu_full_precision(image):
            attended = cross_attention(self.tokens_to_image, queries, keys, values)
        else:
            attended = self.tokens_to_image(queries, keys, values, need_weights=False)[0]
        x = self.norm2(x + attended.reshape(x.shape))
        return self.head(self.norm3(x + self.mlp(x))).reshape(sparse.shape)

    def forward(self, tokens: Tokens, features: Features, positions: Tensor, *, fast: bool = False) -> Tokens:
        """f~_P = f_P + Delta f_P; the dense prompt and prompts without sparse tokens are not changed."""
        if tokens.sparse.shape[2] == 0:
            return tokens
        image = features.main.to(tokens.sparse.dtype)
        offset = self.offset(tokens.sparse, image, positions.to(image.dtype), fast=fast)
        return Tokens(tokens.sparse + offset, tokens.dense)


def offset_norm(plm: PLM, tokens: Tokens, features: Features, positions: Tensor) -> Tensor:
    """(B, P, N) norm of the offset of each token; the positional encoding of a click has norm sqrt(D / 2)."""
    with torch.no_grad():
        return plm.offset(tokens.sparse, features.main, positions).norm(dim=-1)
