"""What the bases over transformers share: loading, freezing, fingerprints, and one look inside the mask decoder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases import _learning
from samtailor.errors import BaseUnavailableError, InputError
from samtailor.structures import Features, Output, Prompts, Tokens

TAIL = {
    "prompt_encoder": r"prompt_encoder\.(point_embed(\.\d+)?|not_a_point_embed|no_mask_embed|mask_embed)",
    "decoder.transformer": r"mask_decoder\.transformer",
    "decoder.iou_token": r"mask_decoder\.iou_token",
    "decoder.mask_tokens": r"mask_decoder\.mask_tokens",
    "decoder.upscaling": r"mask_decoder\.upscale_\w+",
    "decoder.hyper": r"mask_decoder\.output_hypernetworks_mlps",
    "decoder.iou_head": r"mask_decoder\.iou_prediction_head",
}
"""Sites of the prompt encoder and of the mask decoder's ends, named alike in both families."""


class DecoderTap:
    """Reads the mask decoder's inner tensors while the vendor's own forward runs.

    transformers returns either token 0 or tokens 1 to 3, and neither the image keys nor the upscaled embedding.
    Forward hooks see all of them, so the decoder is wrapped, not copied. Captures are per thread: a service may
    decode from several threads at once.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._local = threading.local()
        self._decoder, self._readable = decoder, _learning.readable(decoder)
        decoder.transformer.register_forward_hook(self._on("transformer"))
        decoder.activation.register_forward_hook(self._on("upscaled"))
        decoder.iou_prediction_head.register_forward_hook(self._on("iou"))
        self._mlps = len(decoder.output_hypernetworks_mlps)
        for index, mlp in enumerate(decoder.output_hypernetworks_mlps):
            mlp.register_forward_hook(self._on(f"hyper{index}"))

    def _on(self, key: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            seen = getattr(self._local, "seen", None)
            if seen is not None:
                seen[key] = output  # the activation runs twice; the second call is the finished upscaling

        return hook

    @contextmanager
    def listen(self) -> Iterator[dict[str, Any]]:
        """Collect what the hooks see in this thread."""
        self._local.seen = {}
        try:
            yield self._local.seen
        finally:
            self._local.seen = None

    def decode(self, features: Features, tokens: Tokens, positions: Tensor, grid: int, **extra: Any) -> Output:
        """Run the vendor's decoder and return all its mask tokens; `extra` goes to its forward."""
        batch, prompts = tokens.sparse.shape[:2]
        if (
            prompts == 1
            and self._readable
            and _learning.learning(features.main)
            and _learning.frozen_keys(self._decoder)
        ):
            return _learning.decode(self._decoder, features, tokens, positions)
        with self.listen() as seen:
            self._decoder(
                image_embeddings=features.main,
                image_positional_embeddings=positions.expand(batch, -1, -1, -1),
                sparse_prompt_embeddings=tokens.sparse,
                dense_prompt_embeddings=tokens.dense,
                multimask_output=True,
                **extra,
            )
            return self.output(seen, batch, prompts, grid)

    def output(self, seen: dict[str, Any], batch: int, prompts: int, grid: int) -> Output:
        """Put the captured tensors together (shapes: see `Output`)."""
        keys = seen["transformer"][1]  # (B, P, H*W, D), or (B*P, 1, H*W, D): the same memory order
        keys = keys.reshape(batch, prompts, grid * grid, -1).transpose(2, 3)
        keys = keys.reshape(batch, prompts, -1, grid, grid)
        upscaled = seen["upscaled"]
        upscaled = upscaled.reshape(batch, prompts, *upscaled.shape[-3:])
        hyper = torch.stack([seen[f"hyper{i}"] for i in range(self._mlps)], dim=2)
        logits = (hyper @ upscaled.flatten(3)).reshape(batch, prompts, self._mlps, *upscaled.shape[-2:])
        candidates = tuple(range(1, self._mlps))
        return Output(logits, seen["iou"], keys=keys, upscaled=upscaled, hyper=hyper, candidates=candidates)


