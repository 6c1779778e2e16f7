"""Normalization of a model's input as its own files state it (`preprocessor_config.json` of transformers)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from samtailor.errors import InputError

_FILES = ("preprocessor_config.json", "processor_config.json")
"""The second is what newer processors write; it holds the first under the key `image_processor`."""

Three = tuple[float, float, float]


class Normalization(NamedTuple):
    """Mean and standard deviation of RGB on the scale 0 to 255."""

    mean: Three
    std: Three


IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""Of SAM and SAM 2."""


def read_normalization(source: str) -> Normalization | None:
    """Normalization of the model in a folder or of a hub id.

    Returns:
        None if its files state none. That of a hub id is also None where the hub cannot be reached and the file is not
        in the cache; the constants of the model family hold then.

    Raises:
        InputError: the file is damaged, or its values are not three numbers each, with positive deviations.
    """
    for name in _FILES:
        file = Path(source) / name if Path(source).is_dir() else _from_hub(source, name)
        if file is None or not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            content = content.get("image_processor", content)
            if "image_mean" in content or "image_std" in content or content.get("do_normalize") is False:
                return _normalization(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{file} does not state how images are normalized: expected image_mean and image_std with three "
                f"numbers each, deviations above 0 ({type(error).__name__}: {error}). Download the model again or "
                "correct the file."
            ) from error
    return None


def _normalization(content: dict[str, Any]) -> Normalization:
    scale = float(content.get("rescale_factor", 1 / 255)) if content.get("do_rescale", True) else 1.0
    if content.get("do_normalize", True):
        mean, std = content["image_mean"], content["image_std"]
    else:
        mean, std = (0, 0, 0), (1, 1, 1)
    if not scale > 0 or not all(float(value) > 0 for value in std):
        raise ValueError("a deviation or the scale is not above 0")
    return Normalization(_three(mean, scale), _three(std, scale))


def _three(values: Any, scale: float) -> Three:
    """Values of scaled pixels on the scale 0 to 255; rounded, so that 0.485 becomes 123.675 and not 123.67499...9."""
    red, green, blue = (round(float(value) / scale, 6) for value in values)
    return red, green, blue


def _from_hub(source: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(source, name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None


__all__ = ["IMAGENET", "Normalization", "read_normalization"]
