"""What a run leaves on disk: weights as safetensors, optimizer state, a log in JSON lines, and exported weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bundled_base import card, network

GO_ON = (
    "python tools/train_bundled_base.py --run RUN --start src/samtailor/bases/lite/model.safetensors --cache CACHE "
    "--data DATA --data-open DATA_OPEN --processes 2 --threads 1 --compile --batch 8 --corrections 0.35 --lr 1e-3 "
    "--early 1 --minutes 60 --finish"
)


AFTER = "python tools/measure_bundled_base.py DATA and python tools/make_figures.py"
"""What depends on the weights: figures and pages."""


def save(run: Path, trainer) -> None:
    """Write everything that is needed to continue; a crash in between leaves the previous checkpoint.

    Weights are written by the first process, its own optimizers' state by each.
    """
    state = {"optimizers": trainer.optimizers.state(), "progress": trainer.progress, "layout": _layout(trainer)}
    _put(torch.save, state, _optimizer(run, trainer.rank))
    if trainer.rank > 0:
        return
    weights = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    weights |= {f"dense.{k}": v for k, v in trainer.dense.state_dict().items()}
    weights |= {f"average.{k}": v for k, v in trainer.average.items()}
    _put(save_file, {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, run / "weights.safetensors")
    _put(lambda text, path: path.write_text(text), json.dumps(trainer.progress), run / "progress.json")


def _put(write, value, path: Path) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    write(value, unfinished)
    os.replace(unfinished, path)


def _optimizer(run: Path, rank: int) -> Path:
    return run / f"optimizer-{rank}.pt"


def _layout(trainer) -> list:
    """What the optimizers' state depends on."""
    return [trainer.world, trainer.args.trunk_rate > 0]


def load(run: Path, trainer) -> bool:
    """Load the checkpoint in `run`; False where there is none."""
    if not (run / "weights.safetensors").exists():
        return False
    weights = load_file(run / "weights.safetensors", device=str(trainer.device))
    trainer.model.load_state_dict(_below(weights, "model."))
    trainer.dense.load_state_dict(_below(weights, "dense."))
    trainer.average = _below(weights, "average.")
    trainer.progress |= json.loads((run / "progress.json").read_text())
    path = _optimizer(run, trainer.rank)
    kept = torch.load(path, map_location=trainer.device, weights_only=True) if path.exists() else {"layout": None}
    if kept["layout"] != _layout(trainer):
        print("The checkpoint is of another number of processes or stage: momentum starts at zero.", flush=True)
    else:
        trainer.optimizers.load(kept["optimizers"])
    return True


def start(file: Path, trainer) -> None:
    """Begin with exported weights; training heads and optimizers are new."""
    weights = {k: v.float() for k, v in load_file(file, device=str(trainer.device)).items()}
    trainer.model.load_state_dict(weights)
    trainer.average = {k: v.detach().clone() for k, v in trainer.model.state_dict().items()}
    described = [one for one in (file.with_suffix(".json"), file.parent / "training.json") if one.exists()]
    if described:
        trainer.progress |= json.loads(described[0].read_text())["progress"]


def _below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def log(run: Path, trainer, entry: dict) -> None:
    """Append a line to `log.jsonl` and print it."""
    progress = {k: round(v, 1) for k, v in trainer.progress.items()}
    line = json.dumps({"time": time.strftime("%H:%M:%S"), **progress, **entry})
    print(line, flush=True)
    with open(run / "log.jsonl", "a") as file:
        file.write(line + "\n")


def export(run: Path, target: Path) -> None:
    """Write the averaged weights of a run in fp16, and a JSON file that describes them.

    Args:
        run: folder of the run; it may be in use.
        target: a `.safetensors` file, or a folder, which then is what `Sam2Model.from_pretrained` loads.
    """
    weights = _below(load_file(run / "weights.safetensors"), "average.")
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    description = {
        "progress": json.loads((run / "progress.json").read_text()),
        "held_out": _last_figures(run),
        "trained_at_commit": _commit(),
        "go_on": GO_ON,
    }
    if target.suffix == ".safetensors":
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(half, target)
        about = target.with_suffix(".json")
    else:
        _pretrained(weights, target)
        about = target / "training.json"
    about.write_text(json.dumps(description, indent=2) + "\n")
    if target.suffix != ".safetensors":
        print(f"Wrote {card.write(target)} and the model beside it. Now: {AFTER}")


def pretrained(file: Path, folder: Path) -> None:
    """A folder, as `export` makes it, of weights that were exported to a file with their description beside it."""
    _pretrained({k: v.float() for k, v in load_file(file).items()}, folder)
    shutil.copyfile(file.with_suffix(".json"), folder / "training.json")
    print(f"Wrote {card.write(folder)} and the model beside it. Now: {AFTER}")


def _pretrained(weights: dict[str, torch.Tensor], folder: Path) -> None:
    model = network.build()
    model.load_state_dict(weights)
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes the file private
    side = {"height": network.SIZE, "width": network.SIZE}
    preprocessing = {
        "image_processor_type": "Sam2ImageProcessor",
        "do_resize": True,
        "size": side,
        "mask_size": {k: v // 4 for k, v in side.items()},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [m / 255 for m in network.MEAN],
        "image_std": [s / 255 for s in network.STD],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n")


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _last_figures(run: Path) -> dict:
    lines = (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").exists() else []
    entries = [json.loads(line) for line in lines if "held_out" in line]
    return entries[-1] if entries else {}