class Positions:
    """The Fourier encoding of the grid, which depends on one frozen matrix alone: computed again when that changes."""

    def __init__(self) -> None:
        self._kept: tuple[Any, Tensor] | None = None

    def __call__(self, model: nn.Module) -> Tensor:
        """(1, D, H, W) of the model, an ordinary tensor without a graph whatever mode is on."""
        matrix = model.shared_image_embedding.positional_embedding
        state = (matrix.data_ptr(), matrix._version, matrix.device, matrix.dtype)
        kept = self._kept  # read once: another thread may put a new one in its place
        if kept is None or kept[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                kept = self._kept = state, model.get_image_wide_positional_embeddings()
        return kept[1]


def twin(base: Any, modules: Mapping[str, nn.Module]) -> Any:
    """A base of the same class with modules of its model exchanged, everything else shared (`Base.with_modules`).

    The tree of modules is copied, the tensors in it are not: about a thousand small Python objects. What moves the
    base to a device or changes a weight of it in place does so for the twin too.

    Args:
        base: `Sam` or `Sam2`.
        modules: by their name within `base.model`.

    Raises:
        InputError: the model has no module of such a name.
    """
    known = {name for name, _ in base.model.named_modules()}
    if unknown := sorted(modules.keys() - known):
        raise InputError(f"The model of {base.name!r} has no module {unknown[0]!r}; see the base's `sites`.")
    new = _same(base)
    new._modules = {"model": exchanged(base.model, modules)}
    decoder = new.model.mask_decoder
    decoder.num_mask_tokens = len(decoder.output_hypernetworks_mlps)
    new._tap = DecoderTap(decoder)
    return new


def exchanged(module: nn.Module, modules: Mapping[str, nn.Module], prefix: str = "") -> nn.Module:
    """The tree of a module once more with some of its modules exchanged by name; every tensor is shared."""
    new = _same(module)
    for name, child in module._modules.items():
        path = prefix + name
        new._modules[name] = modules[path] if path in modules else child and exchanged(child, modules, f"{path}.")
    return new


def _same(module: nn.Module) -> nn.Module:
    """The module once more: own dictionaries (so that hooks and exchanged children stay its own), the same values."""
    new = module.__new__(type(module))
    new.__dict__.update({k: v.copy() if isinstance(v, dict) else v for k, v in module.__dict__.items()})
    return new


def freeze(model: nn.Module) -> nn.Module:
    """Evaluation mode and no parameter learns; includes transformers' Fourier matrix, which is a Parameter there."""
    return model.eval().requires_grad_(False)


def fingerprint(model: nn.Module, **preprocessing: Any) -> str:
    """16 hex digits over all tensors (names, dtypes, shapes, values) and the preprocessing."""
    digest = hashlib.sha256(repr(sorted(preprocessing.items())).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_pretrained(model_class: Any, source: str, **options: Any) -> nn.Module:
    """transformers' `from_pretrained` with our words when neither hub nor folder has the model, and strict keys.

    Raises:
        BaseUnavailableError: the hub cannot be reached or does not have it, or the folder holds no such model.
        InputError: tensors are missing from the file or have other shapes than the configuration says.
    """
    try:
        with _quiet():
            model, info = model_class.from_pretrained(
                source, output_loading_info=True, dtype=torch.float32, use_safetensors=True, **options
            )
    except (OSError, ValueError) as error:
        where = "folder" if Path(source).exists() else "hub id"
        raise BaseUnavailableError(
            f"The base model {source!r} ({where}) could not be loaded: {_first_line(error)} Expected a folder made "
            "with save_pretrained (config.json and model.safetensors), a hub id that this machine can reach or has "
            "in its cache, or the bundled base 'nano', which needs no network."
        ) from error
    wrong = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if wrong:
        raise InputError(
            f"The weights of {source!r} do not fit its configuration: {len(wrong)} tensors are missing or have "
            f"another shape, e.g. {wrong[0]}. Download the model again or correct config.json."
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of transformers for a load that takes a second; the user's own setting comes back after."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".") + "."


def check_square(images: Tensor, size: int) -> None:
    """Raise InputError unless images are (B, 3, size, size)."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
        raise InputError(
            f"encode_image expects normalised images of shape (B, 3, {size}, {size}), got {tuple(images.shape)}; "
            "use samtailor.data.transform.Frame to make them."
        )


def check_frame(prompts: Prompts, size: int) -> None:
    """Raise InputError unless the prompts are in the model frame."""
    if prompts.frame != (size, size):
        raise InputError(
            f"Prompts must be in the model frame ({size}, {size}), got frame {prompts.frame}; "
            "convert them with samtailor.data.transform.Frame.prompts."
        )
