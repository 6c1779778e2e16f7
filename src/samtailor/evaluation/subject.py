"""What is evaluated: base model, adapter, images and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.bases import Base, load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.dataset import Dataset, class_names
from samtailor.errors import InputError
from samtailor.evaluation.parts import choose_part
from samtailor.registry import BUNDLED_BASE
from samtailor.structures import Account

if TYPE_CHECKING:
    from samtailor.artefact import Adapter
    from samtailor.segmenter import Segmenter
    from samtailor.structures import Sample


@dataclass(frozen=True)
class Subject:
    """Base model, adapter and the images to evaluate them on.

    Args:
        base: loaded base model.
        adapter: loaded adapter; None evaluates the base model alone.
        samples: images to evaluate on.
        left_out: ids of the images that were left out because the adapter was fitted on them.
        classes: classes to evaluate; None for all.
        store: cached embeddings.
        note: how the data are read, if the adapter decided it; a sentence.
        account: what the data set contains and what is left out of it; None for samples in memory or with a limit.
        part: what the images are: "test", "validation", "unseen", "training" or "all", see `parts.Part`.
        about: the same as a sentence, with the number of images.
    """

    base: Base
    adapter: Adapter | None
    samples: tuple[Sample, ...]
    left_out: tuple[str, ...]
    classes: tuple[str, ...] | None
    store: EmbeddingCache
    note: str = ""
    account: Account | None = None
    part: str = "all"
    about: str = ""

    @property
    def other_classes(self) -> tuple[str, ...]:
        """Evaluated classes that the adapter was not fitted to."""
        fitted = () if self.adapter is None else self.adapter.meta.classes
        return tuple(name for name in self.classes or () if fitted and name not in fitted)

    @property
    def segmenters(self) -> dict[str, Segmenter | Base]:
        """ "base" and, if there is one, "adapter"."""
        pair: dict[str, Segmenter | Base] = {"base": self.base}
        return pair if self.adapter is None else {**pair, "adapter": self.adapter.segmenter}


def select(
    data: str | Path | Sequence[Sample],
    adapter: str | Path | None = None,
    base: str | Path | Base | None = None,
    *,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    include_train: bool = False,
    limit: int | None = None,
    format: str | None = None,
    group: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Subject:
    """Open the data, load base model and adapter, and choose images and classes; arguments as in `evaluate`."""
    samples: Sequence[Sample]
    note, account = "", None
    if isinstance(data, str | Path):
        meta = None if adapter is None else artefact.read_meta(artefact.folder_of(adapter))
        samples, note = artefact.open_for(meta, data, format=format, group=group, given=data_options)
        account = samples.account() if isinstance(samples, Dataset) and limit is None else None
    else:
        samples = list(data)
    if isinstance(base, Base):
        loaded = base
    else:
        loaded = load_on(base or (BUNDLED_BASE if adapter is None else artefact.base_of(adapter)), device)
    fitted = None if adapter is None else artefact.load(adapter, loaded)
    chosen = _classes(classes, None if fitted is None else fitted.meta.classes, samples)
    # samples without a folder are compared by their ids: no data set lies in the folder of the adapter
    folder = None if fitted is None else fitted.folder
    place = Path(data) if isinstance(data, str | Path) else folder or Path()
    part = choose_part(samples, folder, place, chosen, split=split, include_train=include_train)
    return Subject(
        loaded,
        fitted,
        part.samples[:limit],
        part.left_out,
        None if chosen is None else tuple(chosen),
        EmbeddingCache(),
        note,
        account,
        part.name,
        part.about if limit is None else f"The first {limit} of {part.about[:1].lower()}{part.about[1:]}",
    )


def _classes(wanted: Sequence[str] | None, fitted: Sequence[str] | None, samples: Sequence[Sample]) -> list[str] | None:
    """The given classes, or those of the adapter that the data contain; None for all."""
    if wanted is None and fitted is None:
        return None
    known = class_names(samples)
    chosen = list(wanted or fitted or ())
    missing = [name for name in chosen if name not in known]
    if missing and (wanted is not None or len(missing) == len(chosen)):
        hint = "" if wanted else " Choose the class that the adapter should segment with classes (--classes)."
        raise InputError(f"The data have no class {missing[0]!r}. Their classes: {', '.join(known) or 'none'}.{hint}")
    return [name for name in chosen if name in known]


__all__ = ["Subject", "select"]
