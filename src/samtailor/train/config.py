"""Settings of a fit, from a file, the command line or Python. An unknown setting is an error.

config = load("fit.yaml", {"steps": 500})
config = resolve(config)  # fills settings that are not given from the DEFAULTS of the method, then from the fields
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from samtailor import registry
from samtailor.errors import DataError, InputError
from samtailor.limits import MALFORMED, parse_yaml, read_bytes
from samtailor.registry import BUNDLED_BASE
from samtailor.structures.renames import renamed_settings
from samtailor.train.schedule import Kind

Amount = int | float


class FitConfig(BaseModel):
    """All settings of a fit. Those in `FREE` do not change its result.

    `resolve` fills a field that is not given with the default of the method, if it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    preset: str | None = Field(
        default=None,
        description="Published settings of a paper for every setting that is not given: see docs/methods/presets.md.",
    )
    data: Path | None = Field(default=None, description="Folder of the data set.")
    format: str | None = Field(default=None, description="Layout of the data; detected by default.")
    data_options: dict[str, Any] = Field(default={}, description="Options of the layout.")
    group: str | None = Field(
        default=None, description="Rule that keeps related images on one side of a split: prefix:N, regex:..., ..."
    )
    base: str = Field(default=BUNDLED_BASE, description="Base model: lite, a hub id, a folder, or Meta's .pth.")
    method: str = Field(default="auto", description="Name of the method.")
    options: dict[str, Any] = Field(default={}, description="Options of the method.")
    classes: tuple[str, ...] | None = Field(default=None, description="Classes to fit; default: all.")
    per_class: bool = Field(default=False, description="Fit one adapter per class, in OUT/CLASS (as in Kim et al.).")
    out: Path | None = Field(default=None, description="Folder for the adapter.")
    present: Path | None = Field(
        default=None, description="Adapter in use: the result says whether the new one is better on held-out images."
    )

    shots: int | None = Field(default=None, ge=1, description="Number of training images per class.")
    val: Amount = Field(
        default=0.15, ge=0, description="Held-out images that select the best state; share or count; 0 with shots."
    )
    test: Amount = Field(default=0.0, ge=0, description="Images kept for `evaluate`; share or count.")
    own_split: bool = Field(
        default=True, description="Use the parts of the data set (folders or lists train, val, test) if it has them."
    )
    near_duplicates: bool = Field(default=True, description="Keep near-duplicate images on one side of the split.")
    seed: int = Field(default=0, ge=0, description="Seed of split, initialization, order, clicks and dropout.")

    steps: int = Field(default=1000, ge=0, description="Number of updates.")
    epochs: float | None = Field(
        default=None, gt=0, description="Passes over the training masks; determines the steps."
    )
    batch_size: PositiveInt | Literal["auto"] = Field(
        default=8,
        description="Masks per batch and process; auto: as many as the memory allows, at most 64. The learning rate is "
        "not adapted.",
    )
    grad_accum_steps: int = Field(default=1, ge=1, description="Batches per update of the parameters.")
    lr: float | dict[str, float] = Field(
        default=1e-3, description="Peak learning rate, or one per group of parameters."
    )
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float | dict[str, float] = Field(
        default=0.0, description="Largest gradient norm of a step, or one per group of parameters; 0: no clipping."
    )
    decay_all: bool = Field(
        default=False, description="Weight decay on norms and biases too (the default of torch and of the papers)."
    )
    schedule: Kind = Field(default="step", description="Learning-rate schedule after the warm-up.")
    warmup: int = Field(default=50, ge=0, description="Steps of the linear warm-up.")
    milestones: tuple[float, ...] = Field(
        default=(0.66667, 0.86666), description="Shares of the steps at which the learning rate is multiplied by gamma."
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="Factor of the learning rate at each milestone.")
    power: float = Field(
        default=0.9, gt=0, description="Exponent of the schedule poly: (1 - share of the steps done) ** power."
    )
    selection: Literal["auto", "held-out", "paper", "last"] = Field(
        default="auto",
        description="State to keep: held-out: the best on held-out images; paper: the best on D2, the data of the "
        "upper level (as BLO-SAM does); last: the last one; auto: the first of these that is possible.",
    )
    selection_score: Literal["miou", "dice"] = Field(
        default="miou", description="Score of a state in the selection: mean IoU, or mean Dice."
    )

    budget: str | None = Field(
        default=None,
        description="Time of a contest (method auto): 30s, 2m, 10m, 1h; default: 2m, or a minute for each class.",
    )
    plan: Path | None = Field(
        default=None, description="plan.json of an earlier contest (method auto): repeat what it chose, no comparison."
    )

    fallback: bool = Field(
        default=True, description="Let the base model answer clicks or boxes at which the adapter is not better."
    )

    prompt: str = Field(default="sampled-click", description="Prompt source in training.")
    prompt_options: dict[str, Any] = Field(default={}, description="Options of the prompt source.")
    views: int = Field(default=1, ge=1, description="Views per image, the original included; 1: no augmentation.")
    flip: bool = Field(default=True, description="Flip some of the views horizontally.")
    flip_pairs: tuple[tuple[str, str], ...] | None = Field(
        default=None, description="Pairs of classes that swap when flipped; by default detected from their names."
    )
    crop: float = Field(default=0.7, gt=0, le=1, description="Smallest share of each side that a crop keeps.")
    color_jitter: float = Field(
        default=0.2, ge=0, lt=1, description="Largest change of brightness, contrast and saturation."
    )

    eval_every: int | None = Field(
        default=None, ge=1, description="Steps between validations; default: a tenth of all steps."
    )
    eval_epochs: float | None = Field(
        default=None, gt=0, description="Epochs between validations; takes precedence over eval_every."
    )
    eval_masks: int = Field(default=64, ge=1, description="Largest number of held-out masks per validation.")
    checkpoint_every: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints; default: eval_every."
    )

    snapshots: tuple[float, ...] = Field(
        default=(), description="Epochs after which the state is also kept, in OUT/snapshots."
    )

    precision: Literal["no", "fp16", "bf16"] = Field(default="no", description="Mixed precision.")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps.")
    trackers: tuple[str, ...] | None = Field(
        default=None, description="Trackers of accelerate; default: tensorboard if it is installed; [] for none."
    )
    cache: Path | None = Field(
        default=None, description="Folder of cached embeddings; default: the cache folder of the user."
    )
    cache_gb: float | None = Field(
        default=None,
        gt=0,
        description="Size limit of the cached embeddings, GB (1e9 bytes); default: $SAMTAILOR_CACHE_GB, or 20.",
    )
    embedding_precision: Literal["half", "8bit"] = Field(
        default="half", description="Precision of the cached embeddings; 8bit takes half the room."
    )
    encoder_precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        default="fp32",
        description="Precision of the image encoder when it fills the cache; auto: the fastest one of this machine "
        "that changes the mIoU of synthetic images by less than 0.2 points.",
    )
    resident: int | None = Field(
        default=None,
        ge=1,
        description="Images trained on at a time (blocked shuffling); default: all, or as many as the cache holds.",
    )
    resident_passes: int | None = Field(
        default=None,
        ge=1,
        description="Passes over these images before the next ones take their place; default: 4, or fewer, so that "
        "the fit has at least two rounds of all images.",
    )
    feed_workers: int | None = Field(
        default=None,
        ge=1,
        description="Threads that prepare batches ahead; default: 1 on a CPU, else half of the cores, at most 4.",
    )

    @field_validator("classes", "trackers", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Split comma-separated text, as given on the command line."""
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
    def _not_negative(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        if not all(norm >= 0 for norm in _each(value)):
            raise ValueError("a gradient norm must be 0 (no clipping) or more")
        return value

    @field_validator("milestones")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share <= 1 for share in value) or list(value) != sorted(value):
            raise ValueError("expected rising shares of the steps, each in (0, 1]")
        return value

    @field_validator("snapshots")
    @classmethod
    def _after_the_start(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not epoch > 0 for epoch in value) or list(value) != sorted(set(value)):
            raise ValueError("expected rising numbers of epochs above 0")
        return value

    @property
    def validate_every(self) -> int:
        """`eval_every`, by default a tenth of the steps."""
        return self.eval_every or max(1, self.steps // 10)

    @property
    def save_every(self) -> int:
        """`checkpoint_every`, by default `validate_every`."""
        return self.checkpoint_every or self.validate_every

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """All fields as YAML; `load` returns an equal config."""
        import yaml

        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


FREE = frozenset(
    {"data", "out", "present", "device", "trackers", "cache", "cache_gb", "checkpoint_every", "feed_workers"}
)
"""Fields that may change when a fit is resumed, because they do not change its result."""
OF_ONE_METHOD = (
    *("epochs", "batch_size", "grad_accum_steps", "lr", "weight_decay", "max_grad_norm", "decay_all", "schedule"),
    *("warmup", "milestones", "gamma", "power", "selection", "selection_score", "prompt", "prompt_options"),
    *("eval_every", "eval_epochs", "eval_masks", "snapshots", "resident", "resident_passes"),
)
"""Fields that a contest (method auto) does not have, since its candidates have their own."""


def load(
    path: str | Path | None = None, overrides: Mapping[str, Any] | None = None, *, quiet: bool = False
) -> FitConfig:
    """Config from a YAML file, from overrides, or from both.

    Args:
        path: a YAML file with fields of `FitConfig`.
        overrides: fields that take precedence over the file; None values count as not given.
        quiet: log no warning about old names in the file, for files that samtailor wrote itself.

    Raises:
        InputError: no such file, not YAML, an unknown field, or a value out of range.
    """
    values = {} if path is None else renamed_settings(_read_yaml(Path(path)), quiet=quiet)
    values |= renamed_settings({key: value for key, value in (overrides or {}).items() if value is not None})
    return _checked(values, f"{path}: " if path is not None else "")


def resolve(config: FitConfig) -> FitConfig:
    """Fill fields that are not given: from the preset, then from the DEFAULTS of the method, then of the fields.

    Default options of a method are filled one by one, so that giving one of them keeps the others.

    Imports the method, hence torch. The result has every field set, so resolving it again changes nothing.

    Raises:
        InputError: an unknown method or preset, or a preset without settings for the method.
    """
    config = with_preset(config)
    defaults = getattr(registry.find("methods", config.method), "DEFAULTS", {})
    given = {name: getattr(config, name) for name in config.model_fields_set}
    if config.shots is not None:  # with few shots all masks are trained on; none is held out
        given.setdefault("val", 0)
    if "steps" in given:  # a given number of steps takes precedence over the epochs of a method
        given.setdefault("epochs", None)
    if "options" in given and "options" in defaults:
        given["options"] = defaults["options"] | given["options"]
    filled = {name: getattr(config, name) for name in FitConfig.model_fields}
    return _checked(filled | dict(defaults) | given, f"defaults of {config.method}: ")


def with_preset(config: FitConfig) -> FitConfig:
    """The settings with those of `config.preset` filled in where none are given; unchanged without a preset.

    Options of the method are filled in one by one. Steps or epochs that are given replace both of the preset.

    Raises:
        InputError: an unknown preset, or one without settings for the method.
    """
    if config.preset is None:
        return config
    from samtailor.train.presets import preset_fields

    given = {name: getattr(config, name) for name in config.model_fields_set}
    fields = preset_fields(config.preset, given.get("method"))
    options = {**fields.get("options", {}), **given.get("options", {})}
    prompt_options = {**fields.get("prompt_options", {}), **given.get("prompt_options", {})}
    if "prompt" in given and given["prompt"] != fields.get("prompt"):  # the options are those of another source
        prompt_options = given.get("prompt_options", {})
    if {"steps", "epochs"} & given.keys():
        fields = {name: value for name, value in fields.items() if name not in ("steps", "epochs")}
    return _checked(fields | given | {"options": options, "prompt_options": prompt_options}, f"{config.preset}: ")


def of_group(value: float | dict[str, float], group: str) -> float:
    """Value for one group of parameters of a setting that may differ between groups (`lr`, `max_grad_norm`)."""
    return value[group] if isinstance(value, dict) else value


def changed(config: FitConfig, other: FitConfig) -> list[str]:
    """Fields not in `FREE` that differ, each with both values, as text.

    An option that is not named, as one that did not exist when a fit began, is that of the method's `build`.
    """
    mine, theirs = config.to_dict(), other.to_dict()
    if config.method == other.method:
        named = registry.options(registry.find("methods", config.method).build)
        mine["options"], theirs["options"] = named | mine["options"], named | theirs["options"]
    return [f"{n}: {theirs[n]!r} became {mine[n]!r}" for n in mine if n not in FREE and mine[n] != theirs[n]]


def _each(value: float | dict[str, float]) -> list[float]:
    return list(value.values()) if isinstance(value, dict) else [value]


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"There is no configuration file {path}.")
    try:
        values = parse_yaml(read_bytes(path, "yaml_bytes"), str(path)) or {}
    except DataError as error:
        raise InputError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path} must contain fields and values (`steps: 500`), but contains a {type(values).__name__}."
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
    except MALFORMED as error:
        if not isinstance(error, ValidationError):
            raise InputError(f"{where}a value is out of range ({error!s:.200}).") from error
        wrong = [
            f"{'.'.join(str(p) for p in e['loc'][:1])}: {e['msg']}, got {e['input']!r:.200}" for e in error.errors()
        ]
        raise InputError(where + "; ".join(dict.fromkeys(wrong)) + ".") from error


__all__ = ["FREE", "FitConfig", "changed", "load", "of_group", "resolve", "with_preset"]
