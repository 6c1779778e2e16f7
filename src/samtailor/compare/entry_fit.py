"""Fit a row of a comparison into its folder, and measure what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.compare import baselines
from samtailor.compare.cost import Cost, Meter
from samtailor.compare.entries import Entry, build_baseline
from samtailor.data.listing import read_json
from samtailor.data.writing import write_json
from samtailor.errors import InputError
from samtailor.fitting import fit
from samtailor.fitting.folder import CONFIG, HISTORY
from samtailor.registry import find, options
from samtailor.train.config import FitConfig

if TYPE_CHECKING:
    import torch

    from samtailor.bases import Base
    from samtailor.bases.companions import Companion
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.structures import Sample
    from samtailor.train.progress import Progress

SETTINGS = "settings.json"
"""Settings of the fit of a baseline, in its folder; a comparison with other settings is refused."""


def fit_entry(
    row: Entry,
    samples: Sequence[Sample],
    split: Split,
    base: Base,
    store: EmbeddingCache | None,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Path:
    """Fit a row into its folder and measure the cost. A finished fit is not repeated, an interrupted one is resumed.

    Raises:
        InputError: the folder contains a fit with other settings or of other images.
        Interrupted: stopped; a method has saved a checkpoint, a baseline starts again.
    """
    out = row.output
    _refuse_other_images(out, split)
    if row.finished and row.kind == "methods":
        return fit(row.config, base=base, samples=samples, resume=True).folder
    if row.finished:
        _refuse_other_settings(row)
        return out
    images = [*split.pick(samples, "train"), *split.pick(samples, "val")]
    device = next(base.model.parameters()).device
    encoding, earlier = _EncodingTime(progress), Cost.read(out)
    encode_seconds = (
        len(images) * _seconds_per_image(base, images[0], _companion(row, base)) if row.encoder_cached else 0.0
    )
    meter = Meter(device)
    try:
        with meter:
            if row.kind == "methods":
                fit(
                    row.config,
                    samples=samples,
                    base=base,
                    split=split,
                    store=store,
                    resume=True,
                    progress=encoding,
                    stop=stop,
                )
            else:
                _fit_baseline(row, split, samples, device, progress, stop)
    finally:
        import torch

        cost = Cost(
            parameters=row.learns,
            seconds=meter.seconds - encoding.seconds,
            encode_seconds=encode_seconds,
            peak_memory_mib=meter.mib,
            encoder_cached=row.encoder_cached,
            cpu_seconds=max(0.0, meter.cpu_seconds - encoding.cpu_seconds),
            threads=torch.get_num_threads(),
        ).after(earlier)
        if (out / CONFIG).exists() or row.finished:  # a fit that never started leaves nothing behind
            cost.write(out)
    return out


class _EncodingTime:
    """Forwards progress and measures the seconds spent on encoding images."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.seconds, self.cpu_seconds, self._progress = 0.0, 0.0, progress
        self._cpu = time.process_time()

    def __call__(self, update: Progress) -> None:
        if update.stage == "encode" and update.images_per_second:
            self.seconds = update.done / update.images_per_second
            self.cpu_seconds = time.process_time() - self._cpu  # includes the short start of the fit
        if self._progress is not None:
            self._progress(update)


_measured: dict[tuple[str, str | None, str], float] = {}


def _companion(row: Entry, base: Base) -> Companion | None:
    """The companion of an entry's method."""
    from samtailor.bases.companions import NONE, load_companion

    if row.kind != "methods":
        return None
    known = options(find("methods", row.config.method).build) | row.config.options
    return load_companion(known.get("companion", NONE), next(base.model.parameters()).device, base)


def _seconds_per_image(base: Base, sample: Sample, companion: Companion | None = None) -> float:
    """Seconds that the base, and the companion, take to encode one image, measured once per process."""
    import torch

    from samtailor.bases.companions import companion_maps
    from samtailor.data.transform import Frame

    device = next(base.model.parameters()).device
    key = (base.fingerprint, None if companion is None else companion.fingerprint, str(device))
    if key not in _measured:
        image, seconds = sample.image, []
        for _ in range(2):  # the first pass of a network includes one-time set-up
            start = time.monotonic()
            with torch.inference_mode():
                pixels = Frame.of(base, *image.shape[:2]).image(image, base)[None].to(device)
                base.encode_image(pixels).main.float().sum().item()
                if companion is not None:
                    companion_maps(companion, base, pixels)[-1].float().sum().item()
            seconds.append(time.monotonic() - start)
        _measured[key] = min(seconds)
    return _measured[key]


def _fit_baseline(
    row: Entry,
    split: Split,
    samples: Sequence[Sample],
    device: torch.device,
    progress: Callable[[Progress], None] | None,
    stop: Callable[[], bool] | None,
) -> None:
    from samtailor.train.interrupt import Interrupted

    def report(update: Progress) -> None:
        if progress is not None:
            progress(update)
        if stop is not None and stop():
            raise Interrupted(
                f"Stopped after step {update.done} of {update.total}. {row.config.method} starts again next time."
            )

    config, classes, out = row.config, row.config.classes or (), row.output
    baseline = build_baseline(config, classes)
    given = {name: getattr(config, name) for name in ("steps", "epochs") if name in config.model_fields_set}
    train, held_out = split.pick(samples, "train"), split.pick(samples, "val")
    result = baseline.fit(train, held_out, classes, seed=config.seed, device=device, progress=report, **given)
    history = {
        "train": [{"step": h["step"], "loss": h["loss"]} for h in result.history if h["loss"] is not None],
        "held_out": [{"step": h["step"], "miou": h["miou"]} for h in result.history if h["miou"] is not None],
    }
    write_json(out / SETTINGS, _settings(config))
    write_json(out / HISTORY, history)
    split.write(out / artefact.SPLIT)
    baselines.save(out, baseline, {"held_out_miou": result.best_miou, "best_step": result.best_step})


def _settings(config: FitConfig) -> dict[str, Any]:
    used = ("method", "options", "steps", "epochs", "seed", "classes")
    return {name: config.to_dict()[name] for name in used if name in config.model_fields_set}


def _refuse_other_settings(row: Entry) -> None:
    before, now = read_json(row.output / SETTINGS), _settings(row.config)
    differing = [name for name in {*before, *now} if before.get(name) != now.get(name)]
    if differing:
        raise InputError(
            f"The fit in {row.output} was made with another {' and '.join(sorted(differing))}. "
            "Use the same settings, or another --out."
        )


def _refuse_other_images(out: Path, split: Split) -> None:
    file = out / artefact.SPLIT
    if not file.exists():
        return
    before = split.read(file)
    if set(before.train) != set(split.train) or set(before.val) != set(split.val):
        raise InputError(
            f"The fit in {out} was made with other images: the data, or the settings that split them, have changed. "
            "Use the same data and settings, or another --out."
        )


__all__ = ["SETTINGS", "fit_entry"]
