"""Reading and checking of the YAML files beside this one."""

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
"""A published figure in percent; "not legible" where the source cannot be read, None where the paper has none."""


class Run(BaseModel):
    """One row that is measured.

    Args:
        method: name of a method.
        fit: name of a YAML with settings of a fit, or None for the method's own defaults.
        options: of the method.
        published: the row of the published table it stands beside; None: there is none.
        published_oracle: the published row of its oracle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: str
    fit: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    published: str | None = None
    published_oracle: str | None = None


class Recipe(BaseModel):
    """A table of a paper.

    Args:
        kind: "table".
        title, source: what it is, and where the published figures stand.
        format: name of the data set's reader; None finds the layout out.
        train, held_out: options of the reader for the two parts, e.g. `{part: train}`.
        columns: classes of the table; with `per_class` one adapter is fitted for each.
        per_class: whether it is.
        figure: what the cells are, "miou" or "dice".
        shots: images fitted on, one cell each (then there is one column); empty: all images, a cell a column.
        synthetic: how to make the data when the user has none; None: it cannot be made.
        runs: rows by title.
        published: published figures in percent by row, one for each column, and with several columns an average last;
            with `shots` one for each of them.
        sweep: option of the runs whose values are drawn as a curve.
        notes: what is odd about the published figures, or differs here.
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
    synthetic: dict[str, Any] | None = None
    runs: dict[str, Run]
    published: dict[str, tuple[Cell, ...]]
    sweep: str | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        if self.shots and len(self.columns) > 1:
            raise ValueError("a table over numbers of shots has one column, not several")
        width = len(self.shots) or len(self.columns) + (len(self.columns) > 1)
        for row, cells in self.published.items():
            if len(cells) != width:
                raise ValueError(f"the published row {row!r} has {len(cells)} figures instead of {width}")
        for title, run in self.runs.items():
            if self.sweep is not None and not isinstance(run.options.get(self.sweep), int | float):
                raise ValueError(f"{title!r} has no number as option {self.sweep!r}, over which the table sweeps")
            for row in (run.published, run.published_oracle):
                if row is not None and row not in self.published:
                    raise ValueError(f"{title!r} names the published row {row!r}, which is not there")
        return self


def narrowed(
    recipe: Recipe,
    classes: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    shots: Sequence[int] | None = None,
) -> Recipe:
    """Only some columns, methods and numbers of shots; a published average of other columns is left out.

    Raises:
        InputError: one that the recipe does not have.
    """
    known = {run.method for run in recipe.runs.values()}
    asked = ((classes, recipe.columns), (methods, sorted(known)), (shots, recipe.shots))
    for wanted, there in asked:
        for one in wanted or ():
            if one not in there:
                raise InputError(f"The recipe has no {one!r}: {', '.join(map(str, there)) or 'it has none of these'}.")
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


def recipe_names() -> list[str]:
    """Names that `read` takes."""
    return [name for name in _names() if _yaml(name).get("kind") == "table"]


def read(name: str) -> Recipe:
    """A table's recipe by name.

    Raises:
        InputError: unknown name, or a file that is not a recipe.
    """
    values = _yaml(_known(name, recipe_names()))
    try:
        return Recipe(**values)
    except ValidationError as error:
        raise InputError(f"The recipe {name!r} is not valid: {error}") from error


def fit_settings(name: str) -> dict[str, Any]:
    """Fields of `FitConfig` by the name of a recipe ("paper"), or from a user's YAML file; checked.

    Raises:
        InputError: unknown name, no such file, an unknown field.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        config = load(name)
        return {field: getattr(config, field) for field in config.model_fields_set}
    values = _yaml(_known(name, [n for n in _names() if _yaml(n).get("kind") == "fit"]))
    fields = {key: value for key, value in values.items() if key not in ("kind", "title", "source")}
    load(None, fields)
    return fields


def config_of(run: Run, **given: Any) -> FitConfig:
    """Settings of a recipe's row: its `fit` file, then what is given (None: not given; options join its own)."""
    fields = fit_settings(run.fit) if run.fit else {}
    more = {key: value for key, value in given.items() if value is not None}
    options = run.options | dict(more.pop("options", {}))
    return load(None, fields | {"method": run.method, "options": options} | more)


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
