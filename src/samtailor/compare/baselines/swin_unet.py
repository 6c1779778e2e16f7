"""`swin-unet`: Swin-Unet (Cao et al., arXiv 2105.05537): a U-shape of Swin transformer blocks, nothing convolutional.

The encoder is transformers' SwinModel, the decoder's blocks are those of a second one of the same configuration, and
what lies between (patch expanding, joining of skips, the fourfold expansion at the end) is written here: 27,168,228
numbers with one class, as the reference. transformers drops whole paths of the attention only, not of the MLP.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.compare.baselines import SCRATCH, _resnet
from samtailor.compare.baselines._feed import Entry
from samtailor.compare.baselines._loop import Training, poly
from samtailor.compare.baselines._supervised import Supervised, cross_entropy, dice
from samtailor.compare.baselines._weights import pretrained, seeded
from samtailor.errors import InputError
from samtailor.registry import refuse_unknown

TITLE = "Swin-Unet"
"""Name in tables."""
HUB = "microsoft/swin-tiny-patch4-window7-224"


def build(
    classes: int = 1,
    *,
    weights: str | None = None,
    size: int = 224,
    window: int = 7,
    embed_dim: int = 96,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    drop_path: float = 0.2,
    lr: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    batch: int = 24,
    steps: int = 500,
    augment: bool = True,
    seed: int = 0,
    **unknown: Any,
) -> Supervised:
    """Swin-Unet.

    Args:
        classes: number of classes, the background not counted.
        weights: hub id or folder of a Swin classifier, into encoder and decoder as the reference does; "scratch":
            random; None: Swin-T of ImageNet on the hub (its third stage gives the first two of its six blocks).
        size: side of the square input, pixels; a multiple of 32 x window.
        window: side of the attention windows, patches; weights of another window do not fit.
        embed_dim, depths, heads: of the encoder, the decoder mirrors them.
        drop_path: stochastic depth of the last block, rising from 0.
        lr, momentum, weight_decay: SGD; the rate falls as (1 - step / steps)^0.9.
        batch: images an update, at most.
        steps: updates by default; the reference takes 150 epochs (`epochs=150` when fitting).
        augment: train on mirrored, cropped and recoloured views; the reference mirrors and turns.
        seed: of the random start.
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    if size % (32 * window):
        raise InputError(
            f"Swin-Unet needs a size that is a multiple of 32 x window = {32 * window}, got {size}. "
            "Give another size, or a window that fits (224 with 7, 256 with 8 or 4, 128 with 4)."
        )
    from transformers import SwinConfig

    config = SwinConfig(
        image_size=size,
        window_size=window,
        embed_dim=embed_dim,
        depths=list(depths),
        num_heads=list(heads),
        drop_path_rate=drop_path,
    )
    with seeded(seed):
        network = SwinUnet(config, 1 + classes)
    origin = weights or HUB
    if origin != SCRATCH:
        network.take_over(origin)
    options = {"classes": classes, "size": size, "window": window, "embed_dim": embed_dim, "depths": list(depths)}
    options |= {"heads": list(heads), "drop_path": drop_path, "lr": lr, "momentum": momentum, "batch": batch}
    options |= {"weight_decay": weight_decay, "steps": steps, "augment": augment, "seed": seed}
    optimizer = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return Supervised(
        network,
        loss,
        Entry(size, _resnet.MEAN, _resnet.STD),
        Training(optimizer, poly, batch, steps, augment),
        name="swin-unet",
        options=options,
        weights=origin,
    )


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """0.4 cross entropy + 0.6 Dice, as in the reference."""
    return 0.4 * cross_entropy(logits, labels) + 0.6 * dice(logits, labels)


