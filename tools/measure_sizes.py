"""Bytes on disk and on the network: embeddings, masks and vectors in Parquet files, image files.

    python tools/measure_sizes.py

Masks and image files are those of the photographs of `samtailor demo`. Needs pyarrow. `make_scale.py` computes with the
figures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import SamConfig, SamModel

import results
from results import Column, Table
from samtailor.bases import Base, load_base
from samtailor.bases.sam import Sam
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data import coffee_leaves
from samtailor.data.dataset import open_dataset
from samtailor.distributed import results as rows
from samtailor.distributed import tables
from samtailor.distributed.items import Item
from samtailor.distributed.tasks._stream import COLUMNS
from samtailor.distributed.tasks.embed import COLUMNS as VECTOR_COLUMNS
from samtailor.masks.rle import to_json
from samtailor.structures import Sample

BLOCK = 256
"""Images of a Parquet file."""


def main() -> None:
    """Measure, and write results/sizes.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results.add_option(parser, "sizes")
    options = parser.parse_args()
    lite = load_base("lite")
    with tempfile.TemporaryDirectory() as folder:
        samples = open_dataset(coffee_leaves.write(Path(folder, "leaves")))
        found: dict[str, tuple[str, float]] = {}
        for key, title, base in (("lite", "bundled base", lite), ("sam", "SAM at 1024 px", sam())):
            for precision in ("half", "8bit"):
                size = entry_bytes(Path(folder, key, precision), base, samples[0], precision)
                found[f"{key}-{precision}"] = (f"Embedding in the cache, {title}, {precision}", size)
        found |= {"vector": ("Vector of batch embed, bundled base", vector_bytes(lite, samples[0]))}
        found |= {"object": ("Row of an object with its mask", object_bytes(samples, lite))}
        found |= {"image-row": ("Row of an image", image_bytes())}
        files = [Path(str(sample.source)).stat().st_size for sample in samples]
        found["file"] = ("Image file (JPEG)", sum(files) / len(files))
        pixels = [3 * sample.size[0] * sample.size[1] for sample in samples]
        found["pixels"] = ("Decoded image", sum(pixels) / len(pixels))
    columns = (Column(key="what", label="What"), Column(key="bytes", label="Bytes", digits=0))
    table = Table(
        title="Sizes", columns=columns,
        rows={key: {"what": what, "bytes": round(size, 1)} for key, (what, size) in found.items()},
        note=f"Masks and files of {len(samples)} photographs of at most 640 pixels, "
        f"{sum(len(sample.annotations) for sample in samples)} masks. Rows are those of a Parquet file.",
    )  # fmt: skip
    results.save("sizes", {"sizes": table}, title="Sizes of files", units="bytes of one", base=lite, seeds=[0],
                 file=options.results)  # fmt: skip


def sam() -> Base:
    """A base with the embeddings of SAM at 1024 px; their size does not depend on the encoder, which is tiny here."""
    torch.manual_seed(0)
    vision = {"num_hidden_layers": 1, "hidden_size": 96, "num_attention_heads": 2, "global_attn_indexes": []}
    return Sam(SamModel(SamConfig(vision_config=vision)), "sam-sizes")


def entry_bytes(folder: Path, base: Base, sample: Sample, precision: str) -> float:
    """Bytes of the embedding of an image in the cache."""
    EmbeddingCache(folder, precision=precision).prepare(base, [sample])
    return float(sum(file.stat().st_size for file in folder.rglob("*.safetensors")))


def vector_bytes(base: Base, sample: Sample) -> float:
    """Bytes of a vector in a Parquet file, of numbers that do not compress."""
    with tempfile.TemporaryDirectory() as folder:
        width = EmbeddingCache(folder).features(base, sample).main.shape[1]
    rng = np.random.default_rng(0)
    made = [
        {"image": f"image-{n:06d}", "vector": rng.normal(size=width).tolist(), "base": base.fingerprint}
        for n in range(BLOCK)
    ]
    return len(tables.encode(made, VECTOR_COLUMNS)) / BLOCK


def object_bytes(samples: list[Sample], base: Base) -> float:
    """Bytes of an object in a Parquet file."""
    made: list[dict[str, Any]] = []
    for sample in samples:
        for number, one in enumerate(sample.annotations):
            mask, plain = one.mask, to_json(one.rle)
            y, x = np.nonzero(mask)
            made.append({
                "image": sample.id, "number": number, "class": one.label, "score": 0.5 + number / 7,
                "height": plain["size"][0], "width": plain["size"][1], "rle": plain["counts"],
                "x0": int(x.min()), "y0": int(y.min()), "x1": int(x.max()) + 1, "y1": int(y.max()) + 1,
                "area": int(mask.sum()), "adapter": "leaves", "adapter_sha256": "0" * 64, "base": base.fingerprint,
            })  # fmt: skip
    return len(tables.encode(made, COLUMNS)) / len(made)


def image_bytes() -> float:
    """Bytes of an image in the table of images."""
    made = [
        rows.done(Item(f"image-{n:06d}", f"s3://bucket/photos/image-{n:06d}.jpg"), (), height=480, width=640).row
        for n in range(BLOCK)
    ]
    return len(tables.encode(made, tables.IMAGE_COLUMNS)) / BLOCK


if __name__ == "__main__":
    main()
