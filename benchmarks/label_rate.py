"""`label` with three adapters against the bare encode rate, in one run: pictures from files, answers to files.

python benchmarks/label_rate.py [--base nano] [--pictures 24] [--objects 2] [--rounds 3]

Each adapter asks for the same number of objects a picture (a fixed proposer; --heads adds what a head of proposals
costs). The bare rate reads, resizes and encodes the same files.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from samtailor.answers import Ask, find_pictures
from samtailor.automatic import by_proposals
from samtailor.bases import load_base
from samtailor.data.picture import read_picture
from samtailor.data.synth.samples import samples
from samtailor.label import Source, label
from samtailor.predict import Predictor
from samtailor.proposals import Proposals
from samtailor.proposals.head import make_head
from samtailor.registry import find


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="nano", help="a base, or vit-b: SAM ViT-B with random weights, same cost")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--objects", type=int, default=2, help="an adapter and picture")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--heads", action="store_true", help="also run an (untrained) head of proposals each")
    options = parser.parse_args()
    base = vit_b() if options.base == "vit-b" else load_base(options.base)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "in").mkdir()
        for sample in samples(options.pictures, 0, kind="banners", size=(480, 640)):
            Image.fromarray(sample.image).save(folder / "in" / f"{sample.id}.jpg", quality=92)
        pictures = find_pictures([folder / "in"])
        predictor = Predictor(base, {name: find("methods", "plm").build(base)[0] for name in "abc"})
        sources = [Source(name, asker(base, options.objects, options.heads), label=name) for name in "abc"]
        encode(predictor, list(pictures.values())[:2])  # warm
        bare, whole = [], []
        for turn in range(options.rounds):
            bare.append(timed(encode, predictor, list(pictures.values())))
            out = folder / f"out{turn}"
            whole.append(timed(label, predictor, sources, pictures, out, format="coco", put="none"))
    rates = [options.pictures / statistics.median(times) for times in (bare, whole)]
    print(f"bare encode            {rates[0]:7.2f} pictures/s")
    print(f"label, three adapters  {rates[1]:7.2f} pictures/s, {3 * options.objects} objects asked for a picture")
    print(f"ratio                  {statistics.median(b / w for b, w in zip(bare, whole, strict=True)):7.2f}")


def vit_b():
    from transformers import SamConfig, SamModel

    from samtailor.bases.sam import Sam

    torch.manual_seed(0)
    return Sam(SamModel(SamConfig()), "vit-b")


def encode(predictor: Predictor, files: list[Path]) -> None:
    for file in files:
        predictor.set_image(read_picture(file))


def asker(base, objects: int, heads: bool):
    rng = np.random.default_rng(0)
    clicks = [(float(rng.uniform(40, 600)), float(rng.uniform(40, 440)), 1) for _ in range(objects)]
    if not heads:
        return lambda predictor, picture: [Ask(clicks=(click,), score=0.9) for click in clicks]
    with torch.no_grad():
        features = base.encode_image(torch.zeros(1, 3, base.size, base.size))
    propose = by_proposals(Proposals(make_head(base, features, 1), ["a"], base.fingerprint))

    def ask(predictor, picture):
        propose(predictor, picture)  # its cost; what an untrained head finds is of no use
        return [Ask(clicks=(click,), score=0.9) for click in clicks]

    return ask


def timed(call, *arguments, **named) -> float:
    start = time.perf_counter()
    call(*arguments, **named)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
