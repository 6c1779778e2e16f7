"""Fit an adapter: data, split, embeddings, method, loop, artefact.

OUT/config.yaml and OUT/split.json come first, OUT/checkpoint.safetensors during the fit, the adapter's three files
last: a folder with adapter.json is finished, one without can be resumed.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.config import FitConfig, changed, load, resolve
from samtailor.errors import DataError, InputError
from samtailor.registry import find

if TYPE_CHECKING:
    from accelerate import Accelerator

    from samtailor.bases import Base
    from samtailor.data.augment import Augment
    from samtailor.data.split import Split
    from samtailor.embeddings import EmbeddingStore
    from samtailor.segmenter import Segmenter
    from samtailor.train.checkpoint import State
    from samtailor.train.feed import Feed
    from samtailor.train.progress import Progress
    from samtailor.types import Sample

CONFIG, CHECKPOINT, HISTORY = "config.yaml", "checkpoint.safetensors", "history.json"
_CLICKS = ("sampled-click", "mask-center", "file")
"""Adapters fitted with these are judged by the single-click protocol, with others as they are fitted."""
_log = logging.getLogger("samtailor.fit")


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves.

    Args:
        folder: the artefact; with `per_class` the folder of all of them.
        config: resolved.
        figures: "held_out_miou", "held_out_oracle_miou" and "best_step" of the exported state, "start_miou" and
            "start_oracle_miou" of the state before the first step (the base itself, for methods that start at it);
            empty without held-out pictures. With two levels also "selection": on what the state was chosen,
            "held-out" pictures or D2 ("paper").
        history: "train" and "held_out", lists of dicts with "step".
        parts: results by class, with `per_class`.
    """

    folder: Path
    config: FitConfig
    figures: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    parts: dict[str, FitResult] = field(default_factory=dict)


