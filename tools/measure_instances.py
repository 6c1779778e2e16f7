"""Automatic instances on real images: fit, learn proposals, judge on held-out images; table and sheets.

    python tools/measure_instances.py --data DATA --out RUNS [--only plates,nuclei] [--judged 40]

DATA holds the sets as folders. Of each set 64 images are fitted on (54 to train, 10 to choose the adapter's state).
Of the others, in an order given by a hash of their ids, the first 30 (at most a third) are left for trying things out
(--try judges on them instead), and the next ones are judged on; no human prompt anywhere. RUNS/SET is the adapter,
RUNS/SET.json has the figures, RUNS/SET.png the sheet (images of some sets carry no licence: they stay there), and
docs/instances.md gets the table between its marks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

SETS = ("nuclei", "plates", "facades")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "instances.md"
BEGIN, END = "<!-- table of tools/measure_instances.py -->", "<!-- end of the table -->"
_FIT = ("--method", "plm", "--set", "prompt=mask-box", "--set", "prompt_options.jitter=0.25")
_FIT += ("--set", "prompt_options.reach=160", "--set", "trackers=none")


def main() -> None:
    options = _options()
    for name in options.only or SETS:
        _fit(name, options)
        _judge(name, options)
    if not options.trying:
        _write(options)


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
    """Figures of the adapter, and of the base with the same proposals; and the sheet."""
    import cv2

    from samtailor import artefact
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.data.writing import write_json
    from samtailor.evaluation.instances import Asked, evaluate_instances
    from samtailor.predict.auto import tiles_of
    from samtailor.predict.predictor import Predictor

    folder = options.out / name
    samples = {sample.id: sample for sample in _samples(options.data / name)}
    order = sorted(Split.read(folder / "split.json").test, key=lambda id: sha256(f"dev{id}".encode()).hexdigest())
    tried = min(30, len(order) // 3)
    chosen = order[:tried] if options.trying else order[tried : tried + options.judged]
    meta, store = artefact.read_meta(folder), EmbeddingCache()
    base = load_on(meta.base.name)
    predictor = Predictor(base, {"adapter": artefact.load(folder, base).segmenter}, store=store)
    asked = {
        who: Asked.of(predictor, adapter, folder)
        for who, adapter in (("base", None), ("adapter", "adapter"))
        if adapter or options.base
    }
    start = time.monotonic()
    found = evaluate_instances(predictor, asked, [samples[id] for id in chosen], list(meta.classes), store=store)
    summaries = {who: one.summary() for who, one in found.items()}
    about = {
        "base_fingerprint": base.fingerprint,
        "tiles": tiles_of(folder),
        "judged": chosen,
        "seconds": time.monotonic() - start,
    }
    file = options.out / (f"{name}-try.json" if options.trying else f"{name}.json")
    write_json(file, {**summaries, **about})
    cv2.imwrite(str(file.with_suffix(".png")), _sheet(found["adapter"], samples)[..., ::-1])
    figures = {
        who: {k: one[k] for k in ("ap", "ap50", "ap75", "precision", "recall")} for who, one in summaries.items()
    }
    print(name, json.dumps(figures))


def _sheet(evaluation, samples: dict):
    """Six images at even ranks of F1, the worst first: truth above, what is given below."""
    import cv2
    import numpy as np

    from samtailor.report.instance_tables import panels, ranked

    columns = []
    for _, _, image in ranked(evaluation, 6):
        pair = []
        for panel in panels(samples[image.id].image, image):
            scale = 300 / max(panel.shape[:2])
            small = cv2.resize(panel, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            pad = ((0, 300 - small.shape[0]), (0, 300 - small.shape[1]), (0, 0))
            pair.append(np.pad(small, pad, constant_values=255))
        columns.append(np.concatenate(pair, axis=0))
    return np.concatenate(columns, axis=1)


def _write(options: argparse.Namespace) -> None:
    """The table of all sets that are there, into the page."""
    lines = [
        "| set | classes | tiles | images | objects | asked | AP50 | AP | AP75 | precision | recall |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for file in _there(options):
        name, found = file.stem, _figures(file)
        for who in (who for who in ("base", "adapter") if who in found):
            one = found[who]
            low, high = one["ap50_interval"]
            cells = [name, len(one["classes"]), found["tiles"], one["images"], one["objects"], who]
            cells += [f"{_percent(one['ap50'])} [{_percent(low)}, {_percent(high)}]"]
            cells += [_percent(one[key]) for key in ("ap", "ap75", "precision", "recall")]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    known = sorted(
        {found["base_fingerprint"] for found in map(_figures, _there(options)) if "base_fingerprint" in found}
    )
    lines += ["", f"Fingerprint of the base {', '.join(known)}."] if known else []
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", encoding="utf-8")


def _there(options: argparse.Namespace) -> list[Path]:
    return [file for file in (options.out / f"{name}.json" for name in SETS) if file.is_file()]


def _figures(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--head-steps", type=int, help="updates of each head of the proposals; default: its own")
    parser.add_argument("--base", action="store_true", help="also the base alone with the same proposals")
    parser.add_argument("--judged", type=int, default=40, help="images of a set to judge on, at most")
    parser.add_argument("--try", dest="trying", action="store_true", help="judge on the images for trying things out")
    parser.add_argument("--only", type=lambda text: text.split(","), help="sets; the table takes all there are")
    return parser.parse_args()


if __name__ == "__main__":
    main()
