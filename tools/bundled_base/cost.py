"""Processor time of the bundled base beside that of another base, and the size of its file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import results
from results import Cell, Column, Table
from samtailor.bases import Base
from samtailor.bases.decoder import PromptDecoder
from samtailor.bases.encoder import fast_encoder
from samtailor.predict import Predictor
from samtailor.structures import Prompts

EARLIER = results.ROOT / "tests" / "fixtures" / "v0_2" / "base"


def table(base: Base, earlier: Base, repeats: int) -> Table:
    """Processor time of both bases, taken in turn, and size of the file."""
    calls: dict[str, dict[str, Callable[[], Any]]] = {"base": _calls(base), "earlier": _calls(earlier)}
    names = list(calls["base"])
    times: dict[tuple[str, str], list[float]] = {}
    for round_ in range(repeats + 1):
        for name in names:
            for which in calls:
                start = time.process_time()
                calls[which][name]()
                if round_:  # the first one warms up
                    times.setdefault((which, name), []).append(time.process_time() - start)
    rows: dict[str, dict[str, Cell]] = {}
    for name in names:
        own, theirs = (1e3 * float(np.min(times[which, name])) for which in calls)
        rows[name] = {"what": name, "base": round(own, 2), "earlier": round(theirs, 2), "ratio": round(own / theirs, 2)}
    keyed = dict(zip(("encode", "encode-cached", "click", "click-served", "clicks-16"), rows.values(), strict=True))
    own, theirs = (sum(p.numel() for p in b.model.parameters()) / 1e6 for b in (base, earlier))
    keyed["parameters"] = {"what": "Parameters, millions", "base": round(own, 2), "earlier": round(theirs, 2)}
    if (file := results.ROOT / "src" / "samtailor" / "bases" / base.name / "model.safetensors").is_file():
        sizes = [round(f.stat().st_size / 1e6, 2) for f in (file, EARLIER / "model.safetensors")]
        keyed["file"] = {
            "what": "File, MB",
            "base": sizes[0],
            "earlier": sizes[1],
            "ratio": round(sizes[0] / sizes[1], 2),
        }
    columns = (
        Column(key="what", label="One thread, shortest processor time, ms"),
        Column(key="base", label=base.name, digits=1),
        Column(key="earlier", label="Bundled base of version 0.2", digits=1),
        Column(key="ratio", label="Ratio", digits=2),
    )
    return Table(title="Cost", columns=columns, rows=keyed)


def _calls(base: Base) -> dict[str, Callable[[], Any]]:
    """What is timed: the encoder in both ways, and clicks on an encoded image."""
    image, short = torch.zeros(1, 3, base.size, base.size), fast_encoder(base)
    predictor = Predictor(base)
    predictor.set_image(np.full((480, 640, 3), 120, np.uint8))
    points = torch.rand(1, 16, 1, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([639.0, 479.0])
    many = Prompts((480, 640), points=points, labels=torch.ones(1, 16, 1).long())

    one = Prompts((480, 640), points=points[:, :1], labels=torch.ones(1, 1, 1).long())
    decoder = PromptDecoder(base)

    @torch.no_grad()
    def served(prompts: Prompts) -> None:
        decoder(predictor.features, base.encode_prompts(predictor.frame.prompts(prompts))).best_masks()

    @torch.inference_mode()
    def encode(model: Base) -> None:
        model.encode_image(image)

    return {
        "Encode an image, encode_image": lambda: encode(base),
        "Encode an image, as the cache and the workbench do": lambda: encode(short),
        "One click, Predictor.predict": lambda: predictor.predict([[320, 240]], [1]),
        "One click, as the service and the workbench do": lambda: served(one),
        "16 clicks": lambda: served(many),
    }
