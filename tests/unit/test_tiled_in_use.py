"""Tiled inference gives the same masks in the predictor, in labeling and in the service."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from samtailor.data.transform import Frame
from samtailor.predict.predictor import Predictor
from samtailor.predict.windows import Windows
from samtailor.registry import find
from samtailor.serve.embeddings import Embedding
from samtailor.serve.images import identity
from samtailor.structures import Prompts, TilingPlan


@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize("cells", [32, 64, 96])
def test_windows_take_any_number_of_cells(squash, cells):
    frame = Frame(70, 100, 128, squash, 32)
    low = torch.nn.functional.interpolate(
        torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)), (cells, cells), mode="bilinear"
    )[0, 0]
    windows = Windows()
    windows.mask(torch.ones(32, 32), frame)  # of another grid just before
    mask, x, y = windows.mask(low, frame)
    wanted = (frame.logits(low[None, None])[0, 0] > 0).numpy()
    got = np.zeros_like(wanted)
    got[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    assert (got != wanted).mean() < 1e-3  # rounding of logits at 0


def test_the_service_supports_tiled_inference(tiny_base, tiny_samples):
    from io import BytesIO

    from PIL import Image

    torch.manual_seed(0)
    segmenter, _ = find("methods", "tailor").build(tiny_base, width=32)
    segmenter.inference = replace(segmenter.inference, tiling=TilingPlan((1, 2)))
    image = tiny_samples[0].image
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    predictor = Predictor(tiny_base, {"it": segmenter})
    predictor.set_image(image)
    prompts = Prompts(image.shape[:2], count=(1, 1))
    wanted = predictor.decode(prompts, "it").logits
    made = Embedding(identity(image), *image.shape[:2], predictor.features, file.getvalue())
    other = Predictor(tiny_base, {"it": segmenter})
    made.set_on(other)
    assert torch.equal(other.decode(prompts, "it").logits, wanted)
