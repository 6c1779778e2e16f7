"""Segmenter: a frozen base and the modules that are trained around it. It is what a fit trains, saves and serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.adapters.boxed import within_boxes
from samtailor.adapters.combined import exchanged_modules, has_fast_way, interpolated
from samtailor.adapters.protocols import InsideAdapter, MapAdapter, OutputAdapter, TokenAdapter
from samtailor.adapters.tiled import tiled_logits
from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.structures import PROMPT_TYPES, Batch, Features, InferenceSpec, Output, Prompts, Tokens, way_of


class Segmenter(nn.Module):
    """Freezes everything, then unfreezes exactly `groups`.

    Adapters inside the base do not change it: they enter a twin (`Base.with_modules`) that shares every frozen tensor
    with the base. Without such adapters the twin is the base.

    Args:
        base: frozen base model; not a submodule, so that `state_dict` holds exactly what was learnt.
        inside: adapters inside the base; no two may exchange the same module.
        tokens: adapters of the encoded prompts, applied in order.
        outputs: adapters of the decoder's output, applied in order.
        maps: at most one adapter that reads the embedding itself; it predicts for empty prompts (`promptless`).
        training_only: modules that take part in the loss and are saved, but not in `forward` (PMM).
        groups: names of the parameter groups of a step, each a list of the names of adapters
            (default: one group "lower" with all of them).
        contour_points: number of points of the true outline in each training batch; None: no outlines.
        encoder_frozen: the image embedding is the base's, cached and shared; False where an adapter is inside the
            encoder, which then runs in every step and for every prediction.
        tunes_inference: a fit chooses `inference.tiling` and the strength of the prompt adapters on held-out images.
        inference: how it is prompted and what its prediction means; a fit replaces it as a whole.
        transform_prompts: changes the prompts before they are encoded.
        companion: frozen network whose features the map reads beside the embedding (`Features.companions`).
        on_start: called once before the first step with an iterable of training batches.
        on_step: called before each step with the fraction of the training that is done, in [0, 1).

    The names of the five mappings must differ; they prefix the tensors in the artefact.

    Raises:
        InputError: two adapters exchange the same module of the base, or a companion beside an encoder that changes.
    """

    def __init__(
        self,
        base: Base,
        *,
        inside: Mapping[str, nn.Module] | None = None,
        tokens: Mapping[str, nn.Module] | None = None,
        outputs: Mapping[str, nn.Module] | None = None,
        maps: Mapping[str, nn.Module] | None = None,
        training_only: Mapping[str, nn.Module] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        contour_points: int | None = None,
        encoder_frozen: bool = True,
        tunes_inference: bool = False,
        inference: InferenceSpec | None = None,
        transform_prompts: Callable[[Prompts], Prompts] | None = None,
        companion: Companion | None = None,
        on_start: Callable[[Iterable[Batch]], None] | None = None,
        on_step: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self.inference, self.tunes_inference = inference or InferenceSpec(), tunes_inference
        self.contour_points, self.encoder_frozen = contour_points, encoder_frozen
        self.transform_prompts, self.on_start, self.on_step = transform_prompts, on_start, on_step
        if companion is not None and not (encoder_frozen and maps):
            raise InputError("A companion needs a method with a region map that leaves the image encoder as it is.")
        self._base = (base,)  # a tuple hides it from nn.Module: the base is shared between segmenters
        self._companion = (companion,)
        self._without_base = False  # `base` is an adapted one
        self.inside = nn.ModuleDict(inside or {})
        self.tokens = nn.ModuleDict(tokens or {})
        self._fast_tokens = frozenset(name for name, adapter in self.tokens.items() if has_fast_way(adapter))
        self.outputs = nn.ModuleDict(outputs or {})
        self.maps = nn.ModuleDict(maps or {})
        self.training_only = nn.ModuleDict(training_only or {})
        self._members = groups or {"lower": list(self.adapters)}
        for parameter in base.model.parameters():
            parameter.requires_grad_(False)
        replacing: Mapping[str, Any] = inside or {}  # see `InsideAdapter`
        exchanged = exchanged_modules({name: adapter.modules_of(base) for name, adapter in replacing.items()})
        self._twin = (base.with_modules(exchanged) if exchanged else base,)

    @property
    def base(self) -> Base:
        """The frozen base model."""
        return self._base[0]

    @property
    def model(self) -> Base:
        """The base with the adapters inside it; shares the frozen tensors."""
        return self._twin[0]

    @property
    def companion(self) -> Companion | None:
        """The frozen network whose features are read beside the base's."""
        return self._companion[0]

    @property
    def companions(self) -> tuple[Companion, ...]:
        """The companions that features to decode must be made with: one or none."""
        return () if self.companion is None else (self.companion,)

    @property
    def promptless(self) -> bool:
        """Whether it predicts without a prompt: the region of its one class."""
        return self.inference.prompt == "none" or (bool(self.maps) and self.inference.single_class)

    @property
    def by_itself(self) -> bool:
        """Whether a prediction without a prompt is one object or region, not several objects joined."""
        return self.inference.prompt == "none" or (self.promptless and self.inference.single_instance)

    @property
    def adapters(self) -> dict[str, nn.Module]:
        """All adapters by name."""
        homes = (self.inside, self.tokens, self.outputs, self.maps, self.training_only)
        return {name: adapter for home in homes for name, adapter in home.items()}

    @property
    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Trained parameters by group of the training step."""
        return {
            group: [p for name in members for p in self.adapter(name).parameters() if p.requires_grad]
            for group, members in self._members.items()
        }

    def adapter(self, name: str) -> nn.Module:
        """The adapter of a name, e.g. "plm".

        Raises:
            InputError: there is none of that name.
        """
        if name in self.adapters:
            return self.adapters[name]
        raise InputError(f"This segmenter has no adapter {name!r}; it has {', '.join(self.adapters) or 'none'}.")

    def forward(self, batch: Batch, *, fast: bool = False) -> Output:
        """Decode a training batch on cached embeddings (or encode its images first), gradients kept.

        Args:
            batch: B masks with one prompt each.
            fast: as in `decode`; training steps set it.

        Raises:
            InputError: the batch has no embedding, or no images where this method adapts the encoder.
        """
        if not self.encoder_frozen:
            if batch.images is None:
                raise InputError("This method adapts the image encoder: its batches need `images`, not an embedding.")
            if self.base_answers(batch.prompts):
                return self.base.decode(self.base.encode_image(batch.images), self.base.encode_prompts(batch.prompts))
            return self.decode(self.model.encode_image(batch.images), batch.prompts, fast=fast)
        if batch.features is None:
            raise InputError("This method needs batches with `features`, the embeddings of the images.")
        return self.decode(batch.features, batch.prompts, fast=fast)

    def decode(
        self, features: Features, prompts: Prompts, *, region: Tensor | None = None, fast: bool = False
    ) -> Output:
        """Prompts of the model frame on embeddings to masks, through every adapter, at the strength of their type.

        Args:
            features: of B images, by `model.encode_image`; by `base.encode_image` where `base_answers`.
            prompts: P prompts for each of them.
            region: logits (B, 1, h, w) of the map, if they are known already.
            fast: use the faster ways of decoder and adapters where they apply, see `Base.decode`. The result differs
                by rounding.
        """
        if prompts.empty and self.maps:
            region_map = self._map()
            logits = region_map.logits(features) if region is None else region
            return region_map.as_output(logits, features, prompts.shape[1])
        if self.base_answers(prompts):
            return self.base.decode(features, self.base.encode_prompts(prompts), fast=fast)
        tokens = self.prompted(features, prompts, fast=fast)
        return self.finished(self.model.decode(features, tokens, fast=fast), features, prompts, region=region)

    def base_answers(self, prompts: Prompts) -> bool:
        """Whether the prediction for these prompts is that of the base model (`InferenceSpec.base_prompts`).

        Raises:
            InputError: it is, but this segmenter does not have the base model (`on_adapted_base`).
        """
        answers = way_of(prompts) in self.inference.base_prompts
        if answers and self._without_base:
            raise InputError("The base model answers prompts of this type. Use the base model for them.")
        return answers

    def map_gain(self, prompt_type: str) -> float | Tensor:
        """Gain of the region map in the masks of "click" or "box": one for all mask tokens, or one for each."""
        weight = self.inference.map_weight.get(prompt_type)
        return self.inference.strength.get(prompt_type, 1.0) * self._map().trained_gain if weight is None else weight

    def uses_map(self, prompt_type: str | None) -> bool:
        """Whether predictions of this type, "click", "box" or without a prompt, contain the region map."""
        if not self.maps or prompt_type not in PROMPT_TYPES:
            return bool(self.maps)
        return bool(torch.as_tensor(self.map_gain(prompt_type)).any())

    def predict_tiled(self, frame: Frame, see: Callable[[View], Features], prompts: int) -> Output:
        """Predict an image without a prompt by tiled inference (`inference.tiling`).

        Args:
            frame: of the image.
            see: returns the embedding of a view of the image, one row.
            prompts: P; the P predictions are equal.
        """
        region_map = self._map()
        logits = tiled_logits(self.inference.tiling, region_map.logits, self.model, frame, see)
        return region_map.as_output(logits, see(UNTOUCHED), prompts)

    def prompted(self, features: Features, prompts: Prompts, *, fast: bool = False) -> Tokens:
        """The part of `decode` before the mask decoder: encodes the prompts and applies the token adapters.

        Raises:
            InputError: a strength below 1, and adapters that cannot be interpolated to the base model.
        """
        strength = self.inference.strength_of(prompts)
        if strength < 1 and (len(self.inside) or len(self.outputs)):
            raise InputError("Only adapters of prompts and maps can be interpolated to the base model.")
        if strength == 0:
            return self.model.encode_prompts(prompts)
        tokens = self.model.encode_prompts(self.transform_prompts(prompts) if self.transform_prompts else prompts)
        positions = self.model.positions() if self.tokens else None
        for name, adapter in self.tokens.items():
            options = {"fast": True} if fast and name in self._fast_tokens else {}
            changed = adapter(tokens, features, positions, **options)
            tokens = changed if strength == 1 else interpolated(tokens, changed, strength)
        return tokens

    def finished(self, output: Output, features: Features, prompts: Prompts, *, region: Tensor | None = None) -> Output:
        """The part of `decode` after the mask decoder: applies the map, the output adapters and the limit of boxes.

        Args:
            output: of the mask decoder.
            features: of B images.
            prompts: P prompts for each of them, model frame.
            region: logits (B, 1, h, w) of the map, if they are known already.
        """
        if self.maps:
            region_map, gain = self._map(), self.map_gain(way_of(prompts))
            output = region_map(output, features, gain) if region is None else region_map.combine(output, region, gain)
        for adapter in self.outputs.values():
            output = adapter(output)
        margin = self.inference.box_margin
        if margin is None or prompts.boxes is None:
            return output
        return replace(output, logits=within_boxes(output.logits, prompts.boxes, margin, self.base.size))

    def on_adapted_base(self) -> Segmenter:
        """The same predictions by a segmenter whose base is `model`: every setting is kept.

        Its `encoder_frozen` is True, since the embedding of that base is the one to decode, and the adapters inside the
        base are part of that base: they are not in its `adapters`, `groups` and `learned` any more. For inference only,
        since they are frozen.
        """
        groups = {name: [one for one in members if one not in self.inside] for name, members in self._members.items()}
        twin = Segmenter(
            self.model,
            tokens=dict(self.tokens.items()),
            outputs=dict(self.outputs.items()),
            maps=dict(self.maps.items()),
            training_only=dict(self.training_only.items()),
            groups={name: members for name, members in groups.items() if members},
            contour_points=self.contour_points,
            tunes_inference=self.tunes_inference,
            inference=self.inference,
            transform_prompts=self.transform_prompts,
            companion=self.companion,
            on_start=self.on_start,
            on_step=self.on_step,
        ).eval()
        twin._without_base = True
        return twin

    def learned(self) -> dict[str, Tensor]:
        """The tensors that the artefact holds, by name, on the CPU and detached."""
        return {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `learned`, strict.

        Raises:
            InputError: a tensor is missing, unknown, or has another shape.
        """
        state = self.state_dict()
        missing, extra = sorted(state.keys() - tensors.keys()), sorted(tensors.keys() - state.keys())
        shapes = [k for k in state.keys() & tensors.keys() if state[k].shape != tensors[k].shape]
        if missing or extra or shapes:
            raise InputError(
                "The tensors do not fit this method: "
                f"missing {missing[:3] or 'none'}, unknown {extra[:3] or 'none'}, "
                f"other shape {sorted(shapes)[:3] or 'none'}."
            )
        self.load_state_dict(dict(tensors))

    def _map(self) -> Any:
        """The one adapter in `maps`, see `MapAdapter`."""
        (region_map,) = self.maps.values()
        return region_map


__all__ = ["InsideAdapter", "MapAdapter", "OutputAdapter", "Segmenter", "TokenAdapter"]
