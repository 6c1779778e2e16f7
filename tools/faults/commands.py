"""Command lines that read and write files, on a tiny base model and small images."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from faults.machine import Place
from faults.visits import Visit, free_port, visit_label_studio, visit_serve, visit_ui

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
_LONGEST = 255  # bytes of a file name


@dataclass(frozen=True)
class CommandLine:
    """A command: its words, of which {data}, {image}, {adapter}, {base} and {out} are replaced, and what it makes.

    Args:
        words: the words.
        reports: exit code with which it lists what cannot be read, after all the rest is done; 2: it has none.
        changes: name of the input that the command changes; it is copied to {out} before.
        makes: pattern of a file in the folder of the result that shows that the command did its work.
        visit: requests to the service that the command runs, until it is stopped with Ctrl-C.
    """

    words: tuple[str, ...]
    reports: int = 2
    changes: str | None = None
    makes: str = "*"
    visit: Visit | None = None

    def on(self, place: Place) -> list[str]:
        """The words for files of `inputs` and a result in `out`."""
        folder = place.inputs
        places = {
            "data": folder / "data", "image": folder / "data/images/p000.png",
            "mask": folder / "data/masks/disc/p000.png", "adapter": folder / "adapter", "run": folder / "run",
            "base": folder / "base", "out": place.out / place.result, "port": place.port,
        }  # fmt: skip
        return [word.format(**places) for word in self.words]


_FIT = (
    *("--method", "plm", "--set", "options.heads=4", "--set", "options.mlp_dim=16", "--steps", "2"),
    *("--batch-size", "2", "--val", "2", "--set", "near_duplicates=false", "--set", "eval_masks=2"),
)
_SERVICE = ("--base", "{base}", "--port", "{port}")
COMMANDS = {
    "check": CommandLine(("check", "{data}", "--json", "{out}", "--html", "{out}.html"), reports=1),
    "fit": CommandLine(
        ("fit", "{data}", "--base", "{base}", "--classes", "disc", "--out", "{out}", *_FIT), makes="*/adapter.json"
    ),
    "evaluate": CommandLine(("evaluate", "{data}", "--adapter", "{adapter}", "--limit", "2", "--json", "{out}")),
    "predict": CommandLine(("predict", "{image}", "--adapter", "{adapter}", "--click", "20,20", "--out", "{out}")),
    "propose-fit": CommandLine(
        ("propose-fit", "{data}", "--adapter", "{out}", "--steps", "2", "--views", "1"),
        changes="adapter",
        makes="*/proposals.safetensors",
    ),
    "label": CommandLine(
        ("label", "{data}/images", "--adapter", "{adapter}", "--detector", "full-frame", "--out", "{out}"), reports=1
    ),
    "find": CommandLine(
        (
            *("find", "{data}/images", "--like", "{image}", "{mask}", "--base", "{base}", "--out", "{out}"),
            *("--matcher-option", "companion=none"),
        ),
        reports=1,
    ),
    "export": CommandLine(("export", "{adapter}", "--out", "{out}")),
    "serve": CommandLine(("serve", "--adapter", "disc={adapter}", "--cache", "{out}", *_SERVICE), visit=visit_serve),
    "ui": CommandLine(
        ("ui", "{data}/images", "--project", "{out}", "--classes", "disc", "--no-browser", *_SERVICE), visit=visit_ui
    ),
    "label-studio": CommandLine(
        ("label-studio", "{out}", "--adapter", "disc={adapter}", "--files", "{data}", *_SERVICE),
        visit=visit_label_studio,
    ),
    "compare": CommandLine(
        (
            *("compare", "{data}", "--base", "{base}", "--classes", "disc", "--methods", "sam", "--seeds", "1"),
            *("--out", "{out}"),
        )
    ),
    "recipe": CommandLine(
        (
            *("recipe", "banner", "--base", "{base}", "--preset", "defaults", "--methods", "sam", "--count", "2"),
            *("--test", "2", "--out", "{out}"),
        ),
        makes="*/banner.json",
    ),
    "figures": CommandLine(("figures", "{run}", "--figure", "kim-5", "--data", "{data}", "--out", "{out}")),
    "iou-map": CommandLine(
        ("iou-map", "{image}", "--mask", "{mask}", "--base", "{base}", "--cells", "8", "--out", "{out}")
    ),
    "info": CommandLine(("info", "{adapter}", "--json", "{out}")),
    "synth": CommandLine(("synth", "scenes", "--out", "{out}", "--count", "1")),
    "demo": CommandLine(
        (
            *("demo", "--base", "{base}", "--only", "banners", "--train", "8", "--test", "2", "--steps", "1"),
            *("--out", "{out}"),
        ),
        makes="*/report.html",
    ),
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
    _compared(inputs)
    return inputs


def _compared(inputs: Path) -> None:
    """The folder of a run, for `figures`."""
    from samtailor.cli import main

    words = ["compare", str(inputs / "data"), "--base", str(inputs / "base"), "--classes", "disc"]
    words += ["--methods", "plm-pmm", "--set", "steps=1", "--seeds", "1", "--out", str(inputs / "run")]
    try:
        main(words)
    except SystemExit as error:
        if error.code:
            raise


def fresh(folder: Path, prepared: Path, result: str, command: CommandLine) -> Place:
    """A copy of the inputs, and a folder for the result: empty, or with a copy of what the command changes."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared, folder / "inputs")
    place = Place(folder / "inputs", folder / "out", result, free_port() if command.visit else 0)
    place.out.mkdir()
    if command.changes is not None and len(os.fsencode(result)) <= _LONGEST:
        shutil.copytree(place.inputs / command.changes, place.out / result)
    return place
