"""What stands in a row of a comparison: a method around the frozen base, or a baseline. One face for both.

A row is a `FitConfig` whose `method` is a file of `samtailor.methods` or of `compare.baselines`. Of its settings a
baseline takes options, steps, epochs, seed and classes; its learning rate is an option of its own.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.compare import baselines
from samtailor.compare.baselines._artefact import METADATA as BASELINE
from samtailor.compare.baselines._artefact import read_meta as read_baseline
from samtailor.compare.cost import Cost, Meter
from samtailor.data.listing import read_json
from samtailor.data.writing import write_json
from samtailor.errors import InputError
from samtailor.fitting import fit
from samtailor.fitting.folder import CONFIG, HISTORY
from samtailor.registry import find, names
from samtailor.train.config import FitConfig, resolve

if TYPE_CHECKING:
    import torch

    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.structures import Sample
    from samtailor.train.progress import Progress

KINDS = ("methods", "baselines")
SETTINGS = "settings.json"
"""Of a baseline's fit, beside it: a comparison that goes on with other settings is refused."""


@dataclass(frozen=True)
class Entry:
    """A row, looked at before anything is fitted.

    Args:
        config: settings of its fit; resolved, where it is a method.
        kind: "methods" or "baselines".
        learns: numbers that learn; 0: nothing is fitted.
        encoder_cached: whether its fit runs on cached embeddings.
        regions: it answers one region an image and class.
        weights: where a baseline's backbone starts; None for a method.
    """

    config: FitConfig
    kind: str
    learns: int
    encoder_cached: bool
    regions: bool
    weights: str | None = None

    @property
    def folder(self) -> Path | None:
        """Of its fit; None where nothing is fitted."""
        return self.config.out if self.learns else None

    @property
    def finished(self) -> bool:
        """Whether its fit is there."""
        end = artefact.METADATA if self.kind == "methods" else BASELINE
        return self.folder is not None and (self.folder / end).exists()

    @property
    def kept_step(self) -> int | None:
        """Step after which the state was reached that the finished fit kept; None where nothing chose among states."""
        read = artefact.read_meta if self.kind == "methods" else read_baseline
        figures = read(self.folder).figures
        return figures["best_step"] if figures.get("held_out_miou") is not None else None


def kind_of(name: str) -> str:
    """ "methods" or "baselines", whichever has the name.

    Raises:
        InputError: neither has, with what there is and the closest one.
    """
    wanted = name.strip().lower().replace("_", "-")
    known = {one: kind for kind in KINDS for one in names(kind)}
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        lists = "; ".join(f"{kind} {', '.join(names(kind))}" for kind in KINDS)
        raise InputError(f"There is no method and no baseline {name!r}. Known: {lists}.{hint}")
    return known[wanted]


def contender(config: FitConfig, base: Base, classes: Sequence[str]) -> Entry:
    """Build a row once, so that a mistake in its settings is told before hours of fits.

    Args:
        config: its settings.
        base: the base.
        classes: that one fit of it is for.

    Raises:
        InputError: an unknown name or option, or several classes for a method that answers one.
        BaseUnavailableError: weights of a baseline that cannot be had.
    """
    if kind_of(config.method) == "baselines":
        made = _baseline(config, classes)
        return Entry(config, "baselines", made.parameters_by_use()["trained"], False, True, made.weights)
    config, module = resolve(config), find("methods", config.method)
    segmenter = module.build(base, **config.options)[0]
    learns = sum(p.numel() for group in segmenter.groups.values() for p in group)
    regions = getattr(module, "REGIONS", False)
    if regions and len(classes) > 1:
        raise InputError(
            f"{config.method} segments one class, and there are {', '.join(classes)}. "
            "Choose one with classes (--classes), or fit one adapter for each with per_class (--per-class)."
        )
    if learns:
        find("prompts", config.prompt).build(**config.prompt_options)
    return Entry(config, "methods", learns, segmenter.encoder_frozen, regions)


