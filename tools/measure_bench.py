"""Speed of samtailor beside what one would run instead: the suite of `samtailor bench` as results/bench.json.

    OMP_NUM_THREADS=1 python tools/measure_bench.py [--rounds 3] [--images 4] [--only lite,vit-b]

The bundled base runs the whole suite but the fit. SAM ViT-B at 1024 px has random weights, which cost the same, and
runs the encoder alone. Ratios are of processor time: with one thread it is the elapsed time of an idle machine, and
other programs hardly change it. `precision` is the deviation of masks that `precision: auto` measures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import SamConfig, SamModel

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import results
from random_sam import vit_b
from results import Cell, Column, Table
from samtailor.bases import Base, load_base
from samtailor.bases.decoder import PromptDecoder
from samtailor.bases.sam import Sam
from samtailor.bench import Report, machine, prompts, run
from samtailor.bench.suite import DEFAULT
from samtailor.bench.timing import alternate
from samtailor.cache.precision import LIMIT, hardware_precision, measure
from samtailor.structures import Features, Tokens

PASSES = (1, 2, 4, 8, 16)
"""Prompts in one pass."""
COLUMNS = (
    Column(key="what", label="What"),
    Column(key="way", label="Way"),
    Column(key="ms", label="ms of one thread", digits=1),
    Column(key="ratio", label="Times as fast", digits=2),
    Column(key="floor", label="Floor, ms", digits=1),
    Column(key="distance", label="Multiple of the floor", digits=1),
)


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    tables: dict[str, Table] = {}
    lite = load_base("lite")
    if "lite" in options.only:
        report = run(lite, groups=DEFAULT, rounds=options.rounds, images=options.images, progress=print)
        tables |= {"lite": _table("Bundled base", report), "machine": _machine(report)}
    if "vit-b" in options.only:
        report = run(vit_b(), groups=["encode"], rounds=1, progress=print)
        tables["vit-b"] = _table("Image encoder of SAM ViT-B at 1024 px, random weights", report)
    if "passes" in options.only:
        sam = _sam_decoder()
        tables["passes"] = _passes({"Bundled base": lite, "SAM at 1024 px": sam}, options.rounds)
        known = machine.measure(torch.device("cpu"))
        rows = prompts.measure(sam, known, 1, counts=(1, PASSES[-1]))
        tables["sam-decoder"] = _table("Mask decoder of SAM at 1024 px, random weights", Report("", "", known, rows))
    if "precision" in options.only:
        tables["precision"] = _precision(lite)
    results.save(
        "bench", tables, base=lite, seeds=[0], file=options.results,
        title="samtailor beside what one would run instead, on one CPU thread",
        units="processor time; ratios are medians over rounds that alternate, against the first way of each group",
        notes=["A floor is the operations over the measured rate of a matrix product of the same precision, or the "
               "bytes over the measured bandwidth, whichever takes longer."],
    )  # fmt: skip


def _table(title: str, report: Report) -> Table:
    rows: dict[str, dict[str, Cell]] = {}
    for number, row in enumerate(report.rows):
        cells: dict[str, Cell] = {
            "what": row.group[:1].upper() + row.group[1:],
            "way": row.name,
            "ms": 1e3 * row.cpu_seconds,
            "ratio": row.cpu_ratio,
        }
        if row.floor is not None:
            cells |= {"floor": 1e3 * row.floor, "distance": row.cpu_seconds / row.floor}
        rows[f"row-{number}"] = {
            key: round(cell, 3) if isinstance(cell, float) else cell for key, cell in cells.items()
        }
    left_out = "; ".join(f"{name} ({reason})" for name, reason in report.left_out.items())
    return Table(title=title, columns=COLUMNS, rows=rows, note=f"Left out: {left_out}." if left_out else "")


def _machine(report: Report) -> Table:
    known = report.machine
    columns = (
        Column(key="what", label="Measured"),
        Column(key="value", label="Value", digits=0),
        Column(key="unit", label="Unit"),
    )
    rows: dict[str, dict[str, Cell]] = {
        name: {"what": f"Matrix product, {name}", "value": round(rate / 1e9, 1), "unit": "GFLOP/s"}
        for name, rate in known.rates.items()
    }
    rows["memory"] = {"what": "Copy in memory", "value": round(known.bandwidth / 1e9, 1), "unit": "GB/s"}
    return Table(title="The machine, one thread", columns=columns, rows=rows)


def _sam_decoder() -> Base:
    """SAM's prompt encoder and mask decoder at 1024 px with random weights, behind an encoder that costs little."""
    torch.manual_seed(0)
    vision = {"num_hidden_layers": 1, "hidden_size": 96, "num_attention_heads": 2, "global_attn_indexes": []}
    model = SamModel(SamConfig(vision_config=vision))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return Sam(model, "sam-decoder-random")


def _passes(bases: dict[str, Base], rounds: int) -> Table:
    """Decoding time of a prompt by the number of prompts in one pass; the embeddings are random."""
    columns = (Column(key="base", label="Base"), Column(key="chosen", label="Chosen on a CPU", digits=0))
    columns += tuple(Column(key=f"in-{count}", label=f"{count}", digits=1) for count in PASSES)
    rows: dict[str, dict[str, Cell]] = {}
    for name, base in bases.items():
        decoder, sides = PromptDecoder(base), (4 * base.grid, 2 * base.grid)
        skips = tuple(torch.randn(1, c, s, s) for c, s in zip(reversed(base.skips), sides, strict=True) if c)
        features = Features(torch.randn(1, base.dim, base.grid, base.grid), skips)
        with torch.inference_mode():
            runs = {
                str(count): partial(_decode, decoder, features, prompts.tokens(base, PASSES[-1], count))
                for count in PASSES
            }
            times = alternate(runs, rounds)
        rows[name.split()[0].lower()] = {
            "base": name,
            "chosen": decoder.prompts_per_pass(torch.device("cpu")),
            **{f"in-{n}": round(1e3 * min(taken.cpu) / PASSES[-1], 2) for n, taken in times.items()},
        }
    return Table(title="Time of a prompt, ms, by prompts in one pass", columns=columns, rows=rows)


def _decode(decoder: PromptDecoder, features: Features, parts: Sequence[Tokens]) -> None:
    for part in parts:
        decoder(features, part).best_masks()


def _precision(base: Base) -> Table:
    name = hardware_precision(torch.device("cpu"))
    deviation = measure(base, name)
    columns = (
        Column(key="precision", label="Encoder"),
        Column(key="objects", label="Masks", digits=0),
        Column(key="change", label="Change of mIoU, points", digits=2, signed=True),
        Column(key="agreement", label="IoU with the masks of fp32", digits=2),
    )
    row: dict[str, Cell] = {"precision": name, "objects": deviation.objects}
    row |= {"change": deviation.change, "agreement": deviation.agreement}
    note = f"Below {LIMIT} points, precision auto takes {name}."
    return Table(title="Deviation of masks, bundled base", columns=columns, rows={name: row}, note=note)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--only", default="lite,vit-b,passes,precision", metavar="NAME,...")
    results.add_option(parser, "bench")
    return parser.parse_args()


if __name__ == "__main__":
    main()
