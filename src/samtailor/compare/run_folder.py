"""The folder of a finished comparison, recipe or fit, read again: settings, held-out images, fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.compare.predicted import Predictions, Row, rows_of
from samtailor.data.dataset import class_names, open_dataset
from samtailor.data.listing import read_json
from samtailor.errors import InputError
from samtailor.fitting.folder import CONFIG, HISTORY, SNAPSHOTS
from samtailor.train.config import load, resolve

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.structures import Sample

COMPARISON = "compare.json"


@dataclass(frozen=True)
class RunFolder:
    """A finished run.

    Args:
        folder: of the run.
        content: its JSON file; for a fit, the same keys.
        data: folder of the data set, instead of the one that the run names.
        shots: number of shots; None: the largest of the run.
        seed: seed of the fits; None: the first of the run.
        device: of the base; None: a GPU if there is one.
        store: cached embeddings.
    """

    folder: Path
    content: Mapping[str, Any] = field(repr=False)
    data: Path | None = None
    shots: int | None = None
    seed: int | None = None
    device: str | None = None
    store: EmbeddingCache | None = None

    @classmethod
    def read(cls, folder: Path, **options: Any) -> RunFolder:
        """Read the folder of `compare`, `recipe` or `fit`; `options` are the other fields.

        Raises:
            InputError: it holds no finished run, or one of an earlier version.
        """
        if (folder / artefact.METADATA).is_file() and (folder / CONFIG).is_file():
            return cls(folder, _of_fit(folder), **options)
        files = [folder / COMPARISON, *sorted(folder.glob("*.json"))]
        for file in files:
            if file.is_file() and isinstance(content := read_json(file), dict) and "folders" in content:
                return cls(folder, content, **options)
        parts = [part for part in sorted(folder.glob("*/")) if _has_run(part)]
        hint = f" It has the runs {', '.join(map(str, parts))}; give one of them." if parts else ""
        raise InputError(
            f"{folder} is not the folder of a finished run of this version. Expected what `samtailor compare`, "
            f"`recipe` or `fit` wrote to --out.{hint}"
        )

    @property
    def name(self) -> str:
        """Name of the run, for titles."""
        return str(self.content.get("recipe") or self.folder.name)

    @property
    def titles(self) -> list[str]:
        """Titles of the rows."""
        return list(self.content["entries"])

    @property
    def of_seed(self) -> int:
        """The seed of the fits that are shown.

        Raises:
            InputError: the run has no such seed.
        """
        seeds = list(self.content["seeds"])
        if self.seed is not None and self.seed not in seeds:
            raise InputError(f"{self.folder} has the seeds {', '.join(map(str, seeds))}, not {self.seed}.")
        return seeds[0] if self.seed is None else self.seed

    @property
    def of_shots(self) -> int | None:
        """The number of shots of the fits that are shown.

        Raises:
            InputError: the run has no such number.
        """
        known = self.content["shots"]
        if self.shots is not None and self.shots not in known:
            raise InputError(f"{self.folder} has the shots {', '.join(map(str, known))}, not {self.shots}.")
        return known[-1] if self.shots is None else self.shots

    @cached_property
    def rows(self) -> list[Row]:
        """The rows with the folders of their fits."""
        relative = self.content["folders"][str(self.of_shots)]
        folders = {key: None if path is None else self.folder / path for key, path in relative.items()}
        return rows_of(folders, self.content["entries"], self.of_seed)

    @cached_property
    def base(self) -> Base:
        """The base model, loaded."""
        from samtailor.bases import load_on

        loaded = load_on(self.content["base"]["name"], self.device)
        if loaded.fingerprint != self.content["base"]["fingerprint"]:
            raise InputError(
                f"The run in {self.folder} has the base {self.content['base']['name']} with the fingerprint "
                f"{self.content['base']['fingerprint']}, but it now has {loaded.fingerprint}. Run it again, or use the "
                "version of samtailor that made it."
            )
        return loaded

    @cached_property
    def samples(self) -> list[Sample]:
        """The held-out images."""
        wanted = set(self.content["judged_on"][str(self.of_seed)])
        matching = [sample for sample in self.opened("test") if sample.id in wanted]
        if len(matching) != len(wanted):
            raise InputError(
                f"{len(wanted) - len(matching)} of {len(wanted)} held-out images of the run in {self.folder} are not "
                f"in {self.place('test')}. Name the data set with --data DIR."
            )
        return matching

    @cached_property
    def classes(self) -> list[str]:
        """Classes of the evaluation."""
        return list(self.content.get("classes") or class_names(self.samples))

    def opened(self, part: str) -> list[Sample]:
        """Images of the data set: "train", or "test", which is the same set where the run split it."""
        opened = self.content["opened"]
        separate = part == "test" and opened.get("test") is not None
        options = opened["test_options"] if separate else opened["options"]
        return open_dataset(self.place(part), format=opened["format"], classes=self.content.get("classes"), **options)

    def predictions(self, titles: Sequence[str] | None = None) -> Predictions:
        """Predicts with the rows of these titles, by default with all."""
        rows = [row for row in self.rows if titles is None or row.title in titles]
        regions, prompt = self.content["regions"], self.content["opened"].get("prompt")
        return Predictions(self.base, rows, self.classes, regions=regions, prompt=prompt, store=self.store)

    def of_method(self, *methods: str) -> list[str]:
        """Titles of the rows of these methods, in this order.

        Raises:
            InputError: a method has no row.
        """
        matching = {method: [t for t, m in self.content["entries"].items() if m == method] for method in methods}
        missing = [method for method, titles in matching.items() if not titles]
        if missing:
            known = ", ".join(dict.fromkeys(self.content["entries"].values()))
            raise InputError(
                f"This figure needs a row of {', '.join(missing)}, and the run in {self.folder} has {known}. Run "
                f"`samtailor compare --methods {','.join(methods)}`."
            )
        return [title for titles in matching.values() for title in titles]

    def history(self, row: Row) -> list[tuple[str, dict[str, Any]]]:
        """Name (class, or nothing for a single fit) and history of each fit of a row."""
        return [(folder.parent.name, read_json(folder / HISTORY)) for folder in row.folders]

    def snapshots(self, row: Row) -> dict[float, tuple[Path, ...]]:
        """Folders of the states that the fits of a row kept, by epoch (`FitConfig.snapshots`)."""
        matching: dict[float, list[Path]] = {}
        for folder in row.folders:
            for state in (folder / SNAPSHOTS).glob("epoch-*"):
                matching.setdefault(float(state.name.partition("-")[2]), []).append(state)
        return {epoch: tuple(matching[epoch]) for epoch in sorted(matching)}

    def epochs(self, folder: Path) -> float | None:
        """Epochs of a fit; None if its settings give steps, and for a baseline."""
        file = folder / CONFIG
        return resolve(load(file, quiet=True)).epochs if file.is_file() else None

    def place(self, part: str) -> Path:
        """Folder of the data set, of the part "train" or "test".

        Raises:
            InputError: it does not exist.
        """
        named = self.content["opened"].get("test") if part == "test" else None
        place = Path(self.data or named or self.content["data"])
        if not place.exists():
            raise InputError(f"The data set of the run, {place}, does not exist here. Name it with --data DIR.")
        return place


def _has_run(folder: Path) -> bool:
    contents = (read_json(file) for file in folder.glob("*.json"))
    return any(isinstance(content, dict) and "folders" in content for content in contents)


def _of_fit(folder: Path) -> dict[str, Any]:
    """The content of a comparison, for a fit alone: one row beside the base model."""
    config, meta = resolve(load(folder / CONFIG, quiet=True)), artefact.read_meta(folder)
    if config.data is None:
        raise InputError(f"The fit in {folder} names no data set. Name it with --data DIR, or use `samtailor compare`.")
    from samtailor.data.split import Split

    parts = Split.read(folder / artefact.SPLIT)
    held_out = parts.test or parts.val or parts.unused
    title = config.method
    return {
        "entries": {"SAM": "sam", title: config.method},
        "folders": {str(config.shots): {f"SAM/{config.seed}/all": None, f"{title}/{config.seed}/all": "."}},
        "seeds": [config.seed],
        "shots": [config.shots],
        "regions": meta.inference.regions,
        "base": {"name": meta.base.name, "fingerprint": meta.base.fingerprint},
        "judged_on": {str(config.seed): list(held_out)},
        "classes": list(meta.classes),
        "data": str(config.data),
        "opened": {"format": config.format, "options": config.data_options},
        "settings": {title: config.to_dict()},
    }


__all__ = ["RunFolder"]
