"""Automatic instances on real images: fit, train proposals, evaluate on held-out images; results/instances.json.

    python tools/measure_instances.py --data DATA --out RUNS [--only plates,nuclei] [--judged 40]

DATA holds the data sets as folders. 64 images of each set are fitted on (54 for training, 10 to select the state). Of
the others, in an order given by a hash of their ids, the first 30 (at most a third) are set aside for trials (`--try`
evaluates on them instead), and the next ones are the test images; there is no human prompt. RUNS/SET is the adapter,
RUNS/SET.json has all figures and RUNS/SET.png is a sheet of examples, which stays there because some sets carry no
licence. `--only` measures some of the sets again; the figures of the others stay in results/instances.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import results
from results import BaseModelUsed, Cell, Column, Figure, Table

SETS = {"nuclei": "Cell nuclei", "plates": "Licence plates", "facades": "Facades"}
TITLE = "Automatic instances: many objects in an image, no click"
UNITS = "percent; brackets: 95 % interval (bootstrap over groups of images)"
COLUMNS = (
    Column(key="set", label=""),
    *(Column(key=key, label=label, digits=0) for key, label in (("classes", "Classes"), ("tiles", "Tiles per side"))),
    *(Column(key=key, label=key.capitalize(), digits=0) for key in ("images", "objects")),
    Column(key="ap50", label="Mask AP50"),
    Column(key="ap", label="AP"),
    Column(key="ap75", label="AP75"),
    Column(key="precision", label="Precision"),
    Column(key="recall", label="Recall"),
    Column(key="count_error", label="Count error, objects per image"),
)
_FIT = ("--method", "plm", "--set", "prompt=mask-box", "--set", "prompt_options.jitter=0.25")
_FIT += ("--set", "prompt_options.reach=160", "--set", "trackers=none")


def main() -> None:
    options = _options()
    for name in options.only or SETS:
        _fit(name, options)
        _judge(name, options)
    if not options.trying:
        _save(options)


def _fit(name: str, options: argparse.Namespace) -> None:
    """Adapter and proposals, unless they are there."""
    data, out = options.data / name, options.out / name
    times = {}
    if not (out / "adapter.json").is_file():
        held_out = len(_samples(data)) - 64
        steps = ["--steps", str(options.steps), "--val", "10", "--test", str(held_out), "--seed", str(options.seed)]
        times["fit"] = _run("fit", data, "--out", out, *_FIT, *steps)
    if not (out / "proposals.json").is_file():
        steps = ["--steps", options.head_steps] if options.head_steps else []
        times["propose-fit"] = _run("propose-fit", data, "--adapter", out, *steps)
    if times:
        (options.out / f"{name}-seconds.json").write_text(json.dumps(times))


def _run(command: str, *arguments: object) -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "samtailor", command, *map(str, arguments)], check=True)
    return time.monotonic() - start


def _samples(data: Path) -> list:
    from samtailor.data.dataset import open_dataset

    return open_dataset(data)


def _judge(name: str, options: argparse.Namespace) -> None:
    """Figures of the adapter and, with `--base`, of the base model with the same proposals; and the sheet."""
    import cv2

    from samtailor import artefact
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.data.writing import write_json
    from samtailor.evaluation.instances import LOWEST, evaluate_instances
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.source import AdapterSource

    folder = options.out / name
    samples = {sample.id: sample for sample in _samples(options.data / name)}
    order = sorted(Split.read(folder / "split.json").test, key=lambda id: sha256(f"dev{id}".encode()).hexdigest())
    tried = min(30, len(order) // 3)
    chosen = order[:tried] if options.trying else order[tried : tried + options.judged]
    meta, store = artefact.read_meta(folder), EmbeddingCache()
    base = load_on(meta.base.name)
    predictor = Predictor(base, {"adapter": artefact.load(folder, base).segmenter}, store=store)
    asked = {
        who: AdapterSource.of(predictor, adapter, folder, lowest=LOWEST)
        for who, adapter in (("base", None), ("adapter", "adapter"))
        if adapter or options.base
    }
    start = time.monotonic()
    found = evaluate_instances(predictor, asked, [samples[id] for id in chosen], list(meta.classes), store=store)
    summaries = {who: one.summary() for who, one in found.items()}
    about = {
        "base_fingerprint": base.fingerprint,
        "tiles": asked["adapter"].tiles,
        "judged": chosen,
        "seconds": time.monotonic() - start,
    }
    file = options.out / (f"{name}-try.json" if options.trying else f"{name}.json")
    write_json(file, {**summaries, **about})
    cv2.imwrite(str(file.with_suffix(".png")), _sheet(found["adapter"], samples)[..., ::-1])
    figures = {
        who: {k: one[k] for k in ("ap", "ap50", "ap75", "precision", "recall", "count_error", "count_bias")}
        for who, one in summaries.items()
    }
    print(name, json.dumps(figures))


def _sheet(evaluation, samples: dict):
    """Six images at even ranks of F1, the worst first: truth above, prediction below."""
    import cv2
    import numpy as np

    from samtailor.report.panels import instance_panels, ranked

    columns = []
    for _, _, image in ranked(evaluation, 6):
        pair = []
        for panel in instance_panels(samples[image.id].image, image):
            scale = 300 / max(panel.shape[:2])
            small = cv2.resize(panel, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            pad = ((0, 300 - small.shape[0]), (0, 300 - small.shape[1]), (0, 0))
            pair.append(np.pad(small, pad, constant_values=255))
        columns.append(np.concatenate(pair, axis=0))
    return np.concatenate(columns, axis=1)


def _save(options: argparse.Namespace) -> None:
    """The table of all sets that are there; the base model in rows of its own (`--base`)."""
    rows: dict[str, dict[str, Cell]] = {}
    prints: set[str] = set()
    for file in _there(options):
        found = _figures(file)
        prints.add(found["base_fingerprint"])
        for who in (who for who in ("adapter", "base") if who in found):
            one, own = found[who], "" if who == "adapter" else ", base model alone"
            row = rows[file.stem if who == "adapter" else f"{file.stem}-base"] = {"set": SETS[file.stem] + own}
            row |= {"classes": len(one["classes"]), "tiles": found["tiles"]}
            row |= {"images": one["images"], "objects": one["objects"]}
            row["ap50"] = results.interval(one["ap50"], one["ap50_interval"])
            row |= {key: results.percent(one[key]) for key in ("ap", "ap75", "precision", "recall")}
            low, high = one["count_error_interval"] or (None, None)
            row["count_error"] = Figure(value=one["count_error"], low=low, high=high)
    if len(prints) != 1:
        raise SystemExit(f"{options.out} holds figures of several base models ({prints}): measure all sets again.")
    title = "Adapters of boxes with trained proposals"
    results.save(
        "instances",
        {"figures": Table(title=title, columns=COLUMNS, rows=rows)},
        title=TITLE,
        units=UNITS,
        notes=[f"{options.steps} steps on 64 images (54 for training, 10 to select the state)."],
        base=BaseModelUsed(name=results.BUNDLED, fingerprint=prints.pop()),
        seeds=[options.seed],
        file=options.results,
    )


def _there(options: argparse.Namespace) -> list[Path]:
    return [file for file in (options.out / f"{name}.json" for name in SETS) if file.is_file()]


def _figures(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--head-steps", type=int, help="steps of each proposal head; default: its own")
    parser.add_argument("--base", action="store_true", help="also the base model alone with the same proposals")
    parser.add_argument("--judged", type=int, default=40, help="test images of a set, at most")
    parser.add_argument("--try", dest="trying", action="store_true", help="evaluate on the images set aside for trials")
    parser.add_argument("--only", type=lambda text: text.split(","), help="data sets to measure")
    results.add_option(parser, "instances")
    return parser.parse_args()


if __name__ == "__main__":
    main()
