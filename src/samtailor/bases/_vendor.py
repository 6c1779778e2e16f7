"""Code shared by the bases of the transformers library: loading, freezing, fingerprints and twins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from samtailor.bases._modules import exchange, shallow_copy
from samtailor.bases.decoder import ReferenceDecoder
from samtailor.errors import BaseUnavailableError, DataError, InputError
from samtailor.limits.model_files import check_model_folder, check_size, refuse_not_finite, stored_numbers
from samtailor.registry import BUNDLED_BASE
from samtailor.structures import Prompts

AnyBase = TypeVar("AnyBase", bound="TransformersBase")

TAIL = {
    "prompt_encoder": r"prompt_encoder\.(point_embed(\.\d+)?|not_a_point_embed|no_mask_embed|mask_embed)",
    "decoder.transformer": r"mask_decoder\.transformer",
    "decoder.iou_token": r"mask_decoder\.iou_token",
    "decoder.mask_tokens": r"mask_decoder\.mask_tokens",
    "decoder.upscaling": r"mask_decoder\.upscale_\w+",
    "decoder.hyper": r"mask_decoder\.output_hypernetworks_mlps",
    "decoder.iou_head": r"mask_decoder\.iou_prediction_head",
}
"""Sites of the prompt encoder and of the mask decoder's ends; both families use the same names."""


def sites_of(model: nn.Module, sites: Mapping[str, str]) -> dict[str, str]:
    """The sites whose expression matches a module of the model, see `Base.sites`."""
    names = [name for name, _ in model.named_modules()]
    return {site: pattern for site, pattern in sites.items() if any(re.fullmatch(pattern, name) for name in names)}


