"""Read and check the YAML files of recipes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from samtailor.errors import InputError
from samtailor.train.config import FitConfig, load

NOT_LEGIBLE = "not legible"
_FOLDER = Path(__file__).parent

Cell = float | Literal["not legible"] | None
"""A published figure in percent; "not legible" if the source cannot be read, None if the paper has none."""


class Run(BaseModel):
    """One row that is measured.

    Args:
        method: name of a method.
        options: options of the method.
        settings: further settings of the fit.
        published: row of the published table to compare with; None: there is none.
        published_oracle: published row of its oracle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: str
    options: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    published: str | None = None
    published_oracle: str | None = None


class Recipe(BaseModel):
    """A table of a paper.

    Args:
        kind: "table".
        title, source: title of the table, and where the figures were published.
        format: layout of the data set; None: detect it.
        train, held_out: options of the reader for the two parts, e.g. `{part: train}`.
        columns: classes of the table.
        per_class: fit one adapter per class.
        figure: figure in the cells, "miou" or "dice".
        shots: numbers of training images, one cell each, for a table of one column; empty: all images, one cell per
            column.
        preset: name of the preset with the settings of the paper; None: the defaults of each method.
        synthetic: settings to generate the data without the original data set; None: they cannot be generated.
        runs: rows by title.
        published: published figures in percent by row, one per column and with several columns an average last; with
            `shots` one per number of shots.
        sweep: option of the runs whose values are plotted as a curve.
        notes: remarks on the published figures, and differences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["table"]
    title: str
    source: str
    format: str | None = None
    train: dict[str, Any] = Field(default_factory=dict)
    held_out: dict[str, Any] = Field(default_factory=dict)
    columns: tuple[str, ...]
    per_class: bool = False
    figure: Literal["miou", "dice"] = "miou"
    shots: tuple[int, ...] = ()
    preset: str | None = None
    synthetic: dict[str, Any] | None = None
    runs: dict[str, Run]
    published: dict[str, tuple[Cell, ...]]
    sweep: str | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        if self.shots and len(self.columns) > 1:
            raise ValueError("a table over numbers of shots must have one column")
        width = len(self.shots) or len(self.columns) + (len(self.columns) > 1)
        for row, cells in self.published.items():
            if len(cells) != width:
                raise ValueError(f"the published row {row!r} has {len(cells)} figures instead of {width}")
        for title, run in self.runs.items():
            if self.sweep is not None and not isinstance(run.options.get(self.sweep), int | float):
                raise ValueError(f"{title!r} has no number as option {self.sweep!r}, which the table sweeps over")
            for published in (run.published, run.published_oracle):
                if published is not None and published not in self.published:
                    raise ValueError(f"{title!r} names the published row {published!r}, which does not exist")
        return self


def narrowed(
    recipe: Recipe,
    classes: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    shots: Sequence[int] | None = None,
) -> Recipe:
    """Some of the columns, methods and numbers of shots; a published average over other columns is dropped.

    Raises:
        InputError: a class, method or number of shots that the recipe does not have.
    """
    known = {run.method for run in recipe.runs.values()}
    _refuse_unknown("class", classes, recipe.columns)
    _refuse_unknown("method", methods, sorted(known))
    _refuse_unknown("number of shots", shots, recipe.shots)
    runs = {title: run for title, run in recipe.runs.items() if methods is None or run.method in methods}
    kept = tuple(name for name in recipe.columns if classes is None or name in classes)
    counts = tuple(count for count in recipe.shots if shots is None or count in shots)
    places = [recipe.shots.index(c) for c in counts] if recipe.shots else [recipe.columns.index(c) for c in kept]
    average = len(recipe.columns) > 1 and len(kept) > 1
    end = slice(-1, None) if kept == recipe.columns else slice(0, 0)
    published = {
        title: (*(row[i] for i in places), *((row[end] or (None,)) if average else ()))
        for title, row in recipe.published.items()
    }
    return recipe.model_copy(update={"runs": runs, "columns": kept, "shots": counts, "published": published})


def _refuse_unknown(what: str, wanted: Sequence[object] | None, known: Sequence[object]) -> None:
    for value in wanted or ():
        if value not in known:
            raise InputError(f"The recipe has no {what} {value!r}. Known: {', '.join(map(str, known)) or 'none'}.")


def recipe_names() -> list[str]:
    """Names of the recipes of tables."""
    return [name for name in _names() if _yaml(name).get("kind") == "table"]


def read(name: str) -> Recipe:
    """Read the recipe of a table.

    Raises:
        InputError: an unknown name, or an invalid file.
    """
    values = _yaml(_known(name, recipe_names()))
    try:
        return Recipe(**values)
    except ValidationError as error:
        raise InputError(f"The recipe {name!r} is not valid: {error}") from error


def fit_settings(name: str) -> dict[str, Any]:
    """Fields of `FitConfig` of a recipe ("paper") or of a YAML file, checked.

    Raises:
        InputError: an unknown name or field, or no such file.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        config = load(name)
        return {field: getattr(config, field) for field in config.model_fields_set}
    values = _yaml(_known(name, [n for n in _names() if _yaml(n).get("kind") == "fit"]))
    fields = {key: value for key, value in values.items() if key not in ("kind", "title", "source")}
    load(None, fields)
    return fields


def config_of(run: Run, preset: str | None = None, **given: Any) -> FitConfig:
    """Settings of a row: the preset, the row's own, then `given` (None counts as not given; options are merged).

    Options of a prompt source are left out of a row with another source than the other rows of its method.
    """
    more = {key: value for key, value in given.items() if value is not None}
    options = run.options | dict(more.pop("options", {}))
    if "prompt" in run.settings:
        more.pop("prompt_options", None)
    named = {"preset": preset} if preset else {}
    return load(None, {**run.settings, "method": run.method, "options": options, **named, **more})


def _names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def _known(name: str, known: list[str]) -> str:
    wanted = name.strip().lower().replace("_", "-")
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(f"No recipe is called {name!r}. Known: {', '.join(known)}.{hint}")
    return wanted


def _yaml(name: str) -> dict[str, Any]:
    return yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


__all__ = ["NOT_LEGIBLE", "Cell", "Recipe", "Run", "config_of", "fit_settings", "narrowed", "read", "recipe_names"]
