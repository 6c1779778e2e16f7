"""Prompt learning module (Kim et al., arXiv 2403.09199, section 4.1): an offset for every prompt token.

Delta f_P = phi(f_P, f_I), f~_P = f_P + Delta f_P. Self-attention between the tokens, attention from the tokens to the
image embedding, an MLP for each token; eight heads, LayerNorm after each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samtailor.bases._cells import reading
from samtailor.bases._learning import learning
from samtailor.errors import InputError
from samtailor.registry import choose
from samtailor.structures import Features, Tokens

HEADS = ("zero_linear", "paper_plain")


class PLM(nn.Module):
    """phi of the paper. All sparse tokens are transformed: of a click the point and SAM's "not a point" token.

    Positions enter as in SAM's two-way transformer: the original tokens are added to queries (and to the keys of
    self-attention), the grid's Fourier encoding to the image keys, nothing to the values. Unlike SAM's first layer,
    nothing skips the residual. The paper's count of 1.6 M does not prove this design: a whole two-way block of SAM
    with a dead fourth sub-layer (1,579,520) rounds to the same.

    Args:
        dim: token width D; a multiple of `heads`.
        heads: attention heads (the paper's T = 8).
        mlp_dim: hidden width of the MLP.
        head: "zero_linear" ends in a Linear of zeros (1,644,544 parameters at D = 256): the first output is exactly the
            base's, and the offset can still move fast. "paper_plain" is the paper's count (1,578,752) and starts with
            an offset of norm sqrt(D) for every token, more than the position code of a click: the click is lost at
            first.

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

    def offset(self, sparse: Tensor, image: Tensor, positions: Tensor) -> Tensor:
        """Delta f_P.

        Args:
            sparse: (B, P, N, D) encoded prompts f_P.
            image: (B, D, H, W) image embedding f_I.
            positions: (1, D, H, W) Fourier encoding of the grid.

        Returns:
            (B, P, N, D).
        """
        batch, prompts, count, dim = sparse.shape
        tokens = sparse.reshape(batch * prompts, count, dim)  # self-attention stays within a prompt
        attended = self.tokens_to_tokens(tokens + tokens, tokens + tokens, tokens, need_weights=False)[0]
        x = self.norm1(tokens + attended)
        queries = (x + tokens).reshape(
            batch, prompts * count, dim
        )  # queries do not see each other: all prompts at once
        keys, values = ((image + positions).flatten(2).mT, image.flatten(2).mT)
        if learning(image):
            attended = reading(self.tokens_to_image, queries, keys, values)
        else:
            attended = self.tokens_to_image(queries, keys, values, need_weights=False)[0]
        x = self.norm2(x + attended.reshape(x.shape))
        return self.head(self.norm3(x + self.mlp(x))).reshape(sparse.shape)

    @torch.no_grad()
    def interpolate_to_base(self, share: float) -> None:
        """Shrink all offsets to a share of themselves, in place: 0 is the base, 1 what was learnt.

        Raises:
            InputError: "paper_plain" has no last factor to shrink.
        """
        if isinstance(self.head, nn.Identity):
            raise InputError("Only head='zero_linear' can be shrunk toward the base; 'paper_plain' has no such factor.")
        for parameter in self.head.parameters():
            parameter.mul_(share)

    def forward(self, tokens: Tokens, features: Features, positions: Tensor) -> Tokens:
        """f~_P = f_P + Delta f_P; the dense prompt is left alone, and so is a prompt without sparse tokens."""
        if tokens.sparse.shape[2] == 0:
            return tokens
        image = features.main.to(tokens.sparse.dtype)
        return Tokens(tokens.sparse + self.offset(tokens.sparse, image, positions.to(image.dtype)), tokens.dense)


def offset_norm(plm: PLM, tokens: Tokens, features: Features, positions: Tensor) -> Tensor:
    """(B, P, N) length of each token's offset; a click's own position code has length sqrt(D / 2)."""
    with torch.no_grad():
        return plm.offset(tokens.sparse, features.main, positions).norm(dim=-1)
