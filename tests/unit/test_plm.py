"""Kim et al. 4.1 against an implementation written out by hand, and the traps around it (method-spec I6, I7)."""

from __future__ import annotations

import pytest
import torch

from samtailor.adapters.plm import PLM, offset_norm
from samtailor.errors import InputError
from samtailor.structures import Features, Tokens


def attention(module: torch.nn.MultiheadAttention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """(N, D) queries on (L, D) keys and values, head by head."""
    weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((q, k, v), weights, biases, strict=True))
    heads = []
    for h in torch.arange(q.shape[1]).chunk(module.num_heads):
        scores = q[:, h] @ k[:, h].T / len(h) ** 0.5
        heads.append(scores.softmax(-1) @ v[:, h])
    return torch.cat(heads, 1) @ module.out_proj.weight.T + module.out_proj.bias


def by_hand(plm: PLM, tokens: torch.Tensor, image: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Offset of one prompt: tokens (N, D), image and positions (D, H, W)."""
    grid, codes = image.flatten(1).T, positions.flatten(1).T
    x = plm.norm1(tokens + attention(plm.tokens_to_tokens, tokens + tokens, tokens + tokens, tokens))
    x = plm.norm2(x + attention(plm.tokens_to_image, x + tokens, grid + codes, grid))
    return plm.head(plm.norm3(x + plm.mlp[2](torch.relu(plm.mlp[0](x)))))


@pytest.fixture
def case() -> tuple[Tokens, Features, torch.Tensor]:
    """Two images, three prompts of two tokens each, D = 32, grid 5x5."""
    draw = torch.Generator().manual_seed(3)
    sparse, image = torch.randn(2, 3, 2, 32, generator=draw), torch.randn(2, 32, 5, 5, generator=draw)
    return Tokens(sparse, torch.zeros(1, 32, 5, 5)), Features(image), torch.randn(1, 32, 5, 5, generator=draw)


def stirred(plm: PLM, seed: int = 0) -> PLM:
    """Every parameter random, so that no term can hide behind a zero or a one."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in plm.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return plm


@pytest.mark.parametrize(("head", "count"), [("zero_linear", 1_644_544), ("paper_plain", 1_578_752)])
def test_counts_at_sams_width(head, count):
    assert sum(p.numel() for p in PLM(256, head=head).parameters()) == count


def test_the_papers_count_does_not_determine_the_design():
    """A whole two-way block of SAM with an unused fourth sub-layer has 1.6 M parameters too."""
    from transformers import SamMaskDecoderConfig
    from transformers.models.sam.modeling_sam import SamTwoWayAttentionBlock

    block = sum(p.numel() for p in SamTwoWayAttentionBlock(SamMaskDecoderConfig()).parameters())
    assert block == 1_579_520
    assert round(block / 1e6, 1) == round(1_578_752 / 1e6, 1) == round(1_644_544 / 1e6, 1) == 1.6


@pytest.mark.parametrize("head", ["zero_linear", "paper_plain"])
def test_the_module_follows_the_papers_formula(case, head):
    tokens, features, positions = case
    plm = stirred(PLM(32, mlp_dim=64, head=head))
    got = plm(tokens, features, positions).sparse
    for b in range(2):
        for p in range(3):
            token = tokens.sparse[b, p]
            wanted = token + by_hand(plm, token, features.main[b], positions[0])
            torch.testing.assert_close(got[b, p], wanted, atol=2e-5, rtol=2e-5)


def test_zero_head_starts_exactly_at_the_base(case):
    tokens, features, positions = case
    out = PLM(32)(tokens, features, positions)
    assert torch.equal(out.sparse, tokens.sparse)
    assert out.dense is tokens.dense


def test_plain_head_starts_with_an_offset_larger_than_the_click(case):
    norms = offset_norm(PLM(32, head="paper_plain"), *case)
    torch.testing.assert_close(norms, torch.full((2, 3, 2), 32**0.5), atol=1e-3, rtol=1e-3)


def test_all_tokens_are_transformed(case):
    tokens, features, positions = case
    changed = (stirred(PLM(32))(tokens, features, positions).sparse - tokens.sparse).norm(dim=-1)
    assert (changed > 0.1).all()


def test_zero_head_moves_at_the_papers_learning_rate():
    """Spec B5: far under a constant gradient; LayerNorm scales that begin at zero instead reach a hundredth of it."""
    torch.manual_seed(0)
    plm, sparse, image = PLM(256), torch.randn(1, 1, 2, 256), torch.randn(1, 256, 4, 4)
    optimizer, pull = torch.optim.AdamW(plm.parameters(), lr=1e-5, weight_decay=0.01), torch.randn(1, 1, 2, 256)
    for _ in range(30):
        optimizer.zero_grad()
        (plm.offset(sparse, image, torch.zeros(1, 256, 4, 4)) * pull).sum().backward()
        optimizer.step()
    assert plm.offset(sparse, image, torch.zeros(1, 256, 4, 4)).norm(dim=-1).min() > 0.4


def test_prompts_of_an_image_do_not_interact(case):
    tokens, features, positions = case
    plm = stirred(PLM(32))
    together = plm(tokens, features, positions).sparse
    for p in range(3):
        alone = plm(Tokens(tokens.sparse[:, p : p + 1], tokens.dense), features, positions).sparse
        torch.testing.assert_close(alone[:, 0], together[:, p], atol=1e-5, rtol=1e-5)


def test_prompts_without_sparse_tokens_are_not_changed(case):
    _, features, positions = case
    tokens = Tokens(torch.zeros(2, 1, 0, 32), torch.zeros(1, 32, 5, 5))
    assert PLM(32)(tokens, features, positions) is tokens


def test_features_in_half_precision_are_accepted(case):
    tokens, features, positions = case
    out = stirred(PLM(32))(tokens, Features(features.main.half()), positions)
    assert out.sparse.dtype == torch.float32


def test_wrong_options_are_refused():
    with pytest.raises(InputError, match="multiple"):
        PLM(36)
    with pytest.raises(InputError, match="Did you mean 'zero_linear'"):
        PLM(32, head="zero-linear")
