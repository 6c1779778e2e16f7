"""A CVAT auto-annotation function: labels the frames of a task with what an adapter's proposals find.

cvat-cli task auto-annotate 137 --function-module samtailor.serve.annotators.cvat -p adapter=str:adapters/banner

`create` takes the parameters that cvat-cli gives (-p NAME=TYPE:VALUE) and returns the object with `spec` and `detect`
that cvat_sdk.auto_annotation asks for. cvat-sdk is not a dependency: it is there where this is called from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from PIL import Image

SHAPES = ("mask", "polygon", "rectangle")


def create(
    adapter: str, base: str = "", device: str = "", shape: str = "mask", threshold: float = -1.0, tolerance: float = 1.0
) -> Function:
    """The function of an adapter.

    Args:
        adapter: folder that `samtailor fit` wrote, with proposals (`samtailor propose-fit`).
        base: base model; empty: the adapter's own.
        device: empty: a GPU where there is one.
        shape: "mask", "polygon" (one for each part, without holes) or "rectangle".
        threshold: lowest score of a proposal; below 0: each class's own. CVAT's own threshold wins over it.
        tolerance: largest distance of a polygon from the mask's outline, pixels.

    Raises:
        InputError: an unknown shape. ArtefactError: no sound adapter, or one without proposals.
        MissingExtraError: cvat-sdk is not installed.
    """
    from samtailor.artefact import base_of
    from samtailor.bases import load_on
    from samtailor.registry import choose
    from samtailor.serve.adapters import Adapters

    choose("shape", shape, SHAPES)
    adapters = Adapters(load_on(base or base_of(adapter), device or None), 1)
    slot = adapters.add("adapter", adapter)
    slot.proposer(None)  # says in words when nothing can propose
    return Function(slot, shape, None if threshold < 0 else threshold, tolerance)


class Function:
    """What CVAT calls, see `create`.

    Attributes:
        spec: labels that it gives: the adapter's classes.
    """

    def __init__(self, slot: Any, shape: str, threshold: float | None, tolerance: float) -> None:
        self._slot, self._shape, self._threshold, self._tolerance = slot, shape, threshold, tolerance
        labels = slot.proposals.classes if slot.proposals is not None else slot.meta.classes
        if not labels or (slot.proposals is None and len(labels) > 1):
            raise InputError(
                f"CVAT matches answers with labels by name, and whole images of the classes {', '.join(labels)} have "
                "none. Fit one adapter a class, or train proposals: samtailor propose-fit DATA --adapter DIR."
            )
        self._ids = {label: number for number, label in enumerate(labels)}
        kind = self._shape
        self.spec = _cvat().DetectionFunctionSpec(
            labels=[_cvat().label_spec(label, number, type=kind) for label, number in self._ids.items()]
        )

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """The shapes of one frame.

        Args:
            context: CVAT's `DetectionFunctionContext`: its confidence threshold and whether masks are to be polygons.
            image: the frame.
        """
        from samtailor.predict.inputs import as_image
        from samtailor.serve.engine import found

        given = getattr(context, "conf_threshold", None)
        threshold = self._threshold if given is None else given
        turn = self._shape == "mask" and getattr(context, "conv_mask_to_poly", False)
        shape = "polygon" if turn else self._shape
        with self._slot.predictor() as predictor:
            predictor.set_image(as_image(image))
            answers = found(self._slot, predictor, threshold)
        return [one for ask, mask, _ in answers for one in self._shapes(shape, self._ids[ask.label], mask)]

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
    """CVAT's mask: lengths of runs in the tight box, row by row, first of background, then the box, its edges included.

    Args:
        mask: bool (height, width), not empty.
    """
    x0, y0, x1, y1 = _box(mask)
    flat = mask[y0:y1, x0:x1].ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=False))
    edges = np.concatenate([[0], starts, [flat.size]])
    return [float(v) for v in (*np.diff(edges), x0, y0, x1 - 1, y1 - 1)]


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _cvat() -> Any:
    try:
        import cvat_sdk.auto_annotation as cvat
    except ImportError as error:
        raise MissingExtraError("CVAT's side is needed: pip install cvat-sdk.") from error
    return cvat


__all__ = ["SHAPES", "Function", "create", "packed"]
