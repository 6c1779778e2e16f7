"""The model card of the bundled base: what its files state, where its training data come from, and its figures.

    python -m bundled_base.card src/samtailor/bases/lite

writes FOLDER/README.md. `train_bundled_base.py --export FOLDER` does the same. Figures are blocks, which
`make_figures.py` fills from results/bundled-base.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST, LAST = "* EfficientNet-Lite ImageNet weights", "* Open Clip Art Library"
"""How the first and the last line of the sources in NOTICE begin."""
VARIANTS = {21: "EfficientNet-Lite2", 16: "EfficientNet-Lite0"}
"""Number of blocks to the name of the trunk."""


def text(folder: Path, notice: Path = ROOT / "NOTICE") -> str:
    """The card of the weights in a folder, with empty blocks for its figures.

    Args:
        folder: with config.json, preprocessor_config.json, model.safetensors and training.json.
        notice: file with the attribution lines of the training data.
    """
    config, frame, training = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("config", "preprocessor_config", "training")
    )
    backbone, decoder = config["vision_config"]["backbone_config"], config["mask_decoder_config"]
    side, scale = frame["size"]["height"], frame["rescale_factor"]
    file = folder / "model.safetensors"
    return _CARD.format(
        name=folder.name,
        side=side,
        mean=_three(frame["image_mean"], scale),
        std=_three(frame["image_std"], scale),
        trunk=VARIANTS[sum(stage[-1] for stage in backbone["stages"])],
        fused=", ".join(map(str, backbone["fused"])),
        blocks=", ".join(map(str, backbone["fusion_blocks"])),
        width=decoder["hidden_size"],
        heads=decoder["num_attention_heads"],
        mlp=decoder["mlp_dim"],
        parameters=f"{parameters(file) / 1e6:.2f}",
        megabytes=f"{file.stat().st_size / 1e6:.1f}",
        cells=side // 4,
        cell=4,
        images=f"{training['progress']['images']:,}",
        steps=f"{training['progress']['step']:,}",
        commit=training["trained_at_commit"] or "unknown",
        sources="\n".join(sources(notice)),
    )


def write(folder: Path) -> Path:
    """Write README.md of a folder of weights; figures of an earlier card are left out until they are filled again."""
    file = folder / "README.md"
    file.write_text(text(folder), encoding="utf-8")
    return file


def sources(notice: Path) -> list[str]:
    """Attribution lines of NOTICE: the sources that the weights contain or were trained on.

    Raises:
        ValueError: NOTICE has no such list.
    """
    lines = notice.read_text(encoding="utf-8").splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith((FIRST, LAST))]
    if len(starts) != 2:
        raise ValueError(f"{notice} has no list of sources from {FIRST!r} to {LAST!r}.")
    rows: list[str] = []
    for line in lines[starts[0] : starts[1] + 1]:
        if line.startswith("* "):
            rows.append(line)
        else:
            rows[-1] += " " + line.strip()
    return rows


def parameters(file: Path) -> int:
    """Number of values in a safetensors file, from its header; the Fourier matrix, which is stored twice, counts once.

    Args:
        file: with the names of transformers' `Sam2Model`.
    """
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name not in ("__metadata__", "prompt_encoder.shared_embedding.positional_embedding"):
            count = 1
            for length in tensor["shape"]:
                count *= length
            total += count
    return total


def _three(values: list[float], scale: float) -> str:
    return ", ".join(f"{value / scale:g}" for value in values)


_CARD = """\
# {name}

The bundled base model: a small promptable segmentation model of the SAM 2 family for still images. A click gives three
masks, from small to large, each with a predicted IoU; boxes, several clicks and mask prompts work too. With it,
everything in samtailor runs offline on a CPU. Written by `tools/bundled_base/card.py` from the files beside it.

| | |
|---|---|
| input | {side} x {side} px, squashed (the aspect ratio is not kept), RGB, mean {mean}, deviation {std} |
| trunk | {trunk} without its classifier, batch norm folded; strides 4, 8, 16 and 32 |
| fusion | top-down to strides 4, 8 and 16 with {fused} channels, {blocks} residual blocks |
| prompts, mask decoder | transformers' `Sam2Model`: width {width}, {heads} heads, MLP {mlp}; strides 4 and 8 too |
| masks | three (and token 0) of {cells} x {cells} logits, predicted IoU, object score |
| parameters | {parameters} M; {megabytes} MB in fp16, computed in fp32 |
| license | Apache-2.0; sources of the weights and of the training images below |

```python
import samtailor

base = samtailor.load_base("{name}")
```

## Intended use

Interactive and automatic segmentation of everyday, street, microscopy and inspection images on a CPU, with an adapter
fitted to a few masks of the objects in question. It is a small model: where speed and memory allow, a larger SAM draws
better outlines (see `--base`). It is not meant for decisions about people, nor for medical diagnosis.

## Figures

<!-- results: bundled-base view=quality -->
<!-- /results -->

<!-- results: bundled-base view=cost command=no -->
<!-- /results -->

## Training data

The weights contain the ImageNet weights of the trunk, and were trained on procedural images of this project and on
these openly licensed sources:

{sources}

Images of people, of faces and of skin lesions without a license are only measured on, never trained on. Every fifth
image of the nuclei and every tenth of the other real sets is held out.

## Training

{images} views in {steps} steps, each with eight prompts: clicks, boxes and groups of points; in a share of the steps a
corrective click in the error of the mask, with the mask before as a prompt; clicks on nothing train the object score.
Code at commit `{commit}`. How to train again, and what limits the model: `tools/bundled_base/README.md` and
`docs/research/bundled-base-training.md`.

## Limits

* Masks are {cells} x {cells} logits: what is thinner than about {cell} px of {side} is lost. A long panorama is
  squashed to the square; use tiles for small objects.
* Procedural scenes and drawings are a large part of the training: expect less on fine texture, crowds, transparency and
  soft outlines.
* An image has more levels under a click than three masks. No mask always means the whole object.
"""


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