def fit(
    config: FitConfig,
    *,
    samples: Sequence[Sample] | None = None,
    base: Base | None = None,
    split: Split | None = None,
    store: EmbeddingStore | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Fit one adapter, or one for each class.

    Args:
        config: `data` and `out` are needed unless `samples` are given (`out` always).
        samples: pictures instead of `config.data`.
        base: a loaded base instead of `config.base`.
        split: instead of one made from the config (`shots` are then picked from its train part).
        store: embeddings; None opens `config.cache`.
        resume: go on where a fit into the same folder stopped; a finished one is returned as it is.
        overwrite: throw away an earlier fit in that folder.
        progress: called with a `train.progress.Progress`.
        stop: polled after each step; True saves and raises `train.interrupt.Interrupted`, as Ctrl-C does.

    Raises:
        InputError: the folder is in use, an unknown setting, class or method, or a resumed fit with other settings.
        DataError: the data cannot be read, or hold nothing to train on.
        ArtefactError: a checkpoint cannot be resumed from.
        Interrupted: stopped on request, after saving.
    """
    config = resolve(config)
    out = _out(config)
    if config.per_class:
        _refuse_other_content(out)
    else:
        _prepare_folder(config, out, resume, overwrite)
        if resume and (out / artefact.METADATA).exists():
            return _finished(config, out)
    samples = _open(config) if samples is None else samples
    names = _classes(config, samples)
    if base is None:
        from samtailor.bases import load_base

        base = load_base(config.base)
    if store is None:
        from samtailor.embeddings import EmbeddingStore

        store = EmbeddingStore(config.cache, max_bytes=int(config.cache_gb * 1e9))
    if not config.per_class:
        samples = _regions(config, samples, names)
        from samtailor.train.denormals import flushed

        with flushed():
            return _Fit(config, out, samples, names, base, split, store, resume, progress, stop).run()
    if split is None:  # a common one, so that the held-out pictures of one class are held out for all
        from samtailor.data.split import split as make_split

        amounts = {"val": config.val, "test": config.test, "near_duplicates": config.near_duplicates}
        split = make_split(samples, classes=names, seed=config.seed, **amounts)
    parts: dict[str, FitResult] = {}
    for name, folder in _class_folders(out, names).items():
        one = config.model_copy(update={"classes": (name,), "out": folder, "per_class": False})
        told = None if progress is None else _named(progress, name)
        options = {"split": split, "store": store, "resume": resume, "overwrite": overwrite}
        parts[name] = fit(one, samples=samples, base=base, progress=told, stop=stop, **options)
    return FitResult(out, config, parts=parts)


@dataclass
class _Fit:
    """One adapter, from pictures to artefact."""

    config: FitConfig
    out: Path
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    base: Base
    split: Split | None
    store: EmbeddingStore
    resume: bool
    progress: Callable[[Progress], None] | None
    stop: Callable[[], bool] | None

    def run(self) -> FitResult:
        from samtailor.train import loop
        from samtailor.train.processes import make_accelerator, start_trackers

        accelerator = make_accelerator(self.config, self.out)
        self.base.model.to(accelerator.device)
        segmenter, step_class = self._build()
        segmenter.to(accelerator.device)
        optimizers = self._optimizers(segmenter)
        step = step_class(segmenter, {g: accelerator.prepare(o) for g, o in optimizers.items()}, accelerator)
        split = self._split()
        self._ask(segmenter)
        segmenter.alone = len(self.classes) == 1
        segmenter.single = all(len(one.of(self.classes)) <= 1 for one in split.pick(self.samples, "train"))
        feed, upper = self._training(split, segmenter, step.second, accelerator)
        held_out, selection = self._judges(split, segmenter, step.second == "halves", accelerator)
        if accelerator.is_main_process:  # not earlier: a mistake in the settings leaves no folder behind
            self._begin(split)
        accelerator.wait_for_everyone()
        start_trackers(accelerator, self.config)
        if segmenter.encoder_frozen:
            self._encode(feed, upper, held_out, accelerator)
        state = loop.run(
            segmenter,
            step,
            optimizers,
            feed,
            held_out,
            self.config.model_copy(update={"steps": self._steps(feed) if optimizers else 0}),
            accelerator,
            file=self.out / CHECKPOINT,
            resume=self.resume,
            progress=self.progress,
            stop=self.stop,
            upper=upper,
            regions=self._region_feed(split.pick(self.samples, "val"))
            if held_out and step.second == "regions"
            else None,
        )
        for tracker in accelerator.trackers:
            tracker.finish()
        figures = _figures(state)
        if figures and step.second == "halves":
            figures["selection"] = selection
        if accelerator.is_main_process:
            self._export(segmenter.eval(), state, figures)
        accelerator.wait_for_everyone()
        return FitResult(self.out, self.config, figures, state.history)

    def _split(self) -> Split:
        """The one of the fit that is resumed, the one given, or a new one; few shots are picked from its train part."""
        from samtailor.data.split import Split, shots, split

        config, file = self.config, self.out / artefact.SPLIT
        if self.resume and file.exists():
            return Split.read(file)
        made = self.split or split(
            self.samples,
            val=config.val,
            test=config.test,
            seed=config.seed,
            classes=self.classes,
            near_duplicates=config.near_duplicates,
        )
        for notice in made.notices:
            _log.warning("%s", notice)
        if config.shots is None:
            return made
        groups = {id: members[0] for members in made.groups for id in members}
        pool = made.pick(self.samples, "train")
        picked = tuple(s.id for s in shots(pool, config.shots, config.seed, classes=self.classes, groups=groups))
        return replace(made, train=picked, unused=(*made.unused, *(id for id in made.train if id not in set(picked))))

    def _begin(self, split: Split) -> None:
        """Settings and split, beside the result to come."""
        from samtailor.data.picture import replacing

        split.write(self.out / artefact.SPLIT)
        with replacing(self.out / CONFIG) as temporary:
            temporary.write_text(self.config.to_yaml(), encoding="utf-8")

    def _has_targets(self, split: Split, part: str) -> bool:
        found = any(sample.of(self.classes) for sample in split.pick(self.samples, part))
        return found

    def _build(self) -> tuple[Segmenter, Any]:
        """The method, started from the fit's seed whatever was drawn before."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return find("methods", self.config.method).build(self.base, **self.config.options)

    def _optimizers(self, segmenter: Segmenter) -> dict[str, Any]:
        import torch

        from samtailor.train.joint import decay_groups

        config, groups = self.config, {name: group for name, group in segmenter.groups.items() if group}
        if isinstance(config.lr, dict) and set(config.lr) != set(groups):
            raise InputError(f"lr has groups {sorted(config.lr)}, the method {config.method!r} has {sorted(groups)}.")
        # torch's own choice on a CPU is seven passes over every tensor; on a GPU it chooses well
        fused = True if all(p.device.type == "cpu" for group in groups.values() for p in group) else None
        return {
            name: torch.optim.AdamW(
                decay_groups(group, config.weight_decay, everything=config.decay_all), lr=1.0, fused=fused
            )
            for name, group in groups.items()
        }

    def _ask(self, segmenter: Segmenter) -> None:
        """Let the segmenter know how it will be asked: as it is fitted, where that is not with the usual click."""
        config = self.config
        asked_so = config.prompt not in _CLICKS or getattr(find("methods", config.method), "PROMPT", None) is not None
        if segmenter.prompt is None and asked_so:
            segmenter.prompt, segmenter.prompt_options = config.prompt, dict(config.prompt_options)

    def _training(
        self, split: Split, segmenter: Segmenter, second: str | None, accelerator: Accelerator
    ) -> tuple[Feed, Feed | None]:
        """Batches of the training pictures; for two levels of D1 and of D2, for a map also of the regions."""
        if second is None:
            return self._feed(split.pick(self.samples, "train"), segmenter, accelerator), None
        if second == "regions":
            train = split.pick(self.samples, "train")
            return self._feed(train, segmenter, accelerator), self._region_feed(train, accelerator)
        from samtailor.train.halves import halves, second_seed

        lower, upper = (replace(split, train=half) for half in halves(split.train, self.config.seed, split.groups))
        return (
            self._feed(lower.pick(self.samples, "train"), segmenter, accelerator),
            self._feed(upper.pick(self.samples, "train"), segmenter, accelerator, second_seed(self.config.seed)),
        )

    def _judges(
        self, split: Split, segmenter: Segmenter, bilevel: bool, accelerator: Accelerator
    ) -> tuple[Feed | None, str]:
        """Masks that choose the state to keep, and what that choice is called."""
        wanted = self.config.selection
        if wanted in ("auto", "held-out") and self._has_targets(split, "val"):
            return self._judge(split.pick(self.samples, "val"), segmenter), "held-out"
        if bilevel and wanted in ("auto", "paper"):
            from samtailor.train.halves import halves

            second = replace(split, train=halves(split.train, self.config.seed, split.groups)[1])
            return self._judge(second.pick(self.samples, "train"), segmenter), "paper"
        if wanted in ("held-out", "paper"):
            why = "there is no held-out mask" if wanted == "held-out" else "the method has no second level"
            raise InputError(f"selection: {wanted} is not possible, {why}. Take auto or last.")
        if wanted == "auto":
            _log.warning("No held-out mask of %s: the last state is kept, not the best.", ", ".join(self.classes))
        return None, "last"

    def _feed(
        self, samples: Sequence[Sample], segmenter: Segmenter, accelerator: Accelerator, seed: int | None = None
    ) -> Feed:
        """Batches to train on."""
        from samtailor.train.feed import Feed

        config = self.config
        return Feed(
            self.base,
            samples,
            self.classes,
            self.store,
            source=find("prompts", config.prompt).build(**config.prompt_options),
            augment=self._augment(),
            batch_size=config.batch_size,
            seed=config.seed if seed is None else seed,
            contours=segmenter.contour_points,
            shard=(accelerator.process_index, accelerator.num_processes),
            images=not segmenter.encoder_frozen,
        )

    def _region_feed(self, samples: Sequence[Sample], accelerator: Accelerator | None = None) -> Feed:
        """The region of the classes in each picture, without a prompt: to train on, or without accelerator to judge."""
        from samtailor.data.regions import foreground
        from samtailor.train.feed import Feed
        from samtailor.train.halves import second_seed

        asked: dict[str, Any] = {"batch_size": self.config.batch_size, "seed": second_seed(self.config.seed)}
        if accelerator is not None:
            asked |= {"augment": self._augment(), "shard": (accelerator.process_index, accelerator.num_processes)}
        regions = foreground(samples, self.classes)
        return Feed(self.base, regions, None, self.store, source=find("prompts", "none").build(), **asked)

    def _judge(self, samples: Sequence[Sample], segmenter: Segmenter) -> Feed:
        """Masks to validate on: as the segmenter is asked in use, untouched views."""
        from samtailor.train.feed import Feed

        source = find("prompts", segmenter.prompt or "mask-center").build(**segmenter.prompt_options)
        sizes = {"batch_size": self.config.batch_size, "seed": self.config.seed}
        images = not segmenter.encoder_frozen
        return Feed(self.base, samples, self.classes, self.store, source=source, images=images, **sizes)

    def _steps(self, feed: Feed) -> int:
        """Updates of the fit: as many as asked for, or what the epochs come to."""
        config = self.config
        if config.epochs is None:
            return config.steps
        return max(1, round(config.epochs * len(feed) / (feed.masks_per_step * config.accumulate)))

    def _augment(self) -> Augment:
        from samtailor.data.augment import Augment, flip_pairs
        from samtailor.data.dataset import class_names

        config, pairs = self.config, self.config.flip_pairs
        if pairs is None and config.views > 1 and config.flip:
            pairs = flip_pairs(class_names(self.samples))
        return Augment(config.views, config.flip and pairs is not None, pairs or (), config.crop, config.colour)

    def _encode(self, feed: Feed, upper: Feed | None, held_out: Feed | None, accelerator: Accelerator) -> None:
        """What the fit will look at, once and for all; each process its share."""
        from samtailor.train.progress import Progress

        batches = self._steps(feed) * self.config.accumulate
        training = (one.drawn(batches) for one in (feed, upper) if one is not None)
        judging = [held_out.pictures()] if held_out is not None else []
        jobs = list({(s.id, v.key): (s, v) for pictures in (*training, *judging) for s, v in pictures}.values())
        share = jobs[accelerator.process_index :: accelerator.num_processes]
        start = time.monotonic()

        def told(done: int, total: int) -> None:
            if self.progress is not None and accelerator.is_main_process:
                speed = done / max(time.monotonic() - start, 1e-9)
                self.progress(
                    Progress("encode", done, total, images_per_second=speed, seconds_left=(total - done) / speed)
                )

        if share:
            self.store.prepare(self.base, [s for s, _ in share], [v for _, v in share], progress=told)
        accelerator.wait_for_everyone()

    def _export(self, segmenter: Segmenter, state: State, figures: dict[str, Any]) -> None:
        from samtailor.data.picture import write_json

        meta = artefact.describe(
            segmenter,
            method=self.config.method,
            options=self.config.options,
            classes=self.classes,
            figures=figures,
            seed=self.config.seed,
            steps=state.step,
            split=artefact.SPLIT,
        )
        write_json(self.out / HISTORY, state.history)
        artefact.save(self.out, segmenter, meta)
        (self.out / CHECKPOINT).unlink(missing_ok=True)


def _regions(config: FitConfig, samples: Sequence[Sample], names: Sequence[str]) -> Sequence[Sample]:
    """For methods that answer one region a picture: the objects of a class joined.

    Raises:
        InputError: several classes, which such a method could not tell apart.
    """
    if not getattr(find("methods", config.method), "REGIONS", False):
        return samples
    if len(names) > 1:
        raise InputError(
            f"{config.method} segments one class, and there are {', '.join(names)}. "
            "Choose one with classes (--classes), or fit one adapter for each with per_class (--per-class)."
        )
    from samtailor.data.regions import regions

    return regions(samples, names)


def _out(config: FitConfig) -> Path:
    if config.out is None:
        raise InputError("A fit needs a folder for its result: out (--out).")
    return config.out


def _open(config: FitConfig) -> list[Sample]:
    from samtailor.data.dataset import open_dataset

    if config.data is None:
        raise InputError("A fit needs a data set: the folder `data`.")
    wanted = None if config.classes is None else list(config.classes)
    return open_dataset(config.data, format=config.format, classes=wanted, group=config.group, **config.data_options)


def _classes(config: FitConfig, samples: Sequence[Sample]) -> tuple[str, ...]:
    if config.classes is not None:
        return config.classes
    from samtailor.data.dataset import class_names

    names = tuple(class_names(samples))
    if not names:
        raise DataError(f"None of the {len(samples)} pictures has a mask.")
    return names


def _prepare_folder(config: FitConfig, out: Path, resume: bool, overwrite: bool) -> None:
    """Make sure that the folder is empty, or of this very fit.

    In a launch of several processes only the first looks: the others would find what it has written.
    """
    if int(os.environ.get("RANK", "0")) != 0:
        return
    _refuse_other_content(out)
    if not (out / CONFIG).exists():
        return
    if resume:
        before = load(out / CONFIG)
        if differing := changed(config, before):
            raise InputError(
                f"The fit in {out} was started with other settings, so it cannot be resumed with these: "
                f"{'; '.join(differing)}. Give the same settings, another folder, or --overwrite."
            )
    elif overwrite:
        for name in (artefact.METADATA, artefact.TENSORS, artefact.CARD, artefact.SPLIT, CHECKPOINT, HISTORY, CONFIG):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / "logs", ignore_errors=True)
    else:
        what = "finished" if (out / artefact.METADATA).exists() else "unfinished"
        raise InputError(
            f"{out} holds a {what} fit. Go on with --resume, replace it with --overwrite, or choose another."
        )


