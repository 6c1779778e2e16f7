"""samtailor: fit a frozen Segment Anything model to your own objects from a few masks.

```python
import samtailor

samtailor.fit("data/banners", "adapters/banner", classes=["banner"], shots=8)

predictor = samtailor.Predictor.from_pretrained("adapters/banner")
predictor.set_image(image)
masks, scores, logits = predictor.predict(point_coords=[[320, 240]], point_labels=[1])
```

`import samtailor` is fast: PyTorch is imported when a function is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtailor.artefact import load as load_adapter
    from samtailor.bases import load_base
    from samtailor.data.dataset import open_dataset
    from samtailor.evaluation.api import evaluate
    from samtailor.fitting.api import fit
    from samtailor.labelling.api import label
    from samtailor.labelling.find import find
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.references import Reference
    from samtailor.train.config import FitConfig

__version__ = "0.2.0"
__all__ = [
    "FitConfig",
    "Predictor",
    "Reference",
    "__version__",
    "evaluate",
    "find",
    "fit",
    "label",
    "load_adapter",
    "load_base",
    "open_dataset",
]
_MODULES = {
    "FitConfig": "train.config",
    "Predictor": "predict.predictor",
    "Reference": "predict.references",
    "evaluate": "evaluation.api",
    "find": "labelling.find",
    "fit": "fitting.api",
    "label": "labelling.api",
    "load_adapter": "artefact",
    "load_base": "bases",
    "open_dataset": "data.dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'samtailor' has no attribute {name!r}")
    module = importlib.import_module(f"samtailor.{_MODULES[name]}")
    return getattr(module, "load" if name == "load_adapter" else name)


def __dir__() -> list[str]:
    return sorted(__all__)
