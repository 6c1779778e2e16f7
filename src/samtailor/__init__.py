"""samtailor: fit a frozen Segment Anything model to your own objects from a few masks.

from samtailor import Predictor
predictor = Predictor.from_pretrained("nano", adapters={"banner": "adapters/banner"})
predictor.set_image(image)
masks, scores, logits = predictor.predict(point_coords=[[320, 240]], point_labels=[1], adapter="banner")
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> Any:  # torch takes seconds to import: nothing heavy before it is asked for
    if name == "Predictor":
        from samtailor.predict.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'samtailor' has no attribute {name!r}")
