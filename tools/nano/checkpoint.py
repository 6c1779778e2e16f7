"""What a run leaves on disk: weights as safetensors, optimiser state, a log in JSON lines, and the exported base."""

from __future__ import annotations

import copy
import json
import os
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from nano import network
from nano.evaluation import HeldOut, interval


def save(run: Path, trainer) -> None:
    """Write everything needed to go on; a crash in between leaves the previous checkpoint.

    Weights are written by the first process, its own optimisers' state by each.
    """
    _put(
        torch.save,
        {"optimisers": trainer.optimisers.state(), "progress": trainer.progress, "world": trainer.world},
        _optimiser(run, trainer.rank),
    )
    if trainer.rank > 0:
        return
    weights = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    weights |= {f"dense.{k}": v for k, v in trainer.dense.state_dict().items()}
    weights |= {f"average.{k}": v for k, v in trainer.average.items()}
    _put(save_file, {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, run / "weights.safetensors")


def _put(write, value, path: Path) -> None:
    half_done = path.with_name(path.name + ".tmp")
    write(value, half_done)
    os.replace(half_done, path)


def _optimiser(run: Path, rank: int) -> Path:
    return run / f"optimiser-{rank}.pt"


def load(run: Path, trainer) -> bool:
    """Take up the checkpoint in ``run``; False where there is none."""
    if not (run / "weights.safetensors").exists():
        return False
    weights = load_file(run / "weights.safetensors", device=str(trainer.device))
    trainer.model.load_state_dict(_below(weights, "model."))
    trainer.dense.load_state_dict(_below(weights, "dense."))
    trainer.average = _below(weights, "average.")
    kept = torch.load(_optimiser(run, 0), map_location=trainer.device, weights_only=True)
    trainer.progress = kept["progress"]
    if kept["world"] != trainer.world:
        print("The checkpoint is of another number of processes: momentum starts anew.", flush=True)
        return True
    if trainer.rank > 0:
        kept = torch.load(_optimiser(run, trainer.rank), map_location=trainer.device, weights_only=True)
    trainer.optimisers.load(kept["optimisers"])
    return True


def start(folder: Path, trainer) -> None:
    """Begin with the weights of an exported base; training heads and optimisers are new."""
    weights = {k: v.float() for k, v in load_file(folder / "model.safetensors", device=str(trainer.device)).items()}
    trainer.model.load_state_dict(weights)
    trainer.average = {k: v.detach().clone() for k, v in trainer.model.state_dict().items()}


def _below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def log(run: Path, trainer, entry: dict) -> None:
    """Append a line to ``log.jsonl`` and print it."""
    line = json.dumps(
        {
            "time": time.strftime("%H:%M:%S"),
            "size": trainer.args.size,
            **{k: round(v, 1) for k, v in trainer.progress.items()},
            **entry,
        }
    )
    print(line, flush=True)
    with open(run / "log.jsonl", "a") as file:
        file.write(line + "\n")


def export(folder: Path, trainer, held_out: int) -> dict:
    """Write the averaged weights in fp16 as transformers does, read them back, and measure what was read.

    Returns the figures with their 95 % intervals.
    """
    from transformers import Sam2Model

    model = copy.deepcopy(trainer.model)
    model.load_state_dict(trainer.average)
    network.set_size(model, network.SIZE)
    model.half().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessing(), indent=2) + "\n")
    back = Sam2Model.from_pretrained(folder, dtype=torch.float32).eval()
    rows = HeldOut(held_out).measure(network.Features(back), network.Decode(back), half=False)
    groups = rows.pop("image")
    figures = {name: [round(v, 4) for v in interval(values, groups)] for name, values in rows.items()}
    return {"masks": len(groups), "scenes": held_out, **trainer.progress, "figures": figures}


def _preprocessing() -> dict:
    """What ``Sam2ImageProcessor`` needs to know; written by hand, because making one takes torchvision."""
    side = {"height": network.SIZE, "width": network.SIZE}
    return {
        "image_processor_type": "Sam2ImageProcessor",
        "do_resize": True,
        "size": side,
        "mask_size": side,
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": network.MEAN,
        "image_std": network.STD,
    }
