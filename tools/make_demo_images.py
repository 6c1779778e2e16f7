"""Write the photographs of `samtailor demo` into the package, or compare those in the package with their source.

    python tools/make_demo_images.py data_open            # write src/samtailor/data/coffee_leaves
    python tools/make_demo_images.py data_open --check    # exit code 1 if the package holds anything else

Only images that the training of the bundled base holds out are taken, see `bundled_base.sources.held_out_images`. Image
files are copied byte for byte. Masks are the leaf (`labels`) and its lesions (`parts`), as 1-bit PNG files; a leaf
without lesions has no file in masks/lesion. manifest.csv lists for each image its place among the sorted names of the
source (from 0; every tenth is held out) and the checksum of the file.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from bundled_base.sources import held_out_images

FOLDER = Path(__file__).resolve().parents[1] / "src" / "samtailor" / "data" / "coffee_leaves"
SOURCE = "coffee_leaf"
MASKS = {"leaf": "labels", "lesion": "parts"}
LICENSE = "LICENSE.upstream.txt"
WRITTEN = ("images", "masks", "manifest.csv", LICENSE)


def contents(source: Path) -> dict[str, bytes]:
    """Path in the package folder to content, of everything that is taken from the source."""
    place = {path: index for index, path in enumerate(sorted((source / "images").iterdir()))}
    made = {LICENSE: (source / LICENSE).read_bytes()}
    rows = []
    for path in held_out_images(source):
        image = path.read_bytes()
        made[f"images/{path.name}"] = image
        for name, folder in MASKS.items():
            mask = _mask(source / folder / f"{path.stem}.png")
            if mask is not None:
                made[f"masks/{name}/{path.stem}.png"] = mask
        rows.append([path.name, place[path], hashlib.sha256(image).hexdigest()])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["file", "place", "sha256"], *rows])
    made["manifest.csv"] = text.getvalue().encode()
    return made


def differences(made: dict[str, bytes], folder: Path) -> list[str]:
    """Files of the package folder that are missing, differ, or have no counterpart in the source."""
    present = {path.relative_to(folder).as_posix() for name in WRITTEN for path in _files(folder / name)}
    wrong = [f"{name} is not from the source" for name in sorted(present - made.keys())]
    for name, content in made.items():
        if name not in present:
            wrong.append(f"{name} is missing")
        elif (folder / name).read_bytes() != content:
            wrong.append(f"{name} differs")
    return wrong


def main() -> None:
    options = _options()
    made = contents(options.data / SOURCE)
    if options.check:
        wrong = differences(made, FOLDER)
        print("\n".join(wrong), file=sys.stderr)
        raise SystemExit(bool(wrong))
    for name in WRITTEN:
        for path in _files(FOLDER / name):
            path.unlink()
    for name, content in made.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    print(f"{len(made)} files, {sum(map(len, made.values())) / 1e6:.2f} MB in {FOLDER}")


def _mask(file: Path) -> bytes | None:
    """The labeled part of a label map as a 1-bit PNG file; None if there is none."""
    if not file.is_file():
        return None
    with Image.open(file) as labels:
        mask = np.asarray(labels) > 0
    if not mask.any():
        return None
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=f"folder of the openly licensed sets, with the subfolder {SOURCE}")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    return parser.parse_args()


if __name__ == "__main__":
    main()
