"""Hours, storage, network and cost of 10^4, 10^6 and 10^9 images, from what was measured on a few.

    python tools/make_scale.py

Reads results/bench.json (times of one CPU thread), ray.json (what Ray adds) and sizes.json, and writes scale.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import results
from results import Cell, Column, Table

COUNTS = {"e4": 10**4, "e6": 10**6, "e9": 10**9}
BLOCK, LARGE_BLOCK = 256, 4096
"""Images of a block: by default, and for very many images."""
OBJECTS = 5
"""Objects of an image, an assumption."""
Row = tuple[str, str, Callable[[int], float], str]
"""Key, label, value by number of images, and unit."""


def main() -> None:
    """Compute the tables, and write results/scale.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results.add_option(parser, "scale")
    options = parser.parse_args()
    bench = results.read("bench")
    columns = (
        Column(key="what", label="What"),
        *(Column(key=key, label=f"10^{len(str(count)) - 1} images", digits=None) for key, count in COUNTS.items()),
    )
    tables = {
        "scale": Table(title="Core hours, storage and network", columns=columns, rows=dict(filled(rows()))),
        "rates": Table(
            title="Measured times that the hours are computed from",
            columns=(
                Column(key="what", label="Work on an image"),
                Column(key="ms", label="ms of one thread", digits=0),
                Column(key="source", label="Measured by"),
            ),
            rows={key: {"what": what, "ms": ms, "source": source} for key, (what, ms, source) in times().items()},
        ),
    }
    results.save(
        "scale", tables, title="Arithmetic of large runs", units="hours of one CPU core, bytes", seeds=[0],
        base=bench.base, file=options.results,
        notes=[f"Computed, not run: measured times and sizes of one image, multiplied; {OBJECTS} objects an image are "
               "an assumption."],
    )  # fmt: skip


def times() -> dict[str, tuple[str, float, str]]:
    """Milliseconds of one thread for an image, by work, with the tool that measured them."""
    found: dict[str, tuple[str, float, str]] = {}
    for table, base in (("lite", "bundled base"), ("vit-b", "SAM ViT-B at 1024 px")):
        for row in results.read("bench").tables[table].rows.values():
            what, way, ms = str(row["what"]), str(row["way"]), row["ms"]
            if what.startswith("Encode") and way.startswith("samtailor"):
                key = f"{table}-bf16" if way.endswith("bf16") else f"{table}-fp32"
                found[key] = (f"Encode, {base}, {'bf16' if key.endswith('bf16') else 'fp32'}", number(ms), "bench")
            elif way == "label with 3 adapters":
                found["label"] = (f"Label with 3 adapters, {base}, fp32", number(ms), "bench")
    rates = results.read("ray").tables.get("rates")
    if rates is not None and all("cpu" in rates.rows[name] for name in ("label", "ray-2")):
        tiny, ray = (number(rates.rows[name]["cpu"]) for name in ("label", "ray-2"))
        found["tiny"] = ("Label a tiny image, one object, bundled base", tiny, "ray")
        found["tiny-ray"] = ("The same on Ray with 2 workers, processes of Ray included", ray, "ray")
    return found


def number(cell: Cell) -> float:
    """A figure as a number."""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise SystemExit(f"Expected a number, got {cell!r}.")
    return float(cell)


def rows() -> Iterator[Row]:
    """The rows of the table."""
    size = {key: number(row["bytes"]) for key, row in results.read("sizes").tables["sizes"].rows.items()}
    for key, (what, ms, _) in times().items():
        yield f"hours-{key}", f"Core hours: {what}", lambda n, ms=ms: n * ms / 3.6e6, ""
    result = size["image-row"] + OBJECTS * size["object"]
    yield "result", f"Result, {OBJECTS} objects an image", lambda n: n * result, "B"
    yield "shards", f"Parquet files, --block {BLOCK}", lambda n: 2 * -(-n // BLOCK), ""
    yield "shards-large", f"Parquet files, --block {LARGE_BLOCK}", lambda n: 2 * -(-n // LARGE_BLOCK), ""
    yield "vectors", "Vectors of batch embed, bundled base", lambda n: n * size["vector"], "B"
    yield "kept-lite", "Embeddings, were they kept, bundled base", lambda n: n * size["lite-half"], "B"
    yield "kept-sam", "Embeddings, were they kept, SAM at 1024 px", lambda n: n * size["sam-half"], "B"
    yield "read", "Network: image files, each read once (640 px JPEG)", lambda n: n * size["file"], "B"
    yield (
        "pixels",
        "Network: decoded images, if readers and workers are on other machines",
        lambda n: n * size["pixels"],
        "B",
    )


def filled(found: Iterator[Row]) -> Iterator[tuple[str, dict[str, Cell]]]:
    """Rows with a cell for each number of images."""
    for key, what, value, unit in found:
        yield key, {"what": what, **{name: shown(value(count), unit) for name, count in COUNTS.items()}}


def shown(value: float, unit: str) -> str:
    """Two significant digits, with a prefix for bytes."""
    if unit == "B":
        for prefix in ("kB", "MB", "GB", "TB", "PB"):
            value /= 1000
            if value < 1000:
                return f"{rounded(value)} {prefix}"
    return rounded(value)


def rounded(value: float) -> str:
    """Two significant digits, without an exponent."""
    if value >= 100:
        digits = len(str(int(value))) - 2
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:.2g}"


if __name__ == "__main__":
    main()
