"""`label` with proposals and three adapters against encoding the same files without any mask."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from samtailor.bases import Base
from samtailor.bench.timing import Row, alternate, rows
from samtailor.data.image import read_image
from samtailor.data.synth.samples import samples
from samtailor.labelling import AdapterSource, label
from samtailor.predict.auto import by_proposals
from samtailor.predict.files import find_images
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.proposals import Proposals
from samtailor.proposals.head import Heads, make_head
from samtailor.registry import find

ADAPTERS, OBJECTS, HEADS = 3, 2, 1
SIZE = (480, 640)


def measure(base: Base, rounds: int, images: int) -> list[Row]:
    """Rows of image files; seconds are of one image.

    Each adapter runs its proposals and segments the same number of objects in each image. The heads are not trained:
    only their cost counts, and the objects are clicks at random places.

    Args:
        base: on its device.
        rounds: of each way.
        images: number of files.
    """
    names = [f"adapter {number}" for number in range(ADAPTERS)]
    predictor = Predictor(base, {name: find("methods", "plm").build(base)[0] for name in names})
    sources = [AdapterSource(name, proposer(base, OBJECTS, HEADS), label=name) for name in names]
    turn = iter(range(10**6))
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        files = find_images([write_images(folder / "in", images)])
        times = alternate(
            {
                "reading and encoding alone": lambda: encode_files(predictor, list(files.values())),
                f"label with {ADAPTERS} adapters": lambda: label(
                    predictor, sources, files, folder / f"out{next(turn)}", put="none"
                ),
            },
            rounds,
        )
    per_image = {
        name: type(taken)(tuple(s / images for s in taken.wall), tuple(s / images for s in taken.cpu))
        for name, taken in times.items()
    }
    return rows(f"label files of {SIZE[1]} x {SIZE[0]} px, per image", per_image)


def write_images(folder: Path, count: int) -> Path:
    """Synthetic photographs as JPEG files."""
    folder.mkdir()
    for sample in samples(count, 0, kind="banners", size=SIZE):
        Image.fromarray(sample.image).save(folder / f"{sample.id}.jpg", quality=92)
    return folder


def encode_files(predictor: Predictor, files: Sequence[Path]) -> None:
    """Read and encode files, one after the other."""
    for file in files:
        predictor.set_image(read_image(file))


def proposer(base: Base, objects: int, heads: int) -> Callable[..., Any]:
    """Proposals at the cost of some untrained heads, with clicks at fixed random places as their result.

    Args:
        base: of the predictor.
        objects: clicks in each image.
        heads: 0 for proposals without any cost.
    """
    rng = np.random.default_rng(0)
    clicks = [(float(rng.uniform(40, 600)), float(rng.uniform(40, 440)), 1) for _ in range(objects)]
    with torch.no_grad():
        device = next(base.model.parameters()).device
        features = base.encode_image(torch.zeros(1, 3, base.size, base.size, device=device))
    members = Heads([make_head(base, features, 1) for _ in range(max(heads, 1))])
    propose = by_proposals(Proposals(members, ["a"], base.fingerprint))

    def proposed(predictor: Predictor, image: np.ndarray) -> list[ObjectPrompt]:
        if heads:
            propose(predictor, image)  # its cost; what an untrained head finds is of no use
        return [ObjectPrompt(clicks=(click,), score=0.9) for click in clicks]

    return proposed


__all__ = ["encode_files", "measure", "proposer", "write_images"]
