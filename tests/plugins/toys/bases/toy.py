"""`toy`: a small random SAM, the same at each start."""

from __future__ import annotations


def matches(source, model_type) -> bool:
    return source == "toy"


def build(source="toy"):
    import torch
    from transformers import SamConfig, SamModel

    from samtailor.bases.sam import Sam
    from tiny import SAM, standard_normal_fourier, wake

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = SamModel(SamConfig(**SAM)).eval()
        wake(model)
        standard_normal_fourier(model)
    return Sam(model, "toy")
