"""SAM-HQ (Ke et al., arXiv 2306.01567) over transformers' SamHQModel: any hub id or a local folder.

SAM-HQ adds to SAM a token and a finer map: it reads an early layer of the encoder beside the embedding. That part of
the map depends on the image alone and is cached as a high-resolution feature. As in transformers' default, each of
SAM's masks gets the mask of the added token: logits = h_i . U + h_hq . U_hq. Both products are one here, so that U and
h of `Output` have twice SAM's channels.

The decoder is written out instead of hooked: that of transformers up to 5.23 upscales the embedding as it entered the
transformer, with height and width exchanged, and not the image keys that leave it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases import _vendor
from samtailor.bases._preprocessing import read_normalization
from samtailor.bases.sam import Sam
from samtailor.structures import Features, Output, Tokens


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`; `model_type` is that of its config.json, None where it has none."""
    return model_type == "sam_hq"


def build(source: str) -> SamHq:
    """Load a SAM-HQ.

    Args:
        source: hub id or folder made with `save_pretrained`.

    Raises:
        BaseUnavailableError: there is no such model, or it cannot be read.
        InputError: its tensors do not fit its configuration.
    """
    from transformers import SamHQModel

    return SamHq(_vendor.load_pretrained(SamHQModel, source), source, read_normalization(source))


class SamHq(Sam):
    """A frozen SAM-HQ; arguments and attributes as in `Sam`. `mask_channels` is the number of channels c of U."""

    standard_decoder = False

    def _set_up(self, model: nn.Module, name: str, *, size: int, dim: int, patch: int) -> None:
        super()._set_up(model, name, size=size, dim=dim, patch=patch)
        channels = self.model.mask_decoder.mask_conv2.out_channels
        self.skips, self.mask_channels = (0, channels), 2 * channels

    def _decoder_of(self, decoder: Any) -> HqDecoder:
        decoder.num_mask_tokens = len(decoder.output_hypernetworks_mlps) + 1
        return HqDecoder(decoder)

    def encode_image(self, images: Tensor) -> Features:
        """Normalized images (B, 3, size, size) to the embedding (B, D, H, W) and the added map (B, D / 8, 4H, 4W)."""
        _vendor.check_square(images, self.size)
        encoded, decoder = self.model.vision_encoder(images), self.model.mask_decoder
        main, early = encoded.last_hidden_state, encoded.intermediate_embeddings[0].permute(0, 3, 1, 2)
        added = decoder.encoder_conv2(decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(main))))
        compressed = decoder.activation(decoder.compress_vit_norm(decoder.compress_vit_conv1(early)))
        return Features(main, (added + decoder.compress_vit_conv2(compressed),))


class HqDecoder:
    """The mask decoder of SAM-HQ.

    Args:
        decoder: transformers' module; its parts are used, not its forward.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def decode(self, features: Features, tokens: Tokens, positions: Tensor, grid: int, *, fast: bool = False) -> Output:
        """All of SAM's mask tokens, each with the mask of the added token; gradients kept.

        Args:
            features: of B images, with the added map.
            tokens: sparse (B, P, N, D).
            positions: (1, D, G, G) positional encoding of the grid.
            grid: G.
            fast: has no effect.
        """
        decoder, (batch, prompts) = self._decoder, tokens.sparse.shape[:2]
        learnt = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight])
        queries = torch.cat([learnt.expand(batch, prompts, -1, -1), tokens.sparse], dim=2)
        queries, keys = decoder.transformer(
            point_embeddings=queries,
            image_embeddings=(features.main + tokens.dense).repeat_interleave(prompts, 0),
            image_positional_embeddings=positions.expand(batch * prompts, -1, -1, -1),
            attention_similarity=None,
        )
        keys = keys.reshape(batch * prompts, grid * grid, -1).mT.unflatten(2, (grid, grid))
        upscaled = self._upscaled(keys, features.skips[0].repeat_interleave(prompts, 0))
        mlps = decoder.output_hypernetworks_mlps
        hyper = torch.stack([mlp(queries[:, :, 1 + index]) for index, mlp in enumerate(mlps)], dim=2)
        added = decoder.hq_mask_mlp(queries[:, :, 1 + len(mlps)])[:, :, None].expand(-1, -1, len(mlps), -1)
        hyper = torch.cat([hyper, added], dim=3)
        upscaled = upscaled.unflatten(0, (batch, prompts))
        logits = (hyper @ upscaled.flatten(3)).unflatten(3, upscaled.shape[-2:])
        return Output(
            logits,
            decoder.iou_prediction_head(queries[:, :, 0]),
            keys=keys.unflatten(0, (batch, prompts)),
            upscaled=upscaled,
            hyper=hyper,
            candidates=tuple(range(1, len(mlps))),
        )

    def _upscaled(self, keys: Tensor, added: Tensor) -> Tensor:
        """SAM's map and that of SAM-HQ, (B P, 2 c, 4G, 4G)."""
        decoder = self._decoder
        fine = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(keys)))
        fine = decoder.activation(decoder.upscale_conv2(fine))
        finer = decoder.activation(decoder.mask_norm(decoder.mask_conv1(fine)))
        return torch.cat([fine, decoder.mask_conv2(finer) + added], dim=1)
