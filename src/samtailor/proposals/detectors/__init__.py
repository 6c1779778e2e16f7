"""Frozen detectors, one file each: `build(**options) -> Detector`. Only this package imports a detector library.

A detector gets the image as stored, never resized, and returns boxes in image pixels. It is never trained here, so its
detections are cached on disk (`cache.detections`).

To add a detector, write a file here or a plug-in (see `samtailor.registry`) with a function `build(**options)`, and
optionally:

* `matches(source) -> bool`: whether `--detector SOURCE` means this detector; without it, only its name does. `build`
  then gets `weights=source`.
* `takes_text(source) -> bool`: whether it detects classes that are given as text; `build` then gets `text=classes`.
* `SAFE = True`: opening its weights runs no code, whatever they contain. Only such a detector may be named by a file
  (an adapter, a configuration); any other needs the word of the user, see `samtailor.limits.trust`.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.limits import trusted
from samtailor.masks.nms import box_nms
from samtailor.registry import find, names
from samtailor.structures.detections import FLOOR, Detections, Detector
from samtailor.structures.renames import renamed_detector_options


def make(
    name: str,
    weights: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    named_by_user: bool = False,
) -> Detector:
    """Build a detector by its name.

    Args:
        name: e.g. "onnx", see `registry.names("detectors")`.
        weights: of the detector; None where it needs none.
        settings: further options of its `build`.
        named_by_user: the user gave the weights, so that they may run code; False: they may come from a file.

    Raises:
        InputError: unknown detector, an unknown or invalid option, or a file names weights that could run code.
        MissingExtraError: its library is not installed.
        BaseUnavailableError: its weights are not available.
    """
    if not isinstance(name, str):
        raise InputError(f"detector must be a name, one of {', '.join(names('detectors'))}; got {name!r}.")
    if not isinstance(settings, Mapping | None):
        raise InputError(f"settings must map options of the detector to values, got {settings!r}.")
    module = find("detectors", name)
    if not named_by_user:
        _refuse_code(name, module, weights, settings)
    build = module.build
    options = renamed_detector_options(name, settings or {}) | ({} if weights is None else {"weights": weights})
    try:
        inspect.signature(build).bind(**options)
    except TypeError as error:
        raise InputError(f"The detector {name!r} cannot be built with {', '.join(options)}: {error}.") from error
    return build(**options)


def open_source(source: str, classes: Sequence[str] | None = None) -> tuple[Detector, Sequence[str] | None]:
    """Build a detector by what `--detector` takes: its name, its weights file, a hub id or a folder.

    Args:
        source: name of a detector without weights, or weights.
        classes: classes to keep; for a detector that takes a text, the text.

    Returns:
        The detector, and the classes to keep of its detections (None: all).

    Raises:
        InputError: a class that the detector does not have, or as in `make`.
    """
    name, module = module_of(source)
    weights = None if source == name else source
    takes_text = getattr(module, "takes_text", None)
    if takes_text is not None and takes_text(source):
        return make(name, weights, {"text": classes}, named_by_user=True), None
    detector = make(name, weights, named_by_user=True)
    check_classes(detector, classes)
    return detector, classes


def _refuse_code(name: str, module: ModuleType, weights: str | Path | None, settings: Mapping[str, Any] | None) -> None:
    """Raise InputError if a file names weights or settings that could run code and the user has not trusted them.

    A name alone is harmless: it only selects among detectors that the user has installed.
    """
    if getattr(module, "SAFE", False) is True or (weights is None and not settings):
        return
    file = name if weights is None else weights
    if not isinstance(file, str | Path) or trusted(file):
        return  # another type is refused by `build`
    raise InputError(
        f"An adapter or a configuration names the detector {name!r} with {str(file)!r}. Opening it can run code, which "
        f"is not left to a file. If you trust it: samtailor --trust-weights {file} COMMAND ... (Python: "
        f"samtailor.limits.trust({str(file)!r})), or give a detector yourself: --detector FILE.onnx."
    )


def check_classes(detector: Detector, classes: Sequence[str] | None) -> None:
    """Raise InputError unless a detector has all of these classes."""
    unknown = [name for name in classes or () if detector.names and name not in detector.names]
    if unknown:
        raise InputError(f"The detector has no class {unknown[0]!r}. Its classes: {', '.join(detector.names)}.")


def module_of(source: str) -> tuple[str, ModuleType]:
    """Name and module of the detector that a source belongs to, see `open_source`."""
    known = names("detectors")
    if source in known:
        return source, find("detectors", source)
    for name in known:
        module = find("detectors", name)
        if hasattr(module, "matches") and module.matches(source):
            return name, module
    return "transformers", find("detectors", "transformers")


def ordered(
    boxes: np.ndarray, scores: np.ndarray, labels: Sequence[str], size: tuple[int, int], *, nms: float | None = None
) -> Detections:
    """Detections from raw rows: clipped to the image, without empty boxes and low scores, by decreasing score.

    Args:
        boxes: (N, 4) edges in image pixels.
        scores: (N,).
        labels: N names.
        size: (height, width) of the image.
        nms: of boxes of one class whose IoU is higher than this, only the best is kept; None keeps all.
    """
    height, width = size
    boxes = np.clip(np.asarray(boxes, np.float32).reshape(-1, 4), 0, np.array([width, height] * 2, np.float32))
    scores = np.asarray(scores, np.float32).reshape(-1)
    good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (scores >= FLOOR)
    rows = np.flatnonzero(good)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    detections = Detections(boxes, np.minimum(scores, 1), tuple(labels)).pick(rows)
    return detections if nms is None else detections.pick(box_nms(detections.boxes, detections.labels, iou=nms))


def fingerprint(*parts: object, file: Path | None = None) -> str:
    """32 hex digits over settings and, if given, over the contents of a weights file."""
    digest = hashlib.sha256("\0".join(repr(part) for part in parts).encode())
    if file is not None:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def class_list(name: str, value: Any) -> tuple[str, ...]:
    """Class names from an option: a list of names, or a string that is split at commas.

    Raises:
        InputError: it is neither.
    """
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(part, str) and part for part in value):
        raise InputError(f"{name} must be a list of class names, got {value!r}.")
    return tuple(value)


def weights_file(weights: str | Path | None, what: str) -> Path:
    """The path of an existing weights file.

    Raises:
        InputError: no path is given, or there is no such file.
    """
    if not isinstance(weights, Path | str):
        raise InputError(f"This detector needs weights=FILE ({what}), got {weights!r}.")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise InputError(f"There is no file {path}; expected {what}.")
    return path


__all__ = [
    "FLOOR",
    "Detections",
    "Detector",
    "check_classes",
    "class_list",
    "fingerprint",
    "make",
    "module_of",
    "open_source",
    "ordered",
    "weights_file",
]
