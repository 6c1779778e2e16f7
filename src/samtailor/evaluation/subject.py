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
from samtailor.predict.predictor import Predictor
from samtailor.registry import BUNDLED_BASE
from samtailor.structures import Account

if TYPE_CHECKING:
    from samtailor.artefact import Adapter
    from samtailor.segmenter import Segmenter
    from samtailor.structures import Sample


@dataclass(frozen=True)
class Scope:
    """Classes, and the segmenters that are evaluated on them.

    Args:
        classes: names; None for all.
        adapter: of these classes; None evaluates the base model alone.
        segmenters: "base" and, if there is one, "adapter".
    """

    classes: tuple[str, ...] | None
    adapter: Adapter | None
    segmenters: Mapping[str, Segmenter | Base]


@dataclass(frozen=True)
class Subject:
    """Base model, adapters and the images to evaluate them on.

    Args:
        base: loaded base model.
        adapters: loaded adapters, several of a folder with one for each class; none evaluates the base model alone.
        samples: images to evaluate on.
        left_out: ids of the images that were left out because an adapter was fitted on them.
        classes: classes to evaluate; None for all.
        store: cached embeddings.
        note: how the data are read, if the adapter decided it; a sentence.
        account: what the data set contains and what is left out of it; None for samples in memory or with a limit.
        part: what the images are: "test", "validation", "unseen", "training" or "all", see `parts.Part`.
        about: the same as a sentence, with the number of images.
    """

    base: Base
    adapters: tuple[Adapter, ...]
    samples: tuple[Sample, ...]
    left_out: tuple[str, ...]
    classes: tuple[str, ...] | None
    store: EmbeddingCache
    note: str = ""
    account: Account | None = None
    part: str = "all"
    about: str = ""

    @property
    def named(self) -> dict[str, Adapter]:
        """The adapters by their names in a predictor."""
        return {f"adapter-{number}": one for number, one in enumerate(self.adapters)}

    def predictor(self) -> Predictor:
        """A predictor with all adapters, see `named`."""
        return Predictor(self.base, {name: one.segmenter for name, one in self.named.items()}, store=self.store)

    @property
    def fitted_classes(self) -> tuple[str, ...]:
        """Classes of the adapters."""
        return tuple(dict.fromkeys(name for one in self.adapters for name in one.meta.classes))

    @property
    def other_classes(self) -> tuple[str, ...]:
        """Evaluated classes that no adapter was fitted to."""
        fitted = self.fitted_classes
        return tuple(name for name in self.classes or () if fitted and name not in fitted)

    @property
    def unmarked_classes(self) -> tuple[str, ...]:
        """Classes that are to be evaluated, but that no image has an object of."""
        return tuple(name for name in self.classes or () if not any(one.of([name]) for one in self.samples))

    @property
    def regions(self) -> bool:
        """Whether an adapter predicts one region per image and class."""
        return any(one.meta.inference.regions for one in self.adapters)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Each adapter with its classes; a single adapter, or the base model alone, with all classes.

        Of several adapters, those without an object of their classes in the images are left out.
        """
        if len(self.adapters) < 2:
            adapter = self.adapters[0] if self.adapters else None
            return (Scope(self.classes, adapter, self._segmenters(adapter)),)
        scopes, unmarked = [], self.unmarked_classes
        for one in self.adapters:
            own = [name for name in self.classes or one.meta.classes if name in one.meta.classes]
            marked = tuple(name for name in own if name not in unmarked)
            scopes += [Scope(marked, one, self._segmenters(one))] if marked else []
        return tuple(scopes)

    def _segmenters(self, adapter: Adapter | None) -> dict[str, Segmenter | Base]:
        pair: dict[str, Segmenter | Base] = {"base": self.base}
        return pair if adapter is None else {**pair, "adapter": adapter.segmenter}


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
    places = [] if adapter is None else list(artefact.members(adapter).values()) or [str(adapter)]
    if isinstance(data, str | Path):
        meta = artefact.read_meta(artefact.folder_of(places[0])) if places else None
        samples, note = artefact.open_for(meta, data, format=format, group=group, given=data_options)
        account = samples.account() if isinstance(samples, Dataset) and limit is None else None
    else:
        samples = list(data)
    if isinstance(base, Base):
        loaded = base
    else:
        loaded = load_on(base or (artefact.base_of(places[0]) if places else BUNDLED_BASE), device)
    adapters = tuple(artefact.load(one, loaded) for one in places)
    fitted = list(dict.fromkeys(name for one in adapters for name in one.meta.classes))
    chosen = _classes(classes, fitted if adapters else None, samples)
    if len(adapters) > 1 and (unknown := [name for name in chosen or () if name not in fitted]):
        raise InputError(
            f"{adapter} has no adapter for {', '.join(unknown)}. Its classes: {', '.join(fitted)}. To evaluate one of "
            "them on other classes, give its folder."
        )
    # samples without a folder are compared by their ids: no data set lies in the folder of the adapter
    folders = [one.folder for one in adapters]
    place = Path(data) if isinstance(data, str | Path) else next(iter(folders), Path())
    part = choose_part(samples, folders, place, chosen, split=split, include_train=include_train)
    return Subject(
        loaded,
        adapters,
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


__all__ = ["Scope", "Subject", "select"]