class Positions:
    """Positional encoding of the grid. It depends on one frozen matrix and is recomputed only when that changes."""

    def __init__(self) -> None:
        self._cached: tuple[Any, Tensor] | None = None

    def __call__(self, model: Any) -> Tensor:
        """(1, D, H, W) of a model; a normal tensor without a graph, also in inference mode."""
        matrix = model.shared_image_embedding.positional_embedding
        state = (matrix.data_ptr(), matrix._version, matrix.device, matrix.dtype)
        cached = self._cached  # read once, since another thread may replace it
        if cached is None or cached[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                cached = self._cached = state, model.get_image_wide_positional_embeddings()
        return cached[1]


def twin(base: AnyBase, modules: Mapping[str, nn.Module]) -> AnyBase:
    """A base of the same class with modules of its model exchanged and everything else shared (`Base.with_modules`).

    The tree of modules is copied, its tensors are not: about a thousand small Python objects. Moving the base to a
    device or changing a weight in place therefore affects the twin too.

    Args:
        base: any base of this package.
        modules: by their name within `base.model`.

    Raises:
        InputError: the model has no module of such a name.
    """
    known = {name for name, _ in base.model.named_modules()}
    if unknown := sorted(modules.keys() - known):
        raise InputError(f"The model of {base.name!r} has no module {unknown[0]!r}; see the base's `sites`.")
    copy = shallow_copy(base)
    copy._modules = {"model": exchange(base.model, modules)}
    copy._decoder = copy._decoder_of(copy.model.mask_decoder)
    return copy


class TransformersBase(nn.Module):
    """What all bases of transformers share; see `bases._protocol.Base` for the attributes."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    squash: bool
    sites: Mapping[str, str]
    name: str
    model: Any
    size: int
    dim: int
    grid: int
    low_res: int
    fingerprint: str
    _positions: Positions
    _decoder: Any
    standard_decoder = True
    """Whether the faster ways of `bases.decoder` apply to the mask decoder."""

    def _set_up(self, model: nn.Module, name: str, *, size: int, dim: int, patch: int) -> None:
        """Freeze the model and set the attributes of `Base`."""
        self.model, self.name = freeze(model), name
        self.size, self.dim, self.grid = size, dim, size // patch
        self.low_res = 4 * self.grid
        self.fingerprint = fingerprint(model, mean=self.mean, std=self.std, size=size, squash=self.squash)
        self._positions, self._decoder = Positions(), self._decoder_of(self.model.mask_decoder)

    def _decoder_of(self, decoder: Any) -> Any:
        """What decodes with the vendor's mask decoder, whose modules may have been exchanged."""
        decoder.num_mask_tokens = len(decoder.output_hypernetworks_mlps)
        return ReferenceDecoder(decoder)

    def positions(self) -> Tensor:
        """(1, D, H, W) Fourier encoding of the grid."""
        return self._positions(self.model)

    def with_modules(self: AnyBase, modules: Mapping[str, nn.Module]) -> AnyBase:
        """A twin that shares every frozen tensor, with modules of `model` exchanged by name."""
        return twin(self, modules)

    def train(self: AnyBase, mode: bool = True) -> AnyBase:
        """Does nothing: a base stays in evaluation mode."""
        return super().train(False)


def freeze(model: nn.Module) -> nn.Module:
    """Set evaluation mode and freeze every parameter, also the Fourier matrix, which is a Parameter in transformers."""
    return model.eval().requires_grad_(False)


def fingerprint(model: nn.Module, **preprocessing: Any) -> str:
    """16 hex digits over all tensors (names, dtypes, shapes, values) and the preprocessing."""
    digest = hashlib.sha256(repr(sorted(preprocessing.items())).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_pretrained(
    model_class: Any,
    source: str,
    *,
    bundled: bool = False,
    what: str = "base model",
    instead: str = f"the bundled base {BUNDLED_BASE!r}, which needs no network",
    **options: Any,
) -> Any:
    """`from_pretrained` of transformers with strict keys, and with a clear message where the model is not available.

    Args:
        model_class: of transformers.
        source: hub id or folder.
        bundled: the folder is part of this package, so that its files are not checked before they are read.
        what: the model's part, for the message.
        instead: what to use where the hub is out of reach, for the message.
        **options: of `from_pretrained`.

    Raises:
        BaseUnavailableError: the hub cannot be reached or has no such model, or the folder holds none.
        InputError: tensors are missing from the file or have other shapes than in the configuration.
    """
    folder = Path(source)
    try:
        if folder.is_dir() and not bundled:
            check_model_folder(folder)
            check_size(_declared(model_class, source), stored_numbers(folder), str(folder / "config.json"))
        with _quiet():
            options = {"ignore_mismatched_sizes": True, **options}  # they are listed in `info`, and refused below
            model, info = model_class.from_pretrained(
                source, output_loading_info=True, dtype=torch.float32, use_safetensors=True, **options
            )
    except DataError as error:
        raise BaseUnavailableError(f"The {what} {source!r} could not be loaded: {error}") from error
    except (OSError, ValueError) as error:
        where = "folder" if folder.exists() else "hub id"
        raise BaseUnavailableError(
            f"The {what} {source!r} ({where}) could not be loaded: {_first_line(error)} Expected a folder made "
            "with save_pretrained (config.json and model.safetensors), a hub id that this machine can reach or has "
            f"in its cache, or {instead}."
        ) from error
    wrong = sorted(info["missing_keys"]) + sorted(
        key if isinstance(key, str) else str(key[0]) for key in info["mismatched_keys"]
    )
    if wrong:
        raise InputError(
            f"The weights of {source!r} do not fit its configuration: {len(wrong)} tensors are missing or have "
            f"another shape, e.g. {wrong[0]}. Download the model again or correct config.json."
        )
    refuse_not_finite(model.state_dict(), f"The {what} {source!r}")
    return model


def _declared(model_class: Any, source: str) -> int:
    """Number of parameters of a model by its configuration, counted without allocating any."""
    from transformers import AutoConfig

    config_class = getattr(model_class, "config_class", None)  # the Auto classes have none
    config = (config_class or AutoConfig).from_pretrained(source)
    with torch.device("meta"):
        model = model_class(config) if config_class else model_class.from_config(config)
        return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def _quiet() -> Iterator[None]:
    """Disable the progress bar of transformers, since loading takes a second, and its table of tensors that do not fit.

    The error of `load_pretrained` says it in one sentence. The previous settings are restored.
    """
    from transformers.utils import logging

    was_enabled, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if was_enabled:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".") + "."


def check_square(images: Tensor, size: int) -> None:
    """Raise InputError unless images are (B, 3, size, size)."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
        raise InputError(
            f"encode_image expects normalized images of shape (B, 3, {size}, {size}), got {tuple(images.shape)}; "
            "use samtailor.data.transform.Frame to make them."
        )


def check_frame(prompts: Prompts, size: int) -> None:
    """Raise InputError unless the prompts are in the model frame."""
    if prompts.frame != (size, size):
        raise InputError(
            f"Prompts must be in the model frame ({size}, {size}), got frame {prompts.frame}; "
            "convert them with samtailor.data.transform.Frame.prompts."
        )
