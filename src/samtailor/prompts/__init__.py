"""Where a prompt comes from, one file each: `build(**options) -> source`.

A source is `source(sample, masks, rng) -> Prompts`: masks are the P target masks, bool (H, W) each, all in one frame;
the prompts have B = 1, P prompts and that frame. `rng` is a numpy Generator; sources without chance do not use it.
A module with `CLICK = True` asks with single clicks; what is fitted on them is asked with the protocol's in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from samtailor.structures import Prompts, Sample

Source = Callable[[Sample, Sequence[np.ndarray], np.random.Generator], Prompts]

__all__ = ["Source"]
