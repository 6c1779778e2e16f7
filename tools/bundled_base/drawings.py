"""Layered drawings (SVG) as objects with parts: every path becomes a region, regions within regions become subparts.

    python -m bundled_base.drawings OUT ICONS.json [ICONS.json ...] [--clipart FOLDER] [--limit N]

ICONS.json are icon sets in Iconify's format (npm `@iconify-json/noto`, `-/twemoji`, `-/fluent-emoji-flat`,
`-/fluent-emoji`), FOLDER holds SVG files (Debian's `openclipart-svg`). Needs the package `resvg-py`. Each drawing
becomes one NPZ file in OUT: `image` (S, S, 4) uint8, `regions` (S, S) uint8 with the topmost region of each pixel,
`parents` (N + 1,) with the region around each region, 0 for none.
"""

from __future__ import annotations

import argparse
import copy
import json
import zlib
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

SHAPES = {"path", "circle", "ellipse", "rect", "polygon", "polyline", "line", "use"}
HIDDEN = {"defs", "clipPath", "mask", "pattern", "symbol", "linearGradient", "radialGradient", "marker", "filter"}
MAX_SHAPES = 60
VARIANTS = ("skin-tone", "-light", "-medium", "-dark", "flag-", "clock", "keycap", "letter")


def render(tree: ElementTree.Element, size: int) -> np.ndarray:
    """Draw an SVG tree as (S, S, 4) uint8 RGBA, straight alpha, centered."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=ElementTree.tostring(tree, encoding="unicode"), width=size)
    image = cv2.imdecode(np.frombuffer(bytes(png), np.uint8), cv2.IMREAD_UNCHANGED)
    zoom = size / max(image.shape[:2])
    if zoom < 1:
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    canvas = np.zeros((size, size, 4), np.uint8)
    top, left = (size - image.shape[0]) // 2, (size - image.shape[1]) // 2
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
    return canvas


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def shapes(tree: ElementTree.Element) -> list[tuple[int, ...]]:
    """Paths of child indices to all painted shapes, in painting order."""
    found: list[tuple[int, ...]] = []

    def visit(element: ElementTree.Element, path: tuple[int, ...]) -> None:
        for index, child in enumerate(element):
            if _tag(child) in SHAPES:
                found.append((*path, index))
            elif _tag(child) not in HIDDEN:
                visit(child, (*path, index))

    visit(tree, ())
    return found


def _at(tree: ElementTree.Element, path: tuple[int, ...]) -> ElementTree.Element:
    for index in path:
        tree = tree[index]
    return tree


def alphas(tree: ElementTree.Element, size: int) -> list[np.ndarray]:
    """Alpha (S, S) uint8 of each shape drawn alone, in painting order; groups and clips stay in force."""
    tree, paths = copy.deepcopy(tree), shapes(tree)
    elements = [_at(tree, path) for path in paths]
    for element in elements:
        element.set("display", "none")
    drawn = []
    for element in elements:
        element.set("display", "inline")
        drawn.append(render(tree, size)[..., 3])
        element.set("display", "none")
    return drawn


def regions(drawn: list[np.ndarray], least: int) -> tuple[np.ndarray, np.ndarray]:
    """Topmost region of each pixel, and the smallest region that surrounds each.

    A shape is a subpart of the topmost earlier shape that holds at least 85 % of it and is clearly larger.

    Args:
        drawn: alpha of each shape, in painting order.
        least: pixels below which a shape is part of what lies beneath it.
    """
    top, parents, kept = np.zeros(drawn[0].shape, np.uint8), [0], []
    for alpha in drawn:
        mask = alpha > 127
        area = int(mask.sum())
        if area < least or len(kept) == 254:
            continue
        around = [k for k, other in enumerate(kept, 1) if (mask & other).sum() > 0.85 * area < 0.7 * other.sum()]
        kept.append(mask)
        parents.append(around[-1] if around else 0)
        top[mask] = len(kept)
    return top, np.array(parents, np.uint8)


def prepare(job: tuple[str, str, Path, int]) -> bool:
    """Render one drawing and write its NPZ file; False where it cannot be used."""
    name, svg, out, size = job
    target = out / f"{name}.npz"
    if target.exists():
        return True
    try:
        tree = ElementTree.fromstring(svg)
        if not 1 <= len(shapes(tree)) <= MAX_SHAPES:
            return False
        image = render(tree, size)
        top, parents = regions(alphas(tree, size), least=size * size // 600)
    except Exception:  # a malformed drawing; the renderer raises several kinds of errors
        return False
    if not 0.04 < (image[..., 3] > 127).mean() < 0.97 or len(parents) < 2:
        return False
    np.savez_compressed(target, image=image, regions=top, parents=parents)
    return True


def icons(path: Path, limit: int) -> Iterator[tuple[str, str]]:
    """Name and SVG text of the icons of a set, without skin tones, flags and clocks, in a fixed random order."""
    data = json.loads(path.read_text(encoding="utf-8"))
    names = [n for n in data["icons"] if not any(part in f"{n}" for part in VARIANTS)]
    names = sorted(names, key=lambda n: zlib.crc32(n.encode()))
    for name in names[:limit]:
        icon = data["icons"][name]
        width, height = icon.get("width", data.get("width", 16)), icon.get("height", data.get("height", 16))
        head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        yield f"{data['prefix']}-{name}", f'{head} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'


def clipart(folder: Path, limit: int) -> Iterator[tuple[str, str]]:
    """Name and SVG text of the files below a folder, in a fixed random order."""
    paths = sorted(folder.rglob("*.svg"), key=lambda p: zlib.crc32(p.name.encode()))
    small = (p for p in paths if p.stat().st_size < 60_000 and "flag" not in str(p))
    for _, path in zip(range(limit), small, strict=False):
        yield f"openclipart-{path.stem}", path.read_text(encoding="utf-8", errors="replace")


def main() -> None:
    """Prepare all drawings named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="*")
    parser.add_argument("--clipart", type=Path)
    parser.add_argument("--limit", type=int, default=1500, help="drawings of each set")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sources = [icons(path, args.limit) for path in args.sets]
    sources += [clipart(args.clipart, args.limit)] if args.clipart else []
    jobs = ((name, svg, args.out, args.size) for source in sources for name, svg in source)
    with Pool(args.processes) as pool:
        written = sum(pool.imap_unordered(prepare, jobs, chunksize=8))
    print(f"{written} drawings in {args.out}")


if __name__ == "__main__":
    main()