def fit_contender(
    row: Entry,
    samples: Sequence[Sample],
    split: Split,
    base: Base,
    store: EmbeddingCache | None,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Path:
    """Fit it into its folder and measure what that costs; a finished one is not repeated, a stopped method goes on.

    Raises:
        InputError: the folder holds a fit with other settings or of other images.
        Interrupted: stopped; a method has saved, a baseline starts anew.
    """
    _refuse_other_images(row, split)
    if row.finished and row.kind == "methods":
        return fit(row.config, base=base, samples=samples, resume=True).folder
    if row.finished:
        _refuse_other_settings(row)
        return row.folder
    images = [*split.pick(samples, "train"), *split.pick(samples, "val")]
    device = next(base.model.parameters()).device
    encoding, earlier = _Encoding(progress), Cost.read(row.folder)
    if row.encoder_cached:
        per_image = _seconds_an_image(base, images[0])
    meter = Meter(device)
    try:
        with meter:
            if row.kind == "methods":
                asked = {"samples": samples, "base": base, "split": split, "store": store, "stop": stop}
                fit(row.config, resume=True, progress=encoding, **asked)
            else:
                _fit_baseline(row, images, split, samples, device, progress, stop)
    finally:
        import torch

        cost = Cost(
            parameters=row.learns,
            seconds=meter.seconds - encoding.seconds,
            encode_seconds=len(images) * per_image if row.encoder_cached else 0.0,
            peak_memory_mib=meter.mib,
            encoder_cached=row.encoder_cached,
            cpu_seconds=max(0.0, meter.cpu_seconds - encoding.cpu_seconds),
            threads=torch.get_num_threads(),
        ).after(earlier)
        if (row.folder / CONFIG).exists() or row.finished:  # a fit that never began leaves nothing behind
            cost.write(row.folder)
    return row.folder


class _Encoding:
    """Passes progress on and adds up the seconds that went into encoding images."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.seconds, self.cpu_seconds, self._progress = 0.0, 0.0, progress
        self._cpu = time.process_time()

    def __call__(self, update: Progress) -> None:
        if update.stage == "encode" and update.images_per_second:
            self.seconds = update.done / update.images_per_second
            self.cpu_seconds = time.process_time() - self._cpu  # with the opening of the fit, which is little
        if self._progress is not None:
            self._progress(update)


_measured: dict[tuple[str, str], float] = {}


def _seconds_an_image(base: Base, sample: Sample) -> float:
    """Seconds that the base takes to encode one image, measured once in a process."""
    import torch

    from samtailor.data.transform import Frame

    device = next(base.model.parameters()).device
    key = (base.fingerprint, str(device))
    if key not in _measured:
        image, seconds = sample.image, []
        for _ in range(2):  # the first pass of a network also sets up what later ones find
            start = time.monotonic()
            with torch.inference_mode():
                pixels = Frame.of(base, *image.shape[:2]).image(image, base)[None].to(device)
                base.encode_image(pixels).main.float().sum().item()
            seconds.append(time.monotonic() - start)
        _measured[key] = min(seconds)
    return _measured[key]


def _baseline(config: FitConfig, classes: Sequence[str]) -> baselines.Baseline:
    options = {"seed": config.seed} | config.options
    return find("baselines", config.method).build(len(classes), **options)


def _fit_baseline(
    row: Entry,
    images: Sequence[Sample],
    split: Split,
    samples: Sequence[Sample],
    device: torch.device,
    progress: Callable[[Progress], None] | None,
    stop: Callable[[], bool] | None,
) -> None:
    from samtailor.train.interrupt import Interrupted

    def told(update: Progress) -> None:
        if progress is not None:
            progress(update)
        if stop is not None and stop():
            raise Interrupted(f"Stopped after step {update.done} of {update.total}; {row.config.method} starts anew.")

    config, classes = row.config, row.config.classes
    made = _baseline(config, classes)
    given = {name: getattr(config, name) for name in ("steps", "epochs") if name in config.model_fields_set}
    train, held_out = split.pick(samples, "train"), split.pick(samples, "val")
    done = made.fit(train, held_out, classes, seed=config.seed, device=device, progress=told, **given)
    history = {
        "train": [{"step": h["step"], "loss": h["loss"]} for h in done.history if h["loss"] is not None],
        "held_out": [{"step": h["step"], "miou": h["miou"]} for h in done.history if h["miou"] is not None],
    }
    write_json(row.folder / SETTINGS, _settings(config))
    write_json(row.folder / HISTORY, history)
    split.write(row.folder / artefact.SPLIT)
    baselines.save(row.folder, made, {"held_out_miou": done.best_miou, "best_step": done.best_step})


def _settings(config: FitConfig) -> dict[str, Any]:
    asked = ("method", "options", "steps", "epochs", "seed", "classes")
    return {name: config.to_dict()[name] for name in asked if name in config.model_fields_set}


def _refuse_other_settings(row: Entry) -> None:
    before, now = read_json(row.folder / SETTINGS), _settings(row.config)
    differing = [name for name in {*before, *now} if before.get(name) != now.get(name)]
    if differing:
        raise InputError(
            f"The fit in {row.folder} was made with another {' and '.join(sorted(differing))}. "
            "Give the same settings, or another --out."
        )


def _refuse_other_images(row: Entry, split: Split) -> None:
    file = row.folder / artefact.SPLIT
    if not file.exists():
        return
    before = split.read(file)
    if set(before.train) != set(split.train) or set(before.val) != set(split.val):
        raise InputError(
            f"The fit in {row.folder} is of other images than would be dealt now: the data, or the settings that "
            "deal them, have changed. Give the same ones, or another --out."
        )


__all__ = ["KINDS", "Entry", "contender", "fit_contender", "kind_of"]
