"""The mask decoder by the vendor's own forward: the reference of the faster ways."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases.decoder import training
from samtailor.structures import Features, Output, Tokens


class ReferenceDecoder:
    """Runs the vendor's mask decoder and captures its inner tensors.

    transformers returns either mask token 0 or tokens 1 to 3, and neither the image keys nor the upscaled embedding.
    Forward hooks capture all of them, so the vendor's code is wrapped, not copied. Captures are per thread, since a
    service may decode from several threads at once.

    Args:
        decoder: the vendor's mask decoder; gets forward hooks.
    """

    def __init__(self, decoder: Any) -> None:
        self._local = threading.local()
        self._decoder, self._standard = decoder, training.is_standard(decoder)
        decoder.transformer.register_forward_hook(self._capture("transformer"))
        decoder.activation.register_forward_hook(self._capture("upscaled"))
        decoder.iou_prediction_head.register_forward_hook(self._capture("iou"))
        self._mlps = len(decoder.output_hypernetworks_mlps)
        for index, mlp in enumerate(decoder.output_hypernetworks_mlps):
            mlp.register_forward_hook(self._capture(f"hyper{index}"))

    def decode(
        self, features: Features, tokens: Tokens, positions: Tensor, grid: int, *, fast: bool = False, **extra: Any
    ) -> Output:
        """All mask tokens, gradients kept.

        Args:
            features: of B images.
            tokens: sparse (B, P, N, D).
            positions: (1, D, G, G) positional encoding of the grid.
            grid: G.
            fast: use the cheaper order of `training.py` where it applies.
            extra: further arguments of the vendor's forward.
        """
        if fast and self._standard and training.supports(self._decoder, features, tokens):
            return training.decode(self._decoder, features, tokens, positions)
        batch, prompts = tokens.sparse.shape[:2]
        with self._capturing() as captured:
            self._decoder(
                image_embeddings=features.main,
                image_positional_embeddings=positions.expand(batch, -1, -1, -1),
                sparse_prompt_embeddings=tokens.sparse,
                dense_prompt_embeddings=tokens.dense,
                multimask_output=True,
                **extra,
            )
            return self._output(captured, batch, prompts, grid)

    def _capture(self, key: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            captured = getattr(self._local, "captured", None)
            if captured is not None:
                captured[key] = output  # the activation runs twice; the second call is the finished upscaling

        return hook

    @contextmanager
    def _capturing(self) -> Iterator[dict[str, Any]]:
        """Collect what the hooks capture in this thread."""
        self._local.captured = {}
        try:
            yield self._local.captured
        finally:
            self._local.captured = None

    def _output(self, captured: dict[str, Any], batch: int, prompts: int, grid: int) -> Output:
        """The captured tensors in the shapes of `Output`."""
        keys = captured["transformer"][1]  # (B, P, H*W, D), or (B*P, 1, H*W, D): the same memory order
        keys = keys.reshape(batch, prompts, grid * grid, -1).transpose(2, 3)
        keys = keys.reshape(batch, prompts, -1, grid, grid)
        upscaled = captured["upscaled"]
        upscaled = upscaled.reshape(batch, prompts, *upscaled.shape[-3:])
        hyper = torch.stack([captured[f"hyper{i}"] for i in range(self._mlps)], dim=2)
        logits = (hyper @ upscaled.flatten(3)).reshape(batch, prompts, self._mlps, *upscaled.shape[-2:])
        candidates = tuple(range(1, self._mlps))
        return Output(logits, captured["iou"], keys=keys, upscaled=upscaled, hyper=hyper, candidates=candidates)


__all__ = ["ReferenceDecoder"]
