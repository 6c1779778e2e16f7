"""Nineteen photographs of coffee leaves with masks of the leaf and of its lesions, for `samtailor demo`.

Their source and license are in README.md beside this file. The bundled base was not trained on them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path(__file__).parent
CONTENT = ("images", "masks", "README.md", "LICENSE.upstream.txt")
CREDIT = "Photographs: esgario/lara2018 (github.com/esgario/lara2018), Copyright (c) 2019, MIT license."


def write(folder: Path) -> Path:
    """Copy the images, masks and license to a folder, which `open_dataset` reads without options.

    Files of the same name are replaced.

    Args:
        folder: created if it does not exist.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in CONTENT:
        source = FOLDER / name
        if source.is_dir():
            shutil.copytree(source, folder / name, dirs_exist_ok=True)
        else:
            shutil.copy(source, folder / name)
    return folder


__all__ = ["CREDIT", "FOLDER", "write"]
