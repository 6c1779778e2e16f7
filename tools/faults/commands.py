"""Command lines that read and write files, on a tiny base model and small images."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from faults.machine import Place

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))


@dataclass(frozen=True)
class CommandLine:
    """A command: its words, of which {data}, {image}, {adapter}, {base} and {out} are replaced, and what it makes.

    Args:
        words: the words.
        reports: exit code with which it lists what cannot be read, after all the rest is done; 2: it has none.
    """

    words: tuple[str, ...]
    reports: int = 2

    def on(self, place: Place, result: str) -> list[str]:
        """The words for files of `inputs` and a result in `out`."""
        folder = place.inputs
        places = {
            "data": folder / "data", "image": folder / "data/images/p000.png",
            "mask": folder / "data/masks/disc/p000.png", "adapter": folder / "adapter",
            "base": folder / "base", "out": place.out / result,
        }  # fmt: skip
        return [word.format(**places) for word in self.words]


_FIT = (
    *("--method", "plm", "--set", "options.heads=4", "--set", "options.mlp_dim=16", "--steps", "2"),
    *("--batch-size", "2", "--val", "2", "--set", "near_duplicates=false", "--set", "eval_masks=2"),
)
_COMPARE = ("--base", "{base}", "--classes", "disc", "--methods", "sam", "--seeds", "1")
COMMANDS = {
    "check": CommandLine(("check", "{data}", "--json", "{out}", "--html", "{out}.html"), reports=1),
    "fit": CommandLine(("fit", "{data}", "--base", "{base}", "--classes", "disc", "--out", "{out}", *_FIT)),
    "evaluate": CommandLine(("evaluate", "{data}", "--adapter", "{adapter}", "--limit", "2", "--json", "{out}")),
    "predict": CommandLine(("predict", "{image}", "--adapter", "{adapter}", "--click", "20,20", "--out", "{out}")),
    "label": CommandLine(
        ("label", "{data}/images", "--adapter", "{adapter}", "--detector", "full-frame", "--out", "{out}"), reports=1
    ),
    "export": CommandLine(("export", "{adapter}", "--out", "{out}")),
    "compare": CommandLine(
        (
            "compare",
            "{data}",
            "--base",
            "{base}",
            "--classes",
            "disc",
            "--methods",
            "sam",
            "--seeds",
            "1",
            "--out",
            "{out}",
        )
    ),
    "iou-map": CommandLine(
        ("iou-map", "{image}", "--mask", "{mask}", "--base", "{base}", "--cells", "8", "--out", "{out}")
    ),
    "info": CommandLine(("info", "{adapter}", "--json", "{out}")),
    "synth": CommandLine(("synth", "scenes", "--out", "{out}", "--count", "1")),
}
"""Commands by name."""


def prepare(folder: Path) -> Path:
    """Write a base model, images with masks, and an adapter; returns the folder of the inputs."""
    import torch
    from transformers import SamConfig, SamModel

    from commands import write_data
    from samtailor.bases import load_base
    from saved import save
    from tiny import SAM, wake

    torch.manual_seed(0)
    model = SamModel(SamConfig(**SAM)).eval()
    wake(model)
    inputs = folder / "inputs"
    model.save_pretrained(inputs / "base")
    write_data(inputs / "data", 4)
    save(inputs / "adapter", load_base(inputs / "base"), "plm", heads=4, mlp_dim=16)
    return inputs


def fresh(folder: Path, prepared: Path, result: str) -> Place:
    """A copy of the inputs, and an empty folder for the result."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared, folder / "inputs")
    (folder / "out").mkdir()
    return Place(folder / "inputs", folder / "out", result)
