"""Adapters on disk that change the prediction, with proposals if requested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from samtailor import artefact
from samtailor.bases import Base
from samtailor.proposals import Proposals
from samtailor.proposals.head import make_head
from samtailor.registry import find


def save(
    folder: Path,
    base: Base,
    method: str = "plm",
    seed: int = 3,
    proposals: bool = False,
    prompt: str | None = None,
    **options: Any,
) -> Path:
    """An adapter of the class disc with random numbers; returns its folder."""
    torch.manual_seed(seed)
    segmenter = find("methods", method).build(base, **options)[0]
    segmenter.inference = replace(segmenter.inference, prompt=prompt or segmenter.inference.prompt)
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    artefact.save(folder, segmenter, artefact.describe(segmenter, method=method, options=options, classes=("disc",)))
    if proposals:
        features = base.encode_image(torch.zeros(1, 3, base.size, base.size))
        head = make_head(base, features, 1)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))  # whatever their order in memory
        Proposals(head, ("disc",), base.fingerprint, thresholds={"disc": 0.0}).save(folder)
    return folder