class SwinUnet(nn.Module):
    """Encoder, and a decoder of as many stages less one, each joined with the encoder's map of its size.

    Args:
        config: transformers' SwinConfig.
        outputs: channels of the logits.
    """

    def __init__(self, config: Any, outputs: int) -> None:
        from transformers import SwinModel

        super().__init__()
        self.encoder = SwinModel(config, add_pooling_layer=False)
        widths = [config.embed_dim * 2**i for i in range(len(config.depths))]
        mirrored = SwinModel(config, add_pooling_layer=False).encoder.layers
        self.expands = nn.ModuleList(Expand(width) for width in reversed(widths[1:]))
        self.joins = nn.ModuleList(nn.Linear(2 * width, width) for width in reversed(widths[:-1]))
        self.blocks = nn.ModuleList(stage.blocks for stage in reversed(mirrored[:-1]))
        self.norm = nn.LayerNorm(widths[0])
        self.last = Expand(widths[0], factor=4)
        self.head = nn.Conv2d(widths[0], outputs, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, outputs, S, S)."""
        x, (rows, columns) = self.encoder.embeddings(images)
        skips = []
        for stage in self.encoder.encoder.layers:
            skips.append(x)
            x = _through(stage.blocks, x, (rows, columns))
            if stage.downsample is not None:
                x, rows, columns = stage.downsample(x, (rows, columns)), rows // 2, columns // 2
        x = self.encoder.layernorm(x)
        for expand, join, blocks, skip in zip(self.expands, self.joins, self.blocks, skips[-2::-1], strict=True):
            x, rows, columns = expand(x, (rows, columns)), 2 * rows, 2 * columns
            x = _through(blocks, join(torch.cat([x, skip], dim=-1)), (rows, columns))
        x = self.last(self.norm(x), (rows, columns))
        return self.head(x.transpose(1, 2).unflatten(2, (4 * rows, 4 * columns)))

    def take_over(self, source: str) -> None:
        """ImageNet weights into the encoder, and of the same stages into the decoder's blocks.

        Raises:
            BaseUnavailableError: they cannot be had. InputError: they are of another width, window or fewer blocks.
        """
        from transformers import SwinModel

        given = pretrained(SwinModel, source, add_pooling_layer=False)
        _copy(self.encoder, given, source)
        for blocks, stage in zip(self.blocks, reversed(given.encoder.layers[:-1]), strict=True):
            _copy(blocks, stage.blocks, source)


class Expand(nn.Module):
    """Patch expanding: a linear layer whose channels become a grid of finer patches, then a norm.

    Args:
        width: channels before.
        factor: 2 (channels halve) or 4 (the last one, channels stay).
    """

    def __init__(self, width: int, factor: int = 2) -> None:
        super().__init__()
        self.factor, self.width = factor, width // 2 if factor == 2 else width
        self.linear = nn.Linear(width, self.width * factor**2, bias=False)
        self.norm = nn.LayerNorm(self.width)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, rows * columns, width) to (B, factor^2 * rows * columns, self.width)."""
        rows, columns, f = *grid, self.factor
        x = self.linear(x).unflatten(1, (rows, columns)).unflatten(3, (f, f, self.width))
        return self.norm(x.permute(0, 1, 3, 2, 4, 5).reshape(len(x), -1, self.width))


def _through(blocks: nn.ModuleList, x: Tensor, grid: tuple[int, int]) -> Tensor:
    for block in blocks:
        answer = block(x, grid)
        x = answer[0] if isinstance(answer, tuple) else answer
    return x


def _copy(target: nn.Module, given: nn.Module, source: str) -> None:
    """Every tensor of `target` from that of the same name; what `given` has beyond them is left."""
    have, own = given.state_dict(), target.state_dict()
    wrong = sorted(name for name in own if name not in have or have[name].shape != own[name].shape)
    if wrong:
        raise InputError(
            f"The weights {source!r} do not fit this Swin-Unet: {len(wrong)} tensors are missing or of another shape, "
            f"e.g. {wrong[0]}. Their window, width and heads must be the network's."
        )
    target.load_state_dict({name: have[name] for name in own})