def _refuse_other_content(out: Path) -> None:
    """A folder with something else in it is not ours to write to."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a fit writes into a folder.")
    content = sorted(out.iterdir()) if out.is_dir() else []
    if content and not any((folder / CONFIG).exists() for folder in (out, *content)):
        names = ", ".join(f.name for f in content[:3])
        raise InputError(f"{out} is not empty and holds no fit ({names}{', ...' if content[3:] else ''}).")


def _finished(config: FitConfig, out: Path) -> FitResult:
    import json

    meta = artefact.read_meta(out)
    return FitResult(out, config, meta.figures, json.loads((out / HISTORY).read_text(encoding="utf-8")))


def _figures(state: State) -> dict[str, Any]:
    held_out = state.history["held_out"]
    if not held_out:
        return {}
    first, best = held_out[0], next(entry for entry in held_out if entry["step"] == state.best_step)
    regions = {"held_out_region_miou": best["region_miou"]} if "region_miou" in best else {}
    return regions | {
        "held_out_miou": best["miou"],
        "held_out_oracle_miou": best["oracle_miou"],
        "best_step": best["step"],
        "start_miou": first["miou"],
        "start_oracle_miou": first["oracle_miou"],
    }


def _class_folders(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """OUT/CLASS, with what file systems do not take replaced."""
    safe = {name: "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ") or "_" for name in names}
    if len({folder.lower() for folder in safe.values()}) != len(safe):
        raise InputError(f"The classes {', '.join(names)} do not make different folder names; fit them one by one.")
    return {name: out / folder for name, folder in safe.items()}


def _named(progress: Callable[[Progress], None], name: str) -> Callable[[Progress], None]:
    return lambda update: progress(replace(update, name=name))


__all__ = ["FitResult", "fit"]
