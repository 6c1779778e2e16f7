"""The main job in small, offline: banners from a seed, three fits on the bundled base, one table, one report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from samtailor.report.page import Show, history_of
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
    """What came out: figures (what stands in report.json), and the page."""

    figures: dict[str, Any]
    page: Path


def demo(
    out: Path,
    *,
    base: str = "nano",
    seed: int = 0,
    steps: int = STEPS,
    train: int = TRAIN,
    test: int = TEST,
    device: str | None = None,
    workers: int = 1,
    watch: Watch | None = None,
) -> Demo:
    """Draw banners, fit SAM-F, PLM and PLM+PMM, evaluate them beside SAM, write OUT/report.html and OUT/report.json.

    Started again with the same settings it goes on where it was stopped.

    Args:
        out: folder; images in OUT/data, adapters in OUT/fits.
        base: base model.
        seed: of images, split, start, order and clicks.
        steps: updates of PLM and PLM+PMM; SAM-F has five for every six of them, at most the 1000 of its paper.
        train, test: number of images; of the first a share chooses the best state.
        device: None takes a GPU where there is one.
        workers: processes that draw, encode and fit.
        watch: called with (what is going on, progress).

    Raises:
        InputError: the folder holds a demo with other images.
    """
    out = Path(out)
    _draw(out / "data", seed, train, test, workers, watch)
    samples, held_out = (open_dataset(out / "data" / part) for part in ("train", "test"))
    loaded, store = load_on(base, device), EmbeddingCache(out / "embeddings")
    runs = variants(load(None, {"base": base, "trackers": ()}), METHODS)
    # SAM-F's two weights stand still after a hundred of the thousand iterations of its paper; those take 1,200 steps
    lengths = {"sam-f": min(1000, round(500 * steps / STEPS)), "plm": steps, "plm-pmm": steps}
    # one view of each: banners are many, and eight would be three minutes of encoding
    runs = {n: c.model_copy(update={"steps": lengths.get(c.method, c.steps), "views": 1}) for n, c in runs.items()}
    found = compare(
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
        "methods": found.summary(),
        "parameters": parameters(loaded),
        "settings": {name: config.to_dict() for name, config in runs.items()},
        "base": {"name": loaded.name, "fingerprint": loaded.fingerprint},
        "data": read_json(out / "data" / "dataset.json"),
        "ids": list(found.held_out[seed]),
        "versions": report.versions(),
    }
    write_json(out / "report.json", figures)
    _page(out / "report.html", found, loaded, held_out, store, seed, figures)
    return Demo(figures, out / "report.html")


def _draw(folder: Path, seed: int, train: int, test: int, workers: int, watch: Watch | None) -> None:
    about = folder / "dataset.json"
    if about.is_file():
        made = read_json(about)
        if (made["seed"], made["images"]) != (seed, {"train": train, "test": test}):
            raise InputError(f"{folder.parent} holds a demo of other images. Choose another --out, or remove it.")
        return
    tell = None if watch is None else (lambda done, total: watch("images", Progress("draw", done, total)))
    size = {"count": train, "test": test, "size": SIZE}
    build_dataset(folder, kind="banners", seed=seed, workers=workers, progress=tell, **size)


def _page(
    path: Path,
    found: Comparison,
    base: Base,
    held_out: list[Sample],
    store: EmbeddingCache,
    seed: int,
    figures: dict[str, Any],
) -> None:
    folders = {key.split("/")[0]: folder for key, folder in found.folders.items()}
    segmenters = {n: base if f is None else artefact.load(f, base).segmenter for n, f in folders.items()}
    scores = found.pooled()
    first, plm, last = (next(n for n in folders if n.endswith(end)) for end in ("SAM", "+PLM", "+PMM"))
    show = Show(base, segmenters, held_out, [CLASS], store=store)
    panels = {name: scores[name] for name in (first, plm, last)}
    before, after = (figures["methods"][name] for name in (first, last))
    sections = [
        report.headline(scores, "“+ refinement” moves the outline by the PMM at test time; the paper's tables do not."),
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
        f"Synthetic outdoor banners, one click each, on the frozen base “{base.name}”: mIoU {100 * before['miou']:.1f} "
        f"before, {100 * after['miou']:.1f} after the fit, on {counted(after['masks'], 'banner')} in "
        f"{counted(after['images'], 'image')} that no fit has seen."
    )
    report.write_page(path, "samtailor demo", lead, sections)


__all__ = ["Demo", "demo"]
