"""Segmenter: a frozen base, what learns around it, and nothing else. The one object that is trained, saved, served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.types import Batch, Features, Output, Prompts, Tokens


class TokenAdapter(Protocol):
    """Changes the encoded prompts before the mask decoder (PLM, a learnt dense prompt)."""

    def __call__(self, tokens: Tokens, features: Features, positions: Tensor) -> Tokens:
        """Same shapes as came in."""


class OutputAdapter(Protocol):
    """Changes what the mask decoder answers (SAM-F, mask calibration)."""

    def __call__(self, output: Output) -> Output:
        """May change the number of masks, then also `candidates`."""


class Segmenter(nn.Module):
    """Freezes everything, then frees exactly `groups`.

    Args:
        base: frozen base model; kept out of this module's parameters, so that `state_dict` is what was learnt.
        tokens: adapters of the encoded prompts, applied in order.
        outputs: adapters of the decoder's answer, applied in order.
        training_only: modules that take part in the loss and are saved, but not in `forward` (PMM).
        groups: names of the parameter groups of a step, each a list of the names of adapters
            (default: one group "lower" with all of them).
        contour_points: how many points of the true outline a training batch must bring along; None: none.

    The names of the three mappings must differ; they prefix the tensors in the artefact.
    """

    encoder_frozen = True

    def __init__(
        self,
        base: Base,
        *,
        tokens: Mapping[str, nn.Module] | None = None,
        outputs: Mapping[str, nn.Module] | None = None,
        training_only: Mapping[str, nn.Module] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        contour_points: int | None = None,
    ) -> None:
        super().__init__()
        self.contour_points = contour_points
        self._base = (base,)  # a tuple hides it from nn.Module: the base is shared between segmenters
        self.tokens = nn.ModuleDict(tokens or {})
        self.outputs = nn.ModuleDict(outputs or {})
        self.training_only = nn.ModuleDict(training_only or {})
        self._members = groups or {"lower": [*self.tokens, *self.outputs, *self.training_only]}
        for parameter in base.model.parameters():
            parameter.requires_grad_(False)

    @property
    def base(self) -> Base:
        """The frozen base model."""
        return self._base[0]

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
        for home in (self.tokens, self.outputs, self.training_only):
            if name in home:
                return home[name]
        known = [*self.tokens, *self.outputs, *self.training_only]
        raise InputError(f"This segmenter has no adapter {name!r}; it has {', '.join(known) or 'none'}.")

    def forward(self, batch: Batch) -> Output:
        """Decode a training batch on cached embeddings, gradients kept."""
        return self.decode(batch.features, batch.prompts)

    def decode(self, features: Features, prompts: Prompts) -> Output:
        """Prompts of the model frame on embeddings to masks, through every adapter."""
        tokens = self.base.encode_prompts(prompts)
        for adapter in self.tokens.values():
            tokens = adapter(tokens, features, self.base.positions())
        output = self.base.decode(features, tokens)
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
