"""Small random base models and images that every test may use."""

from __future__ import annotations

import sys

import pytest
import torch

from commands import adapter_folder, base_folder, data_folder, run
from samtailor.structures import Sample
from tiny import (
    EDGETAM,
    LITE,
    SAM,
    SAM2,
    SAM3,
    SAM_HQ,
    disc_sample,
    random_model,
    save_dinov2,
    standard_normal_fourier,
    wake,
)

__all__ = ["adapter_folder", "base_folder", "data_folder", "run"]  # fixtures


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _accelerator_state_of_its_own():
    """accelerate keeps the precision for the whole process: a bf16 test would make the next one bf16 too."""
    yield
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState, GradientState

        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


@pytest.fixture(scope="session")
def tiny_sam_model() -> torch.nn.Module:
    """transformers' SamModel, random, 64 px, D = 32."""
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    model = SamModel(SamConfig(**SAM)).eval()
    wake(model)
    standard_normal_fourier(model)
    return model


@pytest.fixture(scope="session")
def tiny_sam2_model() -> torch.nn.Module:
    """transformers' Sam2Model, random, 64 px, D = 32."""
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(1)
    model = Sam2Model(Sam2Config(**SAM2)).eval()
    wake(model)
    standard_normal_fourier(model)
    return model


@pytest.fixture(scope="session")
def tiny_sam(tiny_sam_model):
    """A SAM 1 base."""
    from samtailor.bases.sam import Sam

    return Sam(tiny_sam_model, "tiny-sam")


@pytest.fixture(scope="session")
def tiny_sam2(tiny_sam2_model):
    """A SAM 2 base."""
    from samtailor.bases.sam2 import Sam2

    return Sam2(tiny_sam2_model, "tiny-sam2")


@pytest.fixture(scope="session")
def tiny_lite_model() -> torch.nn.Module:
    """transformers' Sam2Model with the backbone of the bundled base, random, 64 px, D = 32."""
    from transformers import Sam2Config, Sam2Model

    from samtailor.bases import _efficientnet

    _efficientnet.register()
    torch.manual_seed(2)
    model = Sam2Model(Sam2Config(**LITE)).eval()
    wake(model)
    standard_normal_fourier(model)
    return model


@pytest.fixture(scope="session")
def tiny_lite(tiny_lite_model):
    """A base like the bundled one, with its normalization."""
    from samtailor.bases import _efficientnet
    from samtailor.bases._preprocessing import Normalization
    from samtailor.bases.sam2 import Sam2

    return Sam2(tiny_lite_model, "tiny-lite", Normalization(_efficientnet.MEAN, _efficientnet.STD))


@pytest.fixture(scope="session")
def tiny_sam_hq():
    """A SAM-HQ base."""
    from samtailor.bases.sam_hq import SamHq

    return SamHq(random_model("SamHQ", SAM_HQ, 3), "tiny-sam-hq")


@pytest.fixture(scope="session")
def tiny_edgetam():
    """An EdgeTAM base, with a stand-in for the backbone from timm."""
    from samtailor.bases.edgetam import EdgeTam

    return EdgeTam(random_model("EdgeTam", EDGETAM, 4), "tiny-edgetam")


@pytest.fixture(scope="session")
def tiny_sam3_tracker():
    """A SAM 3 tracker base."""
    from samtailor.bases.sam3_tracker import Sam3Tracker

    return Sam3Tracker(random_model("Sam3Tracker", SAM3, 6), "tiny-sam3")


@pytest.fixture(scope="session", params=["sam_hq", "edgetam", "sam3_tracker"])
def tiny_further_base(request):
    """The families that are not in `tiny_base`."""
    return request.getfixturevalue(f"tiny_{request.param}")


@pytest.fixture(scope="session", params=["sam", "sam2", "lite"])
def tiny_base(request):
    """Every family in turn: SAM, SAM 2, and SAM 2 with the backbone of the bundled base."""
    return request.getfixturevalue(f"tiny_{request.param}")


@pytest.fixture(scope="session")
def tiny_companion(tmp_path_factory):
    """Folder of a random DINOv2: 32 px, 4 x 4 cells of 16 channels."""
    return str(save_dinov2(tmp_path_factory.mktemp("dinov2"), seed=5))


@pytest.fixture
def tiny_samples() -> list[Sample]:
    """Eight images of 48x80 px."""
    return [disc_sample(i) for i in range(8)]
