"""Figures of the papers, made from the folder of a run. A name is a file: `--figure kim-4` is `figures/kim_4.py`.

To add a figure, write a file here or a plug-in (see `samtailor.registry`) with a function
`build(runs, *, objects, seed) -> Figure | array`: a matplotlib figure, or uint8 RGB (height, width, 3). Its first
paragraph says what the figure shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samtailor.registry import find

if TYPE_CHECKING:
    from samtailor.compare.run_folder import RunFolder


def write_figure(name: str, runs: Sequence[RunFolder], path: Path, *, objects: int = 4, seed: int = 0) -> None:
    """Make a figure and write it as a PNG, atomically.

    Args:
        name: of the figure.
        runs: the runs; most figures use the first.
        path: file to write.
        objects: largest number of objects that are shown.
        seed: of the draw of objects.

    Raises:
        InputError: there is no such figure, or the runs lack what it shows.
    """
    made = find("figures", name).build(runs, objects=objects, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(made, np.ndarray):
        from PIL import Image

        from samtailor.data.writing import replacing

        with replacing(path) as temporary:
            Image.fromarray(made).save(temporary, format="PNG")
        return
    from samtailor.evaluation.iou_map import save

    save(made, path)


__all__ = ["write_figure"]
