"""`samtailor.fit`: fit an adapter to a data set, from Python with the same settings as on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import fitting
from samtailor.errors import InputError
from samtailor.fitting.result import FitResult
from samtailor.structures import Sample
from samtailor.train.config import load
from samtailor.train.progress_lines import ProgressLines, fit_lines

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.train.progress import Progress


def fit(
    data: str | Path | Sequence[Sample],
    out: str | Path,
    *,
    method: str | None = None,
    classes: Sequence[str] | None = None,
    base: str | Path | Base | None = None,
    preset: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    verbose: bool = True,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **settings: Any,
) -> FitResult:
    """Fit an adapter for a frozen base model to the masks of a data set.

    The same settings and seed give the same adapter as `samtailor fit`.

    Args:
        data: folder of the data set, or samples as `open_dataset` returns them.
        out: folder of the adapter; created if it does not exist.
        method: name of a method; None uses that of the preset, else "auto", which compares several
            candidates by cross-validation and fits the best of each.
        classes: classes to fit; None uses all classes of the data.
        base: base model: "lite", a hub id, a folder, a `sam_vit_*.pth` file from Meta, or a loaded base model; None
            uses that of the preset, else "lite".
        preset: settings of a paper, "kim-2024" or "am-sam-2024", for all settings that are not given.
        resume: continue an interrupted fit in `out`; a finished fit is returned unchanged.
        overwrite: replace an earlier fit in `out`. Without it, the new adapter replaces a finished one only if it is
            not worse on the same images; otherwise it is left in `out` + ".new" and `FitResult.kept` is set.
        verbose: print progress on standard error; has no effect if `progress` is given.
        progress: called with a `Progress` (stage, steps done, loss, held-out mIoU, seconds left).
        stop: called after each step; True saves the state and raises `Interrupted`, as Ctrl-C does.
        **settings: fields of `FitConfig`, for example `budget="10m"`, `steps=500`, `shots=8`, `val=0.2`,
            `per_class=True`, `options={"width": 64}`. A setting that is not given has the default of the method.

    Returns:
        The folder of the adapter, its settings, scores and history; with `per_class=True` one result for each class
        in `parts`.

    Raises:
        InputError: an unknown setting (the message names the closest one), method or class, a value out of range, or
            `out` holds an unfinished fit, or an adapter that cannot be compared (other classes, another base model).
        DataError: the data cannot be read, or contain no mask to train on.
        BaseUnavailableError: the base model cannot be loaded.

    Example:
        ```python
        import samtailor

        result = samtailor.fit("data/banners", "adapters/banner", classes=["banner"], shots=8)
        print(result)
        ```
    """
    from samtailor.bases import Base as BaseModel

    samples: Sequence[Sample] | None = None
    fields: dict[str, Any] = {"method": method, "classes": classes, "out": out, "preset": preset}
    if isinstance(data, str | Path):
        fields["data"] = data
    else:
        samples = list(data)
        _refuse_other_than_samples(samples)
    loaded = base if isinstance(base, BaseModel) else None
    if base is not None:
        fields["base"] = str(base) if loaded is None else loaded.name
    given = {name: value for name, value in fields.items() if value is not None}
    config = load(None, {**given, **settings})
    if progress is None and verbose:
        progress = fit_lines(ProgressLines())
    return fitting.fit(
        config, samples=samples, base=loaded, resume=resume, overwrite=overwrite, progress=progress, stop=stop
    )


def _refuse_other_than_samples(samples: Sequence[Any]) -> None:
    for sample in samples:
        if not isinstance(sample, Sample):
            kind = type(sample).__name__
            raise InputError(f"data must be the folder of a data set or a list of samples, got a list with a {kind}.")


__all__ = ["fit"]
