"""A CVAT auto-annotation function: labels the frames of a task with an adapter in automatic mode.

cvat-cli task auto-annotate 137 --function-module samtailor.serve.annotators.cvat -p adapter=str:adapters/banner

`create` has the parameters of cvat-cli (-p NAME=TYPE:VALUE) and returns an object with `spec` and `detect`, as
cvat_sdk.auto_annotation requires. cvat-sdk is not a dependency, since cvat-cli is part of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError, MissingExtraError
from samtailor.masks.box_runs import pack

if TYPE_CHECKING:
    from PIL import Image

    from samtailor.serve.adapters import LoadedAdapter

SHAPES = ("mask", "polygon", "rectangle")


def create(
    adapter: str, base: str = "", device: str = "", shape: str = "mask", threshold: float = -1.0, tolerance: float = 1.0
) -> Function:
    """The function of an adapter.

    Args:
        adapter: folder that `samtailor fit` wrote, with proposals (`samtailor propose-fit`).
        base: base model; empty: that of the adapter.
        device: empty: a GPU if there is one.
        shape: "mask", "polygon" (one per part, without holes) or "rectangle".
        threshold: lowest score of a proposal; below 0: the threshold of each class. CVAT's threshold overrides it.
        tolerance: largest distance of a polygon from the outline of the mask, pixels.

    Raises:
        InputError: an unknown shape, or an adapter of several classes without proposals.
        Refused: the adapter has no prompt source for automatic mode.
        ArtefactError: no valid adapter.
        MissingExtraError: cvat-sdk is not installed.
    """
    from samtailor.artefact import base_of, members
    from samtailor.bases import load_on
    from samtailor.registry import choose
    from samtailor.serve.adapters import Adapters

    choose("shape", shape, SHAPES)
    first = next(iter(members(adapter).values()), adapter)
    adapters = Adapters(load_on(base or base_of(first), device or None), 1)
    loaded = adapters.add("adapter", adapter)
    loaded.sources(None)  # raises if it has no prompt source
    return Function(loaded, shape, None if threshold < 0 else threshold, tolerance)


class Function:
    """The object that CVAT calls, see `create`.

    Attributes:
        spec: its labels, which are the classes of the adapter.
    """

    def __init__(self, loaded: LoadedAdapter, shape: str, threshold: float | None, tolerance: float) -> None:
        self._loaded, self._shape, self._threshold, self._tolerance = loaded, shape, threshold, tolerance
        labels = loaded.proposals.classes if loaded.proposals is not None else loaded.classes
        if not labels or (loaded.proposals is None and not loaded.members and len(labels) > 1):
            raise InputError(
                "CVAT needs a label for every mask, and without proposals this adapter does not separate its classes "
                f"{', '.join(labels)}. Fit one adapter per class, or train proposals: samtailor propose-fit DATA "
                "--adapter DIR."
            )
        self._ids = {label: number for number, label in enumerate(labels)}
        kind = self._shape
        self.spec = _cvat().DetectionFunctionSpec(
            labels=[_cvat().label_spec(label, number, type=kind) for label, number in self._ids.items()]
        )

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """The shapes of one frame.

        Args:
            context: CVAT's `DetectionFunctionContext` with the confidence threshold and whether masks become polygons.
            image: the frame.
        """
        from samtailor.predict.inputs import as_image
        from samtailor.serve.engine import predict_automatically

        confidence = getattr(context, "conf_threshold", None)
        threshold = self._threshold if confidence is None else confidence
        to_polygon = self._shape == "mask" and getattr(context, "conv_mask_to_poly", False)
        shape = "polygon" if to_polygon else self._shape
        with self._loaded.predictor() as predictor:
            predictor.set_image(as_image(image))
            instances = predict_automatically(self._loaded, predictor, threshold)
        return [row for one in instances for row in self._shapes(shape, self._ids[one.label or ""], one.mask)]

    def _shapes(self, shape: str, label: int, mask: np.ndarray) -> list[Any]:
        from samtailor.masks.polygons import outlines

        make = _cvat().shape
        if shape == "mask":
            return [make(label, type="mask", points=packed(mask))]
        if shape == "rectangle":
            x0, y0, x1, y1 = _box(mask)
            return [make(label, type="rectangle", points=[x0, y0, x1, y1])]
        parts = outlines(mask, self._tolerance)
        return [make(label, type="polygon", points=outer.ravel().tolist()) for outer, _ in parts]


def packed(mask: np.ndarray) -> list[float]:
    """Encode a mask as CVAT does: run lengths in the tight box, row by row, background first, then the box (inclusive).

    Args:
        mask: bool (height, width), not empty.
    """
    runs, (left, top, width, height) = pack(mask)
    return [float(v) for v in (*runs, left, top, left + width - 1, top + height - 1)]


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Tight box x0, y0, x1, y1, x1 and y1 exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _cvat() -> Any:
    try:
        return importlib.import_module("cvat_sdk.auto_annotation")
    except ImportError as error:
        raise MissingExtraError("cvat-sdk is needed: pip install cvat-sdk.") from error


__all__ = ["SHAPES", "Function", "create", "packed"]
