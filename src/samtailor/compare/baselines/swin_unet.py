"""`swin-unet`: Swin-Unet (Cao et al., arXiv 2105.05537): a U-shaped network of Swin transformer blocks.

The encoder is the SwinModel of transformers, and the blocks of the decoder are those of a second one with the same
configuration. Patch expanding, the joining of skips and the final fourfold expansion are implemented here: 27,168,228
parameters with one class, as in the reference. The stochastic depth of transformers applies to the attention only, not
to the MLP.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.compare.baselines import SCRATCH, _resnet
from samtailor.compare.baselines._feed import InputFormat
from samtailor.compare.baselines._loop import Training
from samtailor.compare.baselines._supervised import Supervised, cross_entropy, dice
from samtailor.compare.baselines._weights import pretrained, seeded
from samtailor.errors import InputError
from samtailor.registry import refuse_unknown
from samtailor.train.schedule import POLY

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
        weights: hub id or folder of a Swin classifier, copied to encoder and decoder as in the reference; "scratch":
            random; None: Swin-T of ImageNet on the hub (the first two of the six blocks of its third stage are used).
        size: side of the square input, pixels; a multiple of 32 x window.
        window: side of the attention windows, patches; weights of another window do not fit.
        embed_dim, depths, heads: dimensions of the encoder, mirrored by the decoder.
        drop_path: stochastic depth of the last block, rising from 0.
        lr, momentum, weight_decay: settings of SGD; the learning rate falls as (1 - step / steps)^0.9.
        batch: largest number of images per update.
        steps: default number of updates; the reference trains for 150 epochs (`epochs=150`).
        augment: train on flipped, cropped and color-jittered views; the reference flips and rotates.
        seed: seed of the random initialization.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    if size % (32 * window):
        raise InputError(
            f"Swin-Unet needs a size that is a multiple of 32 x window = {32 * window}, got {size}. "
            "Use another size, or a window that fits (224 with 7, 256 with 8 or 4, 128 with 4)."
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
        network.load_pretrained(origin)
    options: dict[str, Any] = {
        "classes": classes,
        "size": size,
        "window": window,
        "embed_dim": embed_dim,
        "depths": list(depths),
    }
    options |= {"heads": list(heads), "drop_path": drop_path, "lr": lr, "momentum": momentum, "batch": batch}
    options |= {"weight_decay": weight_decay, "steps": steps, "augment": augment, "seed": seed}
    optimizer = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return Supervised(
        network,
        loss,
        InputFormat(size, _resnet.MEAN, _resnet.STD),
        Training(optimizer, POLY, batch, steps, augment),
        name="swin-unet",
        options=options,
        weights=origin,
    )


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """0.4 cross entropy + 0.6 Dice, as in the reference."""
    return 0.4 * cross_entropy(logits, labels) + 0.6 * dice(logits, labels)


class SwinUnet(nn.Module):
    """Encoder, and a decoder with one stage less, each stage joined with the encoder features of its size.

    Args:
        config: a SwinConfig of transformers.
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

    def load_pretrained(self, source: str) -> None:
        """Load weights into the encoder, and those of the same stages into the blocks of the decoder.

        Raises:
            BaseUnavailableError: they cannot be loaded.
            InputError: they have another width or window, or fewer blocks.
        """
        from transformers import SwinModel

        model: Any = pretrained(SwinModel, source, add_pooling_layer=False)
        _copy(self.encoder, model, source)
        for blocks, stage in zip(self.blocks, reversed(model.encoder.layers[:-1]), strict=True):
            _copy(blocks, stage.blocks, source)


class Expand(nn.Module):
    """Patch expanding: a linear layer whose channels are rearranged to a grid of finer patches, then a norm.

    Args:
        width: number of input channels.
        factor: 2 (halves the channels) or 4 (the final expansion, keeps the channels).
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


def _through(blocks: Any, x: Tensor, grid: tuple[int, int]) -> Tensor:
    for block in blocks:
        output = block(x, grid)
        x = output[0] if isinstance(output, tuple) else output
    return x


def _copy(target: nn.Module, model: nn.Module, source: str) -> None:
    """Load every tensor of `target` from the one of the same name; further tensors of `model` are ignored."""
    have, wanted = model.state_dict(), target.state_dict()
    wrong = sorted(name for name in wanted if name not in have or have[name].shape != wanted[name].shape)
    if wrong:
        raise InputError(
            f"The weights {source!r} do not fit this Swin-Unet: {len(wrong)} tensors are missing or of another shape, "
            f"e.g. {wrong[0]}. They must have the same window, width and heads."
        )
    target.load_state_dict({name: have[name] for name in wanted})
