"""The banners of `samtailor demo`: synthetic images, three methods of the paper, one click for each banner."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from samtailor import artefact, report
from samtailor.cli.demo_scenario import Scenario, Setup
from samtailor.compare import Comparison, compare, parameters, variants
from samtailor.data.dataset import open_dataset
from samtailor.data.listing import read_json
from samtailor.data.synth.write import build_dataset
from samtailor.errors import InputError, counted
from samtailor.report.predictions import Predictions, history_of
from samtailor.structures import Sample
from samtailor.train.config import load
from samtailor.train.progress import Progress

METHODS = ("sam", "sam-f", "plm", "plm-pmm")
TRAIN, TEST, SIZE = 240, 200, (360, 480)
STEPS = 600
CLASS = "banner"


def banners(setup: Setup, *, train: int = TRAIN, test: int = TEST) -> Scenario:
    """Draw banners, fit SAM-F, PLM and PLM+PMM, and compare them with SAM.

    The images are in OUT/data, the adapters in OUT/fits. PLM and PLM+PMM have `setup.steps` steps, SAM-F five for six
    of them, at most the 1000 of its paper.

    Args:
        setup: where and how it runs.
        train, test: number of images; a part of the training images chooses the best state.

    Raises:
        InputError: the folder contains a demo with other images.
    """
    out, seed, steps = setup.out, setup.seed, setup.steps or STEPS
    _draw(setup, train, test)
    samples, held_out = (open_dataset(out / "data" / part) for part in ("train", "test"))
    runs = variants(load(None, {"base": setup.base.name, "trackers": ()}), METHODS)
    # SAM-F converges after a hundred of the thousand iterations of its paper
    lengths = {"sam-f": min(1000, round(500 * steps / STEPS)), "plm": steps, "plm-pmm": steps}
    # no augmentation: there are many images, and eight views would take three minutes to encode
    runs = {n: c.model_copy(update={"steps": lengths.get(c.method, c.steps), "views": 1}) for n, c in runs.items()}
    comparison = compare(
        runs,
        out,
        setup.base,
        samples,
        held_out,
        seeds=[seed],
        classes=[CLASS],
        refine=True,
        store=setup.store,
        workers=setup.workers,
        watch=setup.watch,
    )
    figures = {
        "methods": comparison.summary(),
        "parameters": parameters(setup.base),
        "settings": {name: config.to_dict() for name, config in runs.items()},
        "data": read_json(out / "data" / "dataset.json"),
        "ids": list(comparison.held_out[seed]),
    }
    return Scenario(figures, _lead(comparison, figures), _sections(setup, comparison, held_out, figures))


def refuse_other_images(out: Path, seed: int, train: int = TRAIN, test: int = TEST) -> bool:
    """Whether the images of a demo with this seed and these numbers are in the folder.

    Raises:
        InputError: it contains others.
    """
    about = out / "data" / "dataset.json"
    if not about.is_file():
        return False
    made = read_json(about)
    if (made["seed"], made["images"]) != (seed, {"train": train, "test": test}):
        raise InputError(f"{out} contains a demo with other images. Choose another --out, or remove it.")
    return True


def _draw(setup: Setup, train: int, test: int) -> None:
    if refuse_other_images(setup.out, setup.seed, train, test):
        return
    progress = None if setup.watch is None else partial(_drawn, setup.watch)
    build_dataset(
        setup.out / "data",
        kind="banners",
        count=train,
        test=test,
        size=SIZE,
        seed=setup.seed,
        workers=setup.workers,
        progress=progress,
    )


def _drawn(watch: Callable[[str, Progress], None], done: int, total: int) -> None:
    watch("Banners", Progress("draw", done, total))


def _names(comparison: Comparison) -> tuple[str, str, str]:
    """Names of SAM, SAM+PLM and SAM+PLM+PMM."""
    names = [key.split("/")[0] for key in comparison.folders]
    first, plm, last = (next(n for n in names if n.endswith(end)) for end in ("SAM", "+PLM", "+PMM"))
    return first, plm, last


def _sections(
    setup: Setup, comparison: Comparison, held_out: list[Sample], figures: dict[str, Any]
) -> list[report.Section | None]:
    base = setup.base
    folders = {key.split("/")[0]: folder for key, folder in comparison.folders.items()}
    segmenters = {n: base if f is None else artefact.load(f, base).segmenter for n, f in folders.items()}
    scores = comparison.pooled()
    first, plm, last = _names(comparison)
    show = Predictions(base, segmenters, held_out, [CLASS], store=setup.store)
    return [
        report.headline(
            scores,
            "“+ refinement”: outlines refined by the PMM at test time; not used in the tables of the paper.",
        ),
        show.overlays({name: scores[name] for name in (first, plm, last)}),
        show.iou_map(scores[last], [first, last]),
        show.refinement(scores[last], last),
        report.curves({name: history_of(folder) for name, folder in folders.items() if folder is not None}),
        report.parameter_table(figures["parameters"]),
        report.settings(
            "Settings of the banners",
            {
                "images": figures["data"]["images"],
                "masks": {side: sum(v.values()) for side, v in figures["data"]["masks"].items()},
                "image size (height, width)": figures["data"]["size"],
            },
            {"held-out images": figures["ids"], **figures["settings"]},
        ),
    ]


def _lead(comparison: Comparison, figures: dict[str, Any]) -> str:
    first, _, last = _names(comparison)
    before, after = (figures["methods"][name] for name in (first, last))
    return (
        f"Synthetic outdoor banners, one click each: mIoU {100 * before['miou']:.1f} before and "
        f"{100 * after['miou']:.1f} after the fit, on {counted(after['masks'], 'banner')} in "
        f"{counted(after['images'], 'test image')}."
    )


__all__ = ["banners", "refuse_other_images"]
