"""`transformers`: detectors of the transformers library, by hub id or local folder (D-FINE, RT-DETR v2, DETR, YOLOS;
with text prompts: Grounding DINO).

    build(weights="ustc-community/dfine-small-coco")
    build(weights="IDEA-Research/grounding-dino-tiny", text=["a banner", "a license plate"])

Images are prepared here, as preprocessor_config.json says, since the image processors of transformers for these models
need torchvision. The code and most of the weights are Apache-2.0; see the model card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import BaseUnavailableError, DataError, InputError
from samtailor.limits import MALFORMED, parse_json, read_bytes
from samtailor.limits.model_files import check_model_folder, refuse_not_finite
from samtailor.proposals.detectors import Detections, class_list, fingerprint, ordered
from samtailor.registry import number, refuse_unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

SAFE = True
"""Its weights run no code."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, if the file has none


def build(
    *,
    weights: str | Path | None = None,
    text: Sequence[str] | None = None,
    size: int | None = None,
    device: str = "cpu",
    **unknown: Any,
) -> Transformers:
    """The detector.

    Args:
        weights: hub id, or a folder made with `save_pretrained`.
        text: phrases to detect, for detectors with text prompts; each phrase is a class of the detections.
        size: side to which images are resized, pixels; None takes preprocessor_config.json's.
        device: torch device.
        **unknown: refused with an InputError.

    Raises:
        BaseUnavailableError: the weights are not available.
        InputError: not a detector, a text for a detector without text prompts (or the reverse), or an invalid value.
    """
    refuse_unknown(build, unknown)
    if not isinstance(weights, Path | str):
        raise InputError("This detector needs weights: a hub id such as ustc-community/dfine-small-coco, or a folder.")
    if size is not None:
        number("size", size, at_least=1, integer=True)
    text = None if text is None else class_list("text", text)
    source = str(weights)
    config = _config(source)
    model = _model(source, config, text)
    tokenizer = None if text is None else _tokenizer(source)
    try:
        model.eval().to(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"The device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return Transformers(model, _settings(source), tokenizer, text or (), size)


class Transformers:
    """A detector of transformers."""

    def __init__(
        self, model: nn.Module, settings: dict[str, Any], tokenizer: Any, text: tuple[str, ...], size: int | None
    ) -> None:
        self._model, self._settings, self._tokenizer, self._text = model, settings, tokenizer, text
        if size is not None:
            settings["size"] = {"height": size, "width": size}
        config: Any = model.config
        labels = getattr(config, "id2label", {}) or {}
        self.names = text or tuple(labels[key] for key in sorted(labels))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.fingerprint = fingerprint("transformers-1", _digest(model), sorted(settings.items()), text)

    def detect(self, image: np.ndarray) -> Detections:
        """See `Detector.detect`."""
        import torch

        pixels = prepare(image, self._settings).to(next(self._model.parameters()).device)
        with torch.inference_mode():
            if self._tokenizer is None:
                output = self._model(pixel_values=pixels)
                scores = class_scores(output.logits[0], len(self.names))
            else:
                words = self._tokenizer(_sentence(self._text), return_tensors="pt").to(pixels.device)
                output = self._model(pixel_values=pixels, **words)
                scores = phrase_scores(output.logits[0], words["input_ids"][0], self._separators())
        boxes = _edges(output.pred_boxes[0].float().cpu().numpy(), image.shape[:2])
        top = scores.float().cpu().numpy()
        best = top.argmax(axis=1)
        labels = [self.names[i] for i in best]
        nms = None if self._tokenizer is None else 0.7  # a set prediction has one box per object; phrases share boxes
        return ordered(boxes, top.max(axis=1), labels, image.shape[:2], nms=nms)

    def _separators(self) -> set[int]:
        return {self._tokenizer.convert_tokens_to_ids("."), *self._tokenizer.all_special_ids}


def takes_text(source: str | Path) -> bool:
    """Whether a detector detects what a text names, and has no fixed classes."""
    from transformers import AutoModelForZeroShotObjectDetection

    return type(_config(str(source))) in AutoModelForZeroShotObjectDetection._model_mapping


def prepare(image: np.ndarray, settings: dict[str, Any]) -> Tensor:
    """uint8 RGB (height, width, 3) to float32 (1, 3, h, w), by the settings of preprocessor_config.json."""
    import torch
    from PIL import Image

    height, width = _resized(image.shape[:2], settings.get("size") or {"height": 640, "width": 640})
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(resized, np.float32)).permute(2, 0, 1)
    if settings.get("do_rescale", True):
        pixels = pixels * settings.get("rescale_factor", 1 / 255)
    if settings.get("do_normalize", False):
        mean, std = (
            torch.tensor(settings.get(name) or default)[:, None, None]
            for name, default in (("image_mean", _MEAN), ("image_std", _STD))
        )
        pixels = (pixels - mean) / std
    return pixels[None]


