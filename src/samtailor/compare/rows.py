"""One row a method and number of shots: figures with their intervals over seeds, paired differences, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samtailor.compare.comparison import Comparison
from samtailor.compare.cost import Cost
from samtailor.compare.extrapolation import learning_curve
from samtailor.compare.intervals import seed_interval
from samtailor.errors import InputError
from samtailor.evaluation.masks import REFINED
from samtailor.evaluation.scores import Evaluation, difference

FIGURES = {"dice": "dice", "iou": "miou"}
"""Names in a row, and what `Evaluation.values` calls them."""


def rows_of(found: Sequence[Comparison], reference: str | None = None) -> list[dict[str, Any]]:
    """The table.

    Args:
        found: one a number of shots.
        reference: name of the row that differences are to; None: the first.

    Returns:
        a dictionary a method and number of shots:

        * `title`, `method`, `shots` (None: all images), `prompt` it was asked with, `weights` of a baseline,
          `undetected` images of a detector, `masks` and `images` judged on (over all seeds).
        * `kept_step` by "SEED/CLASS": after how many steps the state was reached that the fit kept; 0 is its start,
          None: nothing chose.
        * `dice` and `iou`: means over seeds of the mean over masks, in 0 to 1; `dice_interval`, `iou_interval`: 95 %
          over seeds (Student's t; None with one seed); `dice_deviation`, `iou_deviation`: standard deviation of the
          seeds; `dice_masks_interval`, `iou_masks_interval`: bootstrap over groups of images, the seeds as they are.
        * `seeds`: per seed `dice` and `iou`.
        * `difference` to the reference at the same number of shots (None for itself), paired: the same four figures.
        * `cost`: see `cost_of`.
    """
    return [_row(one, name, parts, _reference(one, reference)) for one in found for name, parts in one.scores.items()]


def learning(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`learning_curve` by title, for rows over several numbers of shots."""
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for row in rows:
        if row["shots"] is not None and row["cost"]["parameters"] != 0:
            own = curves.setdefault(row["title"], {})
            own[row["shots"]] = {seed: figures["dice"] for seed, figures in row["seeds"].items()}
    found = {title: learning_curve(curve) for title, curve in curves.items()}
    return {title: one for title, one in found.items() if one is not None}


def cost_of(costs: Sequence[Cost | None], seeds: int) -> dict[str, Any]:
    """What the fits of one row cost; None: not measured.

    Returns:
        `parameters` that learn; `seconds`, `cpu_seconds` and `encode_seconds` of one seed (the adapters of its classes
        together), `peak_memory_mib` of the largest fit, `encoder_cached`.
    """
    known = [cost for cost in costs if cost is not None]
    if not costs:
        nothing = dict.fromkeys(("parameters", "seconds", "cpu_seconds", "encode_seconds"), 0)
        return nothing | {"peak_memory_mib": None, "encoder_cached": True}
    complete = len(known) == len(costs)

    def total(name: str) -> float | None:
        values = [getattr(cost, name) for cost in known]
        return sum(values) / seeds if complete and None not in values else None

    parameters = total("parameters")
    return {
        "parameters": None if parameters is None else round(parameters),
        "seconds": total("seconds"),
        "cpu_seconds": total("cpu_seconds"),
        "encode_seconds": total("encode_seconds"),
        "peak_memory_mib": max((c.peak_memory_mib for c in known if c.peak_memory_mib is not None), default=None),
        "encoder_cached": all(cost.encoder_cached for cost in known),
    }


def _reference(found: Comparison, name: str | None) -> str:
    name = name or next(iter(found.scores))
    if name not in found.scores:
        raise InputError(f"There is no {name!r} to compare with; there are {', '.join(found.scores)}.")
    return name


def _row(found: Comparison, name: str, parts: Sequence[Evaluation], reference: str) -> dict[str, Any]:
    pooled, plain = found.pooled(), name.removesuffix(REFINED)
    seeds = {
        str(seed): {key: float(part.values(figure).mean()) for key, figure in FIGURES.items()}
        for seed, part in zip(found.seeds, parts, strict=True)
    }
    costs = [found.costs.get(key) for key, folder in found.folders.items() if _title(key) == plain and folder]
    figures = pooled[name].figures()
    row = {
        "title": name,
        "method": found.methods.get(plain, plain),
        "shots": found.shots,
        "prompt": parts[0].prompt,
        "weights": found.weights.get(plain),
        "undetected": found.undetected.get(plain),
        "kept_step": {key.partition(f"{plain}/")[2]: step for key, step in found.kept.items() if _title(key) == plain},
        "masks": figures["masks"],
        "images": figures["images"],
        **_spread([seeds[seed] for seed in seeds], figures, lowest=0.0),
        "seeds": seeds,
        "difference": None,
        "cost": cost_of(costs, len(found.seeds)),
    }
    if name != reference:
        first = found.scores[reference]
        changes = [
            {key: float((part.values(f) - one.values(f)).mean()) for key, f in FIGURES.items()}
            for part, one in zip(parts, first, strict=True)
        ]
        row["difference"] = {"to": reference, **_spread(changes, difference(pooled[name], pooled[reference]))}
    return row


def _title(key: str) -> str:
    """NAME of "NAME/SEED/CLASS"; a name may hold slashes."""
    return key.rsplit("/", 2)[0]


def _spread(values: Sequence[Mapping[str, float]], pooled: Mapping[str, Any], lowest: float = -1.0) -> dict[str, Any]:
    """Intervals are cut where the figure ends: two or three seeds say so little that they would reach beyond."""
    out: dict[str, Any] = {}
    for key, figure in FIGURES.items():
        mean, deviation, interval = seed_interval([value[key] for value in values])
        bounds = None if interval is None else [max(lowest, interval[0]), min(1.0, interval[1])]
        out |= {key: mean, f"{key}_interval": bounds, f"{key}_deviation": deviation}
        out[f"{key}_masks_interval"] = pooled[f"{figure}_interval"]
    return out


__all__ = ["cost_of", "learning", "rows_of"]
