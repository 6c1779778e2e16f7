"""The option `--precision` of the image encoder."""

from __future__ import annotations

from typing import Annotated

import typer

EncoderPrecision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="Precision of the image encoder: fp32, bf16, fp16, or auto: the fastest one of this machine that changes "
        "the mIoU of synthetic images by less than 0.2 points.",
    ),
]
