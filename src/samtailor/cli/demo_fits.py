"""The fits of `samtailor demo`: synthetic banners, three methods on the bundled base model, a table and a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from samtailor import artefact, report
from samtailor.bases import Base, load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import Comparison, compare, parameters, variants
from samtailor.data.dataset import open_dataset
from samtailor.data.image import write_json
from samtailor.data.listing import read_json
from samtailor.data.synth.write import build_dataset
from samtailor.errors import InputError, counted
from samtailor.registry import BUNDLED_BASE
from samtailor.report.predictions import Predictions, history_of
from samtailor.structures import Sample
from samtailor.train.config import load
from samtailor.train.progress import Progress

METHODS = ("sam", "sam-f", "plm", "plm-pmm")
TRAIN, TEST, SIZE = 240, 200, (360, 480)
STEPS = 600
CLASS = "banner"

Watch = Callable[[str, Progress], None]


@dataclass(frozen=True)
class Demo:
    """Result of the demo: `figures` is the content of report.json, `page` the HTML report."""

    figures: dict[str, Any]
    page: Path


def demo(
    out: Path,
    *,
    base: str = BUNDLED_BASE,
    seed: int = 0,
    steps: int = STEPS,
    train: int = TRAIN,
    test: int = TEST,
    device: str | None = None,
    workers: int = 1,
    watch: Watch | None = None,
) -> Demo:
    """Draw banners, fit SAM-F, PLM and PLM+PMM, compare them with SAM, and write OUT/report.html and OUT/report.json.

    Started again with the same settings, it continues where it was stopped.

    Args:
        out: folder; images in OUT/data, adapters in OUT/fits.
        base: base model.
        seed: seed of images, split, initialization, order and clicks.
        steps: training steps of PLM and PLM+PMM; SAM-F has five for six of them, at most the 1000 of its paper.
        train, test: number of images; a part of the training images chooses the best state.
        device: None uses a GPU if there is one.
        workers: processes that draw, encode and fit.
        watch: called with (name of the task, progress).

    Raises:
        InputError: the folder contains a demo with other images.
    """
    out = Path(out)
    _draw(out / "data", seed, train, test, workers, watch)
    samples, held_out = (open_dataset(out / "data" / part) for part in ("train", "test"))
    loaded, store = load_on(base, device), EmbeddingCache(out / "embeddings")
    runs = variants(load(None, {"base": base, "trackers": ()}), METHODS)
    # SAM-F converges after a hundred of the thousand iterations of its paper
    lengths = {"sam-f": min(1000, round(500 * steps / STEPS)), "plm": steps, "plm-pmm": steps}
    # no augmentation: there are many images, and eight views would take three minutes to encode
    runs = {n: c.model_copy(update={"steps": lengths.get(c.method, c.steps), "views": 1}) for n, c in runs.items()}
    comparison = compare(
        runs,
        out,
        loaded,
        samples,
        held_out,
        seeds=[seed],
        classes=[CLASS],
        refine=True,
        store=store,
        workers=workers,
        watch=watch,
    )
    figures = {
        "methods": comparison.summary(),
        "parameters": parameters(loaded),
        "settings": {name: config.to_dict() for name, config in runs.items()},
        "base": {"name": loaded.name, "fingerprint": loaded.fingerprint},
        "data": read_json(out / "data" / "dataset.json"),
        "ids": list(comparison.held_out[seed]),
        "versions": report.versions(),
    }
    write_json(out / "report.json", figures)
    _page(out / "report.html", comparison, loaded, held_out, store, seed, figures)
    return Demo(figures, out / "report.html")


def _draw(folder: Path, seed: int, train: int, test: int, workers: int, watch: Watch | None) -> None:
    about = folder / "dataset.json"
    if about.is_file():
        made = read_json(about)
        if (made["seed"], made["images"]) != (seed, {"train": train, "test": test}):
            raise InputError(f"{folder.parent} contains a demo with other images. Choose another --out, or remove it.")
        return
    progress = None if watch is None else partial(_drawn, watch)
    build_dataset(
        folder, kind="banners", count=train, test=test, size=SIZE, seed=seed, workers=workers, progress=progress
    )


def _drawn(watch: Watch, done: int, total: int) -> None:
    watch("Banners", Progress("draw", done, total))


def _page(
    path: Path,
    comparison: Comparison,
    base: Base,
    held_out: list[Sample],
    store: EmbeddingCache,
    seed: int,
    figures: dict[str, Any],
) -> None:
    folders = {key.split("/")[0]: folder for key, folder in comparison.folders.items()}
    segmenters = {n: base if f is None else artefact.load(f, base).segmenter for n, f in folders.items()}
    scores = comparison.pooled()
    first, plm, last = (next(n for n in folders if n.endswith(end)) for end in ("SAM", "+PLM", "+PMM"))
    show = Predictions(base, segmenters, held_out, [CLASS], store=store)
    panels = {name: scores[name] for name in (first, plm, last)}
    before, after = (figures["methods"][name] for name in (first, last))
    sections = [
        report.headline(
            scores,
            "“+ refinement”: outlines refined by the PMM at test time; not used in the tables of the paper.",
        ),
        show.overlays(panels),
        show.iou_map(scores[last], [first, last]),
        show.refinement(scores[last], last),
        report.curves({name: history_of(folder) for name, folder in folders.items() if folder is not None}),
        report.parameter_table(figures["parameters"]),
        report.settings(
            "Settings",
            {
                "base": f"{base.name}, fingerprint {base.fingerprint}, model frame {base.size} px",
                "images": figures["data"]["images"],
                "masks": {side: sum(v.values()) for side, v in figures["data"]["masks"].items()},
                "image size (height, width)": figures["data"]["size"],
                "seed": seed,
                "versions": figures["versions"],
            },
            {"held-out images": figures["ids"], **figures["settings"]},
        ),
    ]
    lead = (
        f"Synthetic outdoor banners, one click each, frozen base model “{base.name}”: mIoU {100 * before['miou']:.1f} "
        f"before and {100 * after['miou']:.1f} after the fit, on {counted(after['masks'], 'banner')} in "
        f"{counted(after['images'], 'test image')}."
    )
    report.write_page(path, "samtailor demo", lead, sections)


__all__ = ["Demo", "demo"]
