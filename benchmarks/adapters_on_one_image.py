"""Several adapters on one image: one encoder pass, and one decoder pass per adapter.

python benchmarks/adapters_on_one_image.py [--base lite] [--repeats 20]
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

import bench
from samtailor.bases import load_base
from samtailor.data.transform import Frame
from samtailor.registry import find
from samtailor.structures import Prompts


def main() -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--base", default="lite")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    base = load_base(options.base)
    pixels = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    image = Frame.of(base, 480, 640).image(pixels, base)[None]
    prompts = Prompts(
        (base.size, base.size),
        points=torch.full((1, 1, 1, 2), base.size / 3),
        labels=torch.ones(1, 1, 1, dtype=torch.int64),
    )
    segmenters = [find("methods", "plm").build(base)[0] for _ in range(8)]
    with torch.inference_mode():
        features = base.encode_image(image)
        encode = _median(lambda: base.encode_image(image), options.repeats)
        plain = _median(lambda: base.decode(features, base.encode_prompts(prompts)), options.repeats)
        print(f"encode once            {1000 * encode:7.1f} ms")
        print(f"decode, bare base      {1000 * plain:7.1f} ms")
        single = 0.0
        for count in (1, 2, 4, 8):
            taken = _median(lambda n=count: [s.decode(features, prompts) for s in segmenters[:n]], options.repeats)
            single = taken if count == 1 else single  # one adapter on a model of its own
            again = count * (encode + single)
            share = (encode + taken) / again
            print(
                f"{count} adapters             {1000 * taken:7.1f} ms after the encode, "
                f"{share:.2f} of {count} separate models"
            )
    what = f"Eight adapters on one image, against eight separate models; base {base.name}"
    rows = {"ratio": (what, round(share, 4), "of the time")}
    bench.record("adapters-on-one-image", "Several adapters on one image", rows, base, options.results, digits=2)


def _median(call, repeats: int) -> float:
    times = []
    call()
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
