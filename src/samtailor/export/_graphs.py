"""Encoder and decoder of a segmenter as modules of tensors only, with the inputs and outputs that annotators expect.

SAM 1: the interface of segment_anything's own ONNX export. Points in the model frame (longest side = `size`); labels
1 object, 0 background, 2 and 3 the corners of a box, -1 padding. Without a box the caller adds a point (0, 0) of label
-1. SAM 2: the interface of the usual SAM 2 exports, which add the padding point themselves.

An adapter with a companion (`bases.companions`) keeps these interfaces. Its region map does not depend on the prompt,
so the encoder computes the companion and the map, and appends the map to the channels of the embedding: 16 more, the
4 x 4 cells of the mask logits in each cell. The decoder takes them off again.

The decoder selects the best candidate itself rather than by `Output.best_masks`, since tracing needs a fixed number of
dimensions and `index_select`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.adapters.boxed import within_boxes
from samtailor.adapters.combined import interpolated
from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.export._encoder_graphs import SAM2_INPUT, Axes, Sam1Encoder, Sam2Encoder, encoded, map_channels, parted
from samtailor.segmenter import Segmenter
from samtailor.structures import PROMPT_TYPES, Features, Output, Prompts, Tokens


class _Decoder(nn.Module):
    """Base class of the decoders: prompts as points and labels, through all adapters.

    Args:
        segmenter: on the CPU, in evaluation mode.
        single: return only the candidate with the highest predicted IoU.

    Raises:
        InputError: the method changes prompts before they are encoded, which a fixed set of inputs cannot express.
    """

    pads = False
    no_mask: Tensor
    codes: Tensor

    def __init__(self, segmenter: Segmenter, single: bool) -> None:
        super().__init__()
        if segmenter.transform_prompts is not None:
            raise InputError(
                "This adapter draws its boxes as mask prompts (AM-SAM, reading R4) before they are encoded, which the "
                "ONNX interface does not support. Use an adapter of another reading and draw the box into mask_input."
            )
        _refuse_base_answers(segmenter)
        self.segmenter, self.model, self.single = segmenter, segmenter.model, single
        empty = _empty(self.model)
        self.register_buffer("no_mask", empty.dense[:1, :, :1, :1].clone())
        codes = _codes(self.model)
        self.register_buffer("codes", codes)

    def tokens(self, coords: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor) -> Tokens:
        """Encode points (1, N, 2) with labels (1, N) and mask logits (1, 1, h, w), which a flag of 0 disables."""
        if self.pads:
            coords = torch.cat([coords, torch.zeros_like(coords[:, :1])], dim=1)
            labels = torch.cat([labels, -torch.ones_like(labels[:, :1])], dim=1)
        encoder: Any = self.model.model.prompt_encoder
        dense = has_mask.reshape(-1, 1, 1, 1) * encoder.mask_embed(mask)
        dense = dense + (1 - has_mask.reshape(-1, 1, 1, 1)) * self.no_mask
        return Tokens(self._sparse(coords, labels).unsqueeze(1), dense)

    def _sparse(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Encode points; the vendor's prompt encoder takes boxes separately and adds padding, so it cannot be used."""
        if self.segmenter.inference.prompt == "none":  # fitted without prompts: clicks do not change the prediction
            # adding zero keeps the inputs in the graph, since every caller feeds them
            return self.codes[:0].unsqueeze(0) + (coords.sum() + labels.sum()) * 0
        encoder: Any = self.model.model.prompt_encoder
        matrix: Tensor = encoder.shared_embedding.positional_embedding
        phase = (2 * ((coords + 0.5) / self.model.size) - 1) @ matrix * (2 * math.pi)
        kinds = labels.unsqueeze(-1)
        sparse = torch.cat([phase.sin(), phase.cos()], dim=-1) * (kinds >= 0)
        for row, label in enumerate((-1, 0, 1, 2, 3)):
            sparse = sparse + self.codes[row] * (kinds == label)
        return sparse

    def predict(self, features: Features, tokens: Tokens, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (1, M, h, w) and predicted IoU (1, M) of the candidates, or of the best one."""
        features, region = parted(self.segmenter, features)
        segmenter, inference = self.segmenter, self.segmenter.inference
        if len(inference.base_prompts) == len(PROMPT_TYPES):  # no adapter is in the graph
            return self._chosen(segmenter.base.decode(features, tokens))
        boxed = (labels >= 2).any().to(tokens.sparse.dtype)  # corners of a box have the labels 2 and 3
        click, box = (inference.strength.get(name, 1.0) for name in PROMPT_TYPES)
        strength: float | Tensor = click if click == box else click + boxed * (box - click)
        plain = tokens
        for adapter in segmenter.tokens.values() if click or box else ():
            changed = adapter(tokens, features, self.model.positions())
            tokens = changed if click == box == 1 else interpolated(tokens, changed, strength)
        output = self._with_map(self.model.decode(features, tokens), features, region, boxed)
        for adapter in segmenter.outputs.values():
            output = adapter(output)
        low, iou = self._chosen(output)
        if inference.base_prompts and (len(segmenter.inside) or len(segmenter.outputs)):
            low, iou = self._base_for(boxed, self._chosen(segmenter.base.decode(features, plain)), (low, iou))
        if inference.box_margin is None:
            return low, iou
        limited = within_boxes(low[:, None], _boxes(coords, labels), inference.box_margin, self.model.size)[:, 0]
        return torch.where(boxed > 0, limited, low), iou

    def _with_map(self, output: Output, features: Features, region: Tensor | None, boxed: Tensor) -> Output:
        """The output with the region map, at the weights of clicks and boxes."""
        if not any(self.segmenter.uses_map(name) for name in PROMPT_TYPES):
            return output
        region_map: Any = next(iter(self.segmenter.maps.values()))
        click, box = (self.segmenter.map_gain(name) for name in PROMPT_TYPES)
        logits = region_map.logits(features) if region is None else region
        return region_map.combine(output, logits, click + boxed * (box - click))

    def _base_for(self, boxed: Tensor, base: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Masks and scores of the base model for the prompts that it answers; the adapter's for the others."""
        if base[0].shape != own[0].shape:
            raise InputError(
                "The base model answers some prompts of this adapter with another number of masks, which one ONNX file "
                "cannot express. Export the base model and the adapter separately, or fit with --set fallback=false."
            )
        by_base = boxed if "box" in self.segmenter.inference.base_prompts else 1 - boxed
        return tuple(torch.where(by_base > 0, one, other) for one, other in zip(base, own, strict=True))

    def _chosen(self, output: Output) -> tuple[Tensor, Tensor]:
        """All candidates, or the best one."""
        low, iou = output.candidate_logits()[:, 0], output.candidate_iou()[:, 0]
        if not self.single or len(output.candidates) == 1:
            return low, iou
        best = iou.argmax(dim=1)
        return low.index_select(1, best), iou.index_select(1, best)

    def prompt_example(self) -> tuple[Tensor, ...]:
        """Points, labels, mask and flag to trace with."""
        side, size = self.model.low_res, float(self.model.size)
        coords = torch.tensor([[[size / 3, size / 2], [size / 2, size / 4], [0.0, 0.0]]])
        labels = torch.tensor([[1.0, 0.0, -1.0]])
        return coords, labels, torch.zeros(1, 1, side, side), torch.zeros(1)


POINTS: Axes = {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}


class Sam1Decoder(_Decoder):
    """The decoder interface of segment_anything: masks at the size of the image."""

    inputs = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
    outputs = ("masks", "iou_predictions", "low_res_masks")
    dynamic: ClassVar[Axes] = {**POINTS, "masks": {2: "height", 3: "width"}}

    def forward(
        self, image_embeddings: Tensor, coords: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor, orig: Tensor
    ) -> tuple[Tensor, ...]:
        """Masks (1, M, height, width) logits, predicted IoU (1, M), low-resolution logits (1, M, h, w)."""
        low, iou = self.predict(Features(image_embeddings), self.tokens(coords, labels, mask, has_mask), coords, labels)
        return self._full(low, orig), iou, low

    def _full(self, low: Tensor, orig: Tensor) -> Tensor:
        """As `Frame.logits`, for an image size that is an input."""
        size = self.model.size
        full = F.interpolate(low, (size, size), mode="bilinear", align_corners=False)
        inner = torch.floor(orig * (size / orig.max()) + 0.5).clamp(min=1).to(torch.int64)
        full = full[..., : inner[0], : inner[1]]
        height, width = orig.to(torch.int64)
        return F.interpolate(full, (height, width), mode="bilinear", align_corners=False)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs for tracing."""
        base, size = self.model, self.model.size
        embedding = torch.zeros(1, base.dim + map_channels(self.segmenter), base.grid, base.grid)
        return embedding, *self.prompt_example(), torch.tensor([size * 0.6, size])


class Sam2Decoder(_Decoder):
    """The usual SAM 2 decoder interface: masks are low-resolution logits of the square."""

    pads = True
    inputs = (
        *("image_embed", "high_res_feats_0", "high_res_feats_1"),
        *("point_coords", "point_labels", "mask_input", "has_mask_input"),
    )
    outputs = ("masks", "iou_predictions")
    dynamic: ClassVar[Axes] = POINTS

    def forward(
        self, embed: Tensor, high0: Tensor, high1: Tensor, coords: Tensor, labels: Tensor, mask: Tensor, has: Tensor
    ) -> tuple[Tensor, ...]:
        """Low-resolution logits (1, M, h, w) and predicted IoU (1, M)."""
        return self.predict(Features(embed, (high0, high1)), self.tokens(coords, labels, mask, has), coords, labels)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs for tracing."""
        with torch.no_grad():
            features = encoded(self.segmenter, torch.zeros(1, 3, self.model.size, self.model.size))
        return features.main, *features.skips, *self.prompt_example()


def _refuse_base_answers(segmenter: Segmenter) -> None:
    """Raise where the base model answers some prompts, but the exported encoder is that of the adapter."""
    types = " and ".join(segmenter.inference.base_prompts)
    if types and not segmenter.encoder_frozen:
        raise InputError(
            f"The base model answers prompts of the type {types} of this adapter, since the fit found the adapter no "
            "better there. It has its own image encoder, so that one ONNX encoder cannot serve both. Export the base "
            "model, or fit with --set fallback=false."
        )


def graphs(segmenter: Segmenter, *, single: bool) -> tuple[Any, Any]:
    """Encoder and decoder of a segmenter with the interface of its family.

    Args:
        segmenter: on the CPU, in evaluation mode.
        single: return only the best candidate (SAM 1 only).

    Raises:
        InputError: a base of another family, or a method that the interface cannot express.
    """
    kind = getattr(segmenter.base.model.config, "model_type", "")
    if kind == "sam":
        return Sam1Encoder(segmenter), Sam1Decoder(segmenter, single)
    if kind in ("sam2", "sam2_video", "edgetam", "sam3_tracker"):  # one interface
        return Sam2Encoder(segmenter), Sam2Decoder(segmenter, False)
    raise InputError(
        f"Bases of type {kind!r} cannot be exported to ONNX: annotation programs have no interface for them. SAM, "
        "SAM 2, EdgeTAM and the tracker of SAM 3 can."
    )


def _boxes(coords: Tensor, labels: Tensor) -> Tensor:
    """The box (1, 1, 4) among points (1, N, 2) with their labels (1, N): zeros without one."""
    corners = [(coords * (labels == label).unsqueeze(-1)).sum(dim=1) for label in (2, 3)]
    return torch.cat(corners, dim=1).unsqueeze(1)


@torch.no_grad()
def _empty(base: Base) -> Tokens:
    return base.encode_prompts(Prompts((base.size, base.size)))


@torch.no_grad()
def _codes(base: Base) -> Tensor:
    """(5, D): embeddings of the labels -1 (padding), 0, 1, 2, 3."""
    encoder: Any = base.model.prompt_encoder
    points = encoder.point_embed
    rows = points.weight if isinstance(points, nn.Embedding) else torch.cat([one.weight for one in points])
    return torch.cat([encoder.not_a_point_embed.weight, rows[:4]]).detach().clone()


__all__ = ["SAM2_INPUT", "Sam1Decoder", "Sam1Encoder", "Sam2Decoder", "Sam2Encoder", "graphs", "map_channels"]
