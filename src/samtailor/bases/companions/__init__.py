"""Companions: small frozen networks whose features an adapter reads beside the base's embedding.

The features of SAM describe outlines and hardly meaning; those of a network that was trained to recognize things are
the opposite. A region map and proposals may read both. `load_companion("bundled")` is the backbone of the bundled base,
`load_companion("facebook/dinov2-small")` a model of the hub, `load_companion("models/dino")` a folder.

A companion sees the frame of the base, resized to its own input (`companion_maps`), so that its maps cover the same
area as the embedding. To add one, write a file with two functions, here or as a plug-in (see `samtailor.registry`):

* `matches(source, model_type) -> bool`: whether this file loads `source`. `model_type` is that of the config.json of a
  folder or hub id; it is None for a plain name such as "bundled".
* `build(source) -> Companion`: loads it, frozen.

A file whose weights come with the installation, so that they cannot change while a program runs, may set
`PACKAGED = True`: its companion is then read once, however many adapters load it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.errors import BaseUnavailableError, InputError
from samtailor.registry import find, names

if TYPE_CHECKING:
    from samtailor.bases._protocol import Base
    from samtailor.structures import Features

NONE, AUTO = "none", "auto"
"""Values of an option `companion`: no companion; "bundled" if the encoder of the base contains it, else none."""


@runtime_checkable
class Companion(Protocol):
    """A frozen network that turns an image into maps of features.

    Attributes:
        name: the source it was loaded from: a registry name, a hub id, or a local folder.
        size: side of its square input, pixels.
        mean, std: normalization of RGB in 0..255, three numbers each.
        channels: of each map, finest map first.
        sides: of each map, cells.
        fingerprint: hash of weights and preprocessing; identifies the companion in the cache and in saved adapters.
        model: the frozen network.
    """

    name: str
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: tuple[int, ...]
    sides: tuple[int, ...]
    fingerprint: str
    model: nn.Module

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalized images (B, 3, size, size) to maps (B, C, s, s), finest first, each about of unit variance."""


_alive: WeakValueDictionary[tuple[str, str, str], Any] = WeakValueDictionary()
_packaged: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
"""By source and device; those that are found without being read."""


def load_companion(
    source: str | Path = "bundled", device: str | torch.device = "cpu", base: Base | None = None
) -> Companion | None:
    """Load a companion, frozen. Adapters that use the same weights on one device share them.

    Args:
        source: name of a companion, hub id, or folder made with `save_pretrained`; "none" for no companion, "auto" for
            "bundled" if the image encoder of `base` contains that network, else none.
        device: where it computes.
        base: whose embedding it is read beside; needed for "auto".

    Raises:
        BaseUnavailableError: there is no such model, or the hub cannot be reached.
        InputError: no file of `samtailor.bases.companions` or of a plug-in loads this type of model.
    """
    source = str(source)
    if source == AUTO:
        source = "bundled" if base is not None and find("companions", "bundled").in_encoder_of(base) else NONE
    if source == NONE:
        return None
    module = _module(source)
    packaged = getattr(module, "PACKAGED", False)
    if packaged and (kept := _packaged.get((source, str(device)))) is not None:
        return kept
    with torch.random.fork_rng(devices=[]):  # a fit has the same weights whether or not it was loaded before
        loaded: Any = module.build(source)
    key = (loaded.name, loaded.fingerprint, str(device))
    shared = _alive.get(key)
    if shared is None:
        loaded.model.to(device)
        shared = _alive[key] = loaded
    if packaged:
        _packaged[source, str(device)] = shared
    return shared


@torch.no_grad()
def companion_maps(companion: Companion, base: Base, images: Tensor) -> tuple[Tensor, ...]:
    """Maps of a companion for images in the frame of a base.

    Args:
        companion: any.
        base: whose frame and normalization the images have.
        images: (B, 3, size, size) of the base.

    Returns:
        one map (B, C, s, s) for each of `companion.channels`, on the device of the images.
    """
    device = next(companion.model.parameters()).device
    (from_mean, from_std), (mean, std) = (
        [images.new_tensor(values)[:, None, None] for values in (model.mean, model.std)] for model in (base, companion)
    )
    # one scale and one offset: the colors are not needed on the scale of 0 to 255 in between
    shown = resized(images * (from_std / std) + (from_mean - mean) / std, companion.size)
    return tuple(one.to(images.device) for one in companion.maps(shown.to(device)))


def maps_of_backbone(companion: Companion, base: Base, images: Tensor) -> tuple[Features, tuple[Tensor, ...] | None]:
    """Encode images, and take the maps of a companion from the backbone of the encoder if it is the same network.

    Unlike `companion_maps` after `encode_image`, this runs the backbone once also where the encoder is traced.

    Args:
        companion: any.
        base: the model that encodes.
        images: (B, 3, size, size) of the base.

    Returns:
        The features, and the maps as in `companion_maps`; None where the backbone is another network.
    """
    backbone = getattr(companion, "backbone_in", None)
    trunk: nn.Module | None = None if backbone is None else backbone(base)
    if trunk is None:
        return base.encode_image(images), None
    captured: list[Any] = []
    hook = trunk.register_forward_hook(lambda module, inputs, output: captured.append(output))
    try:
        features = base.encode_image(images)
    finally:
        hook.remove()
    own: Any = companion
    return features, own.of_backbone(captured[-1])


def resized(x: Tensor, side: int) -> Tensor:
    """Resize square maps (B, C, s, s) to (B, C, side, side): averages of whole blocks, then bilinear.

    Both operations are in every version of ONNX; antialiased resizing is not.
    """
    have, side = int(x.shape[-1]), int(side)  # in tracing they are tensors, and the sizes must become constants
    block = have // side
    if block > 1 and have % block == 0:
        x, have = F.avg_pool2d(x, block), have // block
    return x if have == side else F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def _module(source: str) -> Any:
    """The file that loads a source."""
    known = names("companions")
    for name in known:
        if (module := find("companions", name)).matches(source, None):
            return module
    loadable = ", ".join(repr(name) for name in known if find("companions", name).matches(name, None))
    expected = f"Expected {NONE!r}, {loadable}, a hub id such as facebook/dinov2-small, or a folder made with "
    expected += "save_pretrained."
    if source in known:
        raise InputError(f"{source!r} is a family of companions, not a model. {expected}")
    path = Path(source)
    if not path.is_dir() and (path.exists() or source.startswith((".", "/", "~")) or source.count("/") != 1):
        raise BaseUnavailableError(f"There is no companion {source!r}. {expected}")
    model_type = _model_type(source)
    for name in known:
        if (module := find("companions", name)).matches(source, model_type):
            return module
    raise InputError(
        f"The model {source!r} is of type {model_type!r}, which no companion loads. Known: {', '.join(known)}."
    )


def _model_type(source: str) -> str | None:
    """`model_type` of the config.json of a folder or hub id."""
    from huggingface_hub.errors import HFValidationError
    from transformers import PretrainedConfig

    try:
        return PretrainedConfig.get_config_dict(source)[0].get("model_type")
    except (OSError, ValueError, HFValidationError) as error:
        where = "folder" if Path(source).is_dir() else "hub id"
        raise BaseUnavailableError(
            f"The configuration of the companion {source!r} ({where}) cannot be read. Expected a folder made with "
            "save_pretrained, or a hub id that this machine can reach or has in its cache; the companion 'bundled' "
            "needs no network."
        ) from error


__all__ = ["AUTO", "NONE", "Companion", "companion_maps", "load_companion", "maps_of_backbone", "resized"]
