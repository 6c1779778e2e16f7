"""Segmenter: a frozen base, what learns around it, and nothing else. The one object that is trained, saved, served."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from samtailor.adapters.tiled import tiled_logits
from samtailor.bases import Base
from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.structures import Batch, Features, InferenceSpec, Output, Prompts, Tokens


class TokenAdapter(Protocol):
    """Changes the encoded prompts before the mask decoder (PLM, a learnt dense prompt)."""

    def __call__(self, tokens: Tokens, features: Features, positions: Tensor) -> Tokens:
        """Same shapes as came in."""


class OutputAdapter(Protocol):
    """Changes what the mask decoder answers (SAM-F, mask calibration)."""

    def __call__(self, output: Output) -> Output:
        """May change the number of masks, then also `candidates`."""


class InsideAdapter(Protocol):
    """Enters the base model itself (LoRA, a trained copy of the decoder's tail, bottleneck adapters)."""

    def modules_of(self, base: Base) -> Mapping[str, nn.Module]:
        """What stands in for which module of `base.model`, by name; all of it owned by the adapter."""


class MapAdapter(Protocol):
    """Reads the image embedding itself: answers without a prompt, and joins in where there is one (a region map)."""

    def logits(self, features: Features) -> Tensor:
        """Where the class is, (B, 1, h, w)."""

    def as_output(self, logits: Tensor, features: Features, prompts: int = 1) -> Output:
        """Such logits, of any grid, as an answer to each of P = `prompts` empty prompts."""

    def __call__(self, output: Output, features: Features) -> Output:
        """May change the masks of the decoder's answer."""


class Segmenter(nn.Module):
    """Freezes everything, then frees exactly `groups`.

    Adapters inside the base do not touch it: the segmenter asks a twin (`Base.with_modules`) that shares every frozen
    tensor with the base. With none the twin is the base.

    Args:
        base: frozen base model; kept out of this module's parameters, so that `state_dict` is what was learnt.
        inside: adapters inside the base; no two may exchange the same module.
        tokens: adapters of the encoded prompts, applied in order.
        outputs: adapters of the decoder's answer, applied in order.
        maps: at most one adapter that reads the embedding itself; empty prompts are its own to answer (`promptless`).
        training_only: modules that take part in the loss and are saved, but not in `forward` (PMM).
        groups: names of the parameter groups of a step, each a list of the names of adapters
            (default: one group "lower" with all of them).
        contour_points: how many points of the true outline a training batch must bring along; None: none.
        encoder_frozen: the image embedding is the base's, cached and shared; False where an adapter is inside the
            encoder, which then runs in every step and for every question.
        tunes_inference: a fit chooses `inference.tiling` and the strength of the prompt adapters on held-out images.
        inference: how it is prompted and what its prediction means; a fit replaces it as a whole.
        transform_prompts: changes the prompts before they are encoded.
        on_start: called once before the first step with an iterable of training batches.
        on_step: called before each step with the share of the training that is done, in [0, 1).

    The names of the five mappings must differ; they prefix the tensors in the artefact.
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
        on_start: Callable[[Iterable[Batch]], None] | None = None,
        on_step: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self.inference, self.tunes_inference = inference or InferenceSpec(), tunes_inference
        self.contour_points, self.encoder_frozen = contour_points, encoder_frozen
        self.transform_prompts, self.on_start, self.on_step = transform_prompts, on_start, on_step
        self._base = (base,)  # a tuple hides it from nn.Module: the base is shared between segmenters
        self.inside = nn.ModuleDict(inside or {})
        self.tokens = nn.ModuleDict(tokens or {})
        self.outputs = nn.ModuleDict(outputs or {})
        self.maps = nn.ModuleDict(maps or {})
        self.training_only = nn.ModuleDict(training_only or {})
        self._members = groups or {"lower": list(self.adapters)}
        for parameter in base.model.parameters():
            parameter.requires_grad_(False)
        exchanged = _disjoint({name: adapter.modules_of(base) for name, adapter in self.inside.items()})
        self._twin = (base.with_modules(exchanged) if exchanged else base,)

    @property
    def base(self) -> Base:
        """The frozen base model."""
        return self._base[0]

    @property
    def model(self) -> Base:
        """The base with the adapters inside it: shares the frozen tensors."""
        return self._twin[0]

    @property
    def promptless(self) -> bool:
        """Whether it predicts without a prompt: the region of its one class."""
        return self.inference.prompt == "none" or (bool(self.maps) and self.inference.single_class)

    @property
    def by_itself(self) -> bool:
        """Whether a prediction without a prompt is the objects of an image, not several objects joined."""
        return self.inference.prompt == "none" or (self.promptless and self.inference.single_instance)

    @property
    def adapters(self) -> dict[str, nn.Module]:
        """All adapters by name."""
        homes = (self.inside, self.tokens, self.outputs, self.maps, self.training_only)
        return {name: adapter for home in homes for name, adapter in home.items()}

    @property
    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Learnt parameters by group of the training step."""
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

    def forward(self, batch: Batch) -> Output:
        """Decode a training batch on cached embeddings (or encode its images first), gradients kept."""
        if self.encoder_frozen:
            return self.decode(batch.features, batch.prompts)
        if batch.images is None:
            raise InputError("This method adapts the image encoder: its batches need `images`, not an embedding.")
        return self.decode(self.model.encode_image(batch.images), batch.prompts)

    def decode(self, features: Features, prompts: Prompts) -> Output:
        """Prompts of the model frame on embeddings (of `model.encode_image`) to masks, through every adapter."""
        if prompts.empty and self.maps:
            (found,) = self.maps.values()
            return found.as_output(found.logits(features), features, prompts.shape[1])
        return self.finished(self.model.decode(features, self.prompted(features, prompts)), features)

    def predict_tiled(self, frame: Frame, see: Callable[[View], Features], prompts: int) -> Output:
        """What is in an image without a prompt, by tiled inference; P = `prompts` equal answers.

        Args:
            frame: of the image.
            see: gives the embedding of a view of the image, one row.
            prompts: P.
        """
        (found,) = self.maps.values()
        logits = tiled_logits(self.inference.tiling, found.logits, self.model, frame, see)
        return found.as_output(logits, see(UNTOUCHED), prompts)

    def prompted(self, features: Features, prompts: Prompts) -> Tokens:
        """The part of `decode` before the mask decoder: prompts to tokens, through the adapters of prompts."""
        tokens = self.model.encode_prompts(self.transform_prompts(prompts) if self.transform_prompts else prompts)
        positions = self.model.positions() if self.tokens else None
        for adapter in self.tokens.values():
            tokens = adapter(tokens, features, positions)
        return tokens

    def finished(self, output: Output, features: Features) -> Output:
        """The part of `decode` after the mask decoder: its answer through the adapters of answers."""
        for adapter in self.maps.values():
            output = adapter(output, features)
        for adapter in self.outputs.values():
            output = adapter(output)
        return output

    def learned(self) -> dict[str, Tensor]:
        """Exactly what the artefact holds: tensors by name, on the CPU, detached."""
        return {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `learned`, strict.

        Raises:
            InputError: a tensor is missing, left over, or has another shape.
        """
        own = self.state_dict()
        missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        shapes = [k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape]
        if missing or extra or shapes:
            raise InputError(
                "The tensors do not fit this method: "
                f"missing {missing[:3] or 'none'}, unknown {extra[:3] or 'none'}, "
                f"other shape {sorted(shapes)[:3] or 'none'}."
            )
        self.load_state_dict(dict(tensors))


def _disjoint(parts: Mapping[str, Mapping[str, nn.Module]]) -> dict[str, nn.Module]:
    """All exchanged modules together; two adapters in one place, or one within the other, would lose one of them."""
    owners: dict[str, str] = {}
    for adapter, modules in parts.items():
        for name in modules:
            for other, owner in owners.items():
                if f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}."):
                    raise InputError(f"The adapters {owner!r} and {adapter!r} both exchange {name!r} of the base.")
            owners[name] = adapter
    return {name: module for modules in parts.values() for name, module in modules.items()}
