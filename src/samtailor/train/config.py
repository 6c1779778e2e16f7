"""A fit as one frozen model. File, command line and Python all end here; an unknown key is an error.

config = load("fit.yaml", {"steps": 500})
config = resolve(config)  # what the user left open is filled from the method's DEFAULTS, then from the fields below
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from samtailor import registry
from samtailor.errors import InputError
from samtailor.structures.renames import renamed_settings

Amount = int | float


class FitConfig(BaseModel):
    """Everything that decides the result of a fit, and a little that does not (device, trackers, cache).

    A field that the user does not give is filled by `resolve` with the method's own default where it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    data: Path | None = Field(None, description="Folder of the data set.")
    format: str | None = Field(None, description="Layout of the data; found out when not given.")
    data_options: dict[str, Any] = Field({}, description="Options of the layout.")
    group: str | None = Field(None, description="What keeps images on one side of a split: prefix:N, regex:..., ...")
    base: str = Field("nano", description="Base model: nano, a hub id, a folder, or Meta's .pth.")
    method: str = Field("tailor", description="Method, a file of samtailor.methods.")
    options: dict[str, Any] = Field({}, description="Options of the method.")
    classes: tuple[str, ...] | None = Field(None, description="Classes to fit; all when not given.")
    per_class: bool = Field(False, description="One adapter for each class, in OUT/CLASS (as Kim et al.).")
    out: Path | None = Field(None, description="Folder of the result.")

    shots: int | None = Field(None, ge=1, description="Train on so many images of each class.")
    val: Amount = Field(
        0.15, ge=0, description="Held-out images that choose the best state; share or count; none with shots."
    )
    test: Amount = Field(0.0, ge=0, description="Images kept for `evaluate`; share or count.")
    near_duplicates: bool = Field(True, description="Keep near-duplicate images on one side of the split.")
    seed: int = Field(0, ge=0, description="Seed of split, start, order, clicks and dropout.")

    steps: int = Field(1000, ge=0, description="Updates of the parameters.")
    epochs: float | None = Field(None, gt=0, description="Rounds over the training masks; decides the steps.")
    batch_size: int = Field(8, ge=1, description="Masks a batch and process.")
    grad_accum_steps: int = Field(1, ge=1, description="Batches per update of the parameters.")
    lr: float | dict[str, float] = Field(1e-3, description="Learning rate, or one for each group of parameters.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float | dict[str, float] = Field(
        0.0, description="Largest norm of the gradients of a step, or one for each group of parameters; 0: no clipping."
    )
    decay_all: bool = Field(False, description="Weight decay also on norms and biases (torch's default; the papers).")
    schedule: Literal["step", "cosine", "constant", "poly"] = Field(
        "step", description="Course of the rate after warm-up."
    )
    warmup: int = Field(50, ge=0, description="Steps in which the rate rises from 0.")
    milestones: tuple[float, ...] = Field(
        (0.66667, 0.86666), description="Shares of the steps at which the learning rate falls."
    )
    gamma: float = Field(0.1, gt=0, le=1, description="Factor of the learning rate at each milestone.")
    power: float = Field(0.9, gt=0, description="Of the schedule poly: (1 - share of the steps done) ** power.")
    selection: Literal["auto", "held-out", "paper", "last"] = Field(
        "auto",
        description="Which state is kept: the best on held-out images; on D2, which the upper level learns from "
        "(BLO-SAM's choice); the last. auto: the first of them that there is.",
    )

    prompt: str = Field("sampled-click", description="Where training prompts come from, a file of samtailor.prompts.")
    prompt_options: dict[str, Any] = Field({}, description="Options of the prompt source.")
    views: int = Field(1, ge=1, description="Views of each image, the untouched one included; 1: no augmentation.")
    flip: bool = Field(True, description="Mirror some of the views.")
    flip_pairs: tuple[tuple[str, str], ...] | None = Field(
        None, description="Classes that swap in a mirror; found by their names when not given."
    )
    crop: float = Field(0.7, gt=0, le=1, description="Smallest share of each side that a view keeps.")
    color_jitter: float = Field(0.2, ge=0, lt=1, description="Largest change of brightness, contrast and saturation.")

    eval_every: int | None = Field(None, ge=1, description="Steps between validations; a tenth of all when not given.")
    eval_masks: int = Field(64, ge=1, description="Held-out masks of a validation, at most.")
    checkpoint_every: int | None = Field(None, ge=1, description="Steps between checkpoints; as validations.")

    precision: Literal["no", "fp16", "bf16"] = Field("no", description="Mixed precision.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    trackers: tuple[str, ...] | None = Field(
        None, description="Trackers of accelerate; tensorboard where it is installed when not given, [] for none."
    )
    cache: Path | None = Field(None, description="Folder of the embeddings; the user's cache when not given.")
    cache_gb: float = Field(20.0, gt=0, description="Most room that the embeddings may take, GB (1e9 bytes).")

    @field_validator("classes", "trackers", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """A comma-separated text is a list, as on the command line."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip() and part.strip() != "none")
        return value

    @field_validator("classes")
    @classmethod
    def _some_class(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError(f"expected names of classes, each once, got {list(value)}")
        return value

    @field_validator("lr")
    @classmethod
    def _positive(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        if not all(rate > 0 for rate in _each(value)):
            raise ValueError("a learning rate must be positive")
        return value

    @field_validator("max_grad_norm")
    @classmethod
    def _some_length(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        if not all(length >= 0 for length in _each(value)):
            raise ValueError("a gradient norm must be 0 (no clipping) or more")
        return value

    @field_validator("milestones")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share <= 1 for share in value) or list(value) != sorted(value):
            raise ValueError("expected rising shares of the steps, each in (0, 1]")
        return value

    @property
    def validate_every(self) -> int:
        """`eval_every` with its default: ten times a fit."""
        return self.eval_every or max(1, self.steps // 10)

    @property
    def save_every(self) -> int:
        """`checkpoint_every` with its default."""
        return self.checkpoint_every or self.validate_every

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """All fields as YAML; `load` reads it back to an equal config."""
        import yaml

        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


FREE = frozenset({"data", "out", "device", "trackers", "cache", "cache_gb", "checkpoint_every"})
"""Fields that may differ when a fit is resumed: they do not change its result."""


def load(path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> FitConfig:
    """Config from a YAML file and overrides on top of it; either may be left out.

    Args:
        path: a YAML file with fields of `FitConfig`.
        overrides: fields that win over the file's; None values stand for "not given".

    Raises:
        InputError: no such file, not YAML, an unknown field (with the closest one), or a value that makes no sense.
    """
    values = {} if path is None else renamed_settings(_read_yaml(Path(path)))
    values |= renamed_settings({key: value for key, value in (overrides or {}).items() if value is not None})
    return _checked(values, f"{path}: " if path is not None else "")


def resolve(config: FitConfig) -> FitConfig:
    """Fill what the user left open: first from the method's DEFAULTS, then from the fields' own.

    Imports the method, hence torch. The result has every field set, so resolving it again changes nothing.

    Raises:
        InputError: an unknown method.
    """
    defaults = getattr(registry.find("methods", config.method), "DEFAULTS", {})
    given = {name: getattr(config, name) for name in config.model_fields_set}
    if config.shots is not None:  # shots are all the masks there are: none beyond them chooses a state
        given.setdefault("val", 0)
    if "steps" in given:  # a number of steps that somebody asked for is not to be overruled by a method's epochs
        given.setdefault("epochs", None)
    filled = {name: getattr(config, name) for name in FitConfig.model_fields}
    return _checked(filled | dict(defaults) | given, f"defaults of {config.method}: ")


def of_group(value: float | dict[str, float], group: str) -> float:
    """What a setting that may differ between groups of parameters (`lr`, `max_grad_norm`) is for one of them."""
    return value[group] if isinstance(value, dict) else value


def changed(config: FitConfig, other: FitConfig) -> list[str]:
    """Names of the fields that decide the result and differ, each with both values."""
    mine, theirs = config.to_dict(), other.to_dict()
    return [f"{n}: {theirs[n]!r} became {mine[n]!r}" for n in mine if n not in FREE and mine[n] != theirs[n]]


def _each(value: float | dict[str, float]) -> list[float]:
    return list(value.values()) if isinstance(value, dict) else [value]


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise InputError(f"There is no configuration file {path}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path} must hold fields and their values (`steps: 500`), it holds a {type(values).__name__}."
        )
    return values


def _checked(values: Mapping[str, Any], where: str) -> FitConfig:
    known = list(FitConfig.model_fields)
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{where}there is no setting {key!r}.{hint} Settings: {', '.join(known)}.")
    try:
        return FitConfig(**values)
    except ValidationError as error:
        wrong = [f"{'.'.join(str(p) for p in e['loc'][:1])}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise InputError(where + "; ".join(dict.fromkeys(wrong)) + ".") from error


__all__ = ["FREE", "FitConfig", "changed", "load", "of_group", "resolve"]