def class_scores(logits: Tensor, classes: int) -> Tensor:
    """(Q, C) probabilities: a sigmoid, or a softmax without its last column if that is "no object" (DETR, YOLOS)."""
    return logits.softmax(-1)[:, :classes] if logits.shape[-1] == classes + 1 else logits.sigmoid()[:, :classes]


def phrase_scores(logits: Tensor, ids: Tensor, separators: set[int]) -> Tensor:
    """(Q, phrases): the highest probability among the tokens of each phrase of the sentence.

    Args:
        logits: (Q, tokens or more); columns after the sentence are ignored.
        ids: (tokens,) of the sentence.
        separators: ids of the full stop and the special tokens, which separate phrases.
    """
    import torch

    spans: list[list[int]] = [[]]
    for place, token in enumerate(ids.tolist()):
        if token not in separators:
            spans[-1].append(place)
        elif spans[-1]:
            spans.append([])
    columns = logits.sigmoid()
    return torch.stack([columns[:, span].amax(dim=1) for span in spans if span], dim=1)


def _sentence(text: Sequence[str]) -> str:
    """Phrases in lower case, each with a full stop, as Grounding DINO expects."""
    return " ".join(f"{phrase.lower().strip().rstrip('.')}." for phrase in text)


def _resized(size: tuple[int, int], wanted: dict[str, int]) -> tuple[int, int]:
    if "height" in wanted:
        return wanted["height"], wanted["width"]
    shortest, longest = wanted.get("shortest_edge", 800), wanted.get("longest_edge", 1333)
    factor = min(shortest / min(size), longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _edges(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes as center and size, in fractions of the image sides, to edges in pixels."""
    scale = np.array([size[1], size[0]] * 2, np.float32)
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1) * scale


def _config(source: str) -> Any:
    from transformers import AutoConfig

    try:
        if Path(source).is_dir():
            check_model_folder(Path(source))
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except DataError as error:
        raise InputError(f"The detector {source!r} cannot be used: {error}") from error
    except (OSError, ValueError, *MALFORMED) as error:
        raise _unavailable(source) from error
    if getattr(config, "use_pretrained_backbone", False):
        config.use_pretrained_backbone = False  # all weights come from this file, none from a place that it names
    for name in ("quantization_config", "auto_map"):
        if getattr(config, name, None):
            raise InputError(f"The detector {source!r} cannot be used: {name} in its config.json loads code.")
    if getattr(config, "_attn_implementation", None) not in (None, "eager", "sdpa"):
        raise InputError(f"The detector {source!r} cannot be used: its config.json names code for the attention.")
    return config


def _model(source: str, config: Any, text: Sequence[str] | None) -> nn.Module:
    from transformers import AutoModelForObjectDetection, AutoModelForZeroShotObjectDetection

    wants_text = type(config) in AutoModelForZeroShotObjectDetection._model_mapping
    if not wants_text and type(config) not in AutoModelForObjectDetection._model_mapping:
        raise InputError(f"{source!r} is of type {config.model_type!r}, which is not a detector.")
    if wants_text != bool(text):
        need = "needs a text: text=['a banner']" if wants_text else "takes no text; it has fixed classes"
        raise InputError(f"The detector {source!r} ({config.model_type}) {need}.")
    kind = AutoModelForZeroShotObjectDetection if wants_text else AutoModelForObjectDetection
    try:
        model = kind.from_pretrained(source, config=config, use_safetensors=True, trust_remote_code=False)
        refuse_not_finite(model.state_dict(), f"The detector {source!r}")
        return model
    except DataError as error:
        raise InputError(str(error)) from error
    except (OSError, *MALFORMED) as error:
        raise _unavailable(source) from error


def _tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, *MALFORMED) as error:
        raise _unavailable(source) from error


def _settings(source: str) -> dict[str, Any]:
    """preprocessor_config.json; without one, 640 px and no normalization."""
    from transformers.utils import cached_file

    try:
        file = cached_file(source, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    except OSError as error:
        raise _unavailable(source) from error
    if file is None:
        return {}
    try:
        settings = parse_json(read_bytes(Path(file), "metadata_bytes"), str(file), nested=True)
    except DataError as error:
        raise InputError(str(error)) from error
    if not isinstance(settings, dict):
        raise InputError(f"{file}: expected a JSON object, got a {type(settings).__name__}.")
    return settings


def _unavailable(source: str) -> BaseUnavailableError:
    return BaseUnavailableError(
        f"The detector {source!r} is not a local folder and not available from the hub (safetensors only). Check the "
        "name and the network."
    )


def _digest(model: nn.Module) -> str:
    import hashlib

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


__all__ = ["Transformers", "build", "class_scores", "phrase_scores", "prepare", "takes_text"]
