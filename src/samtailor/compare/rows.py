"""One row per method and number of shots: figures with intervals over seeds, paired differences, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samtailor.compare.comparison import Comparison
from samtailor.compare.cost import Cost
from samtailor.compare.extrapolation import learning_curve
from samtailor.compare.intervals import seed_interval
from samtailor.errors import InputError
from samtailor.evaluation.masks import REFINED
from samtailor.evaluation.scores import MIN_OBJECTS, Evaluation, difference

FIGURES = {"dice": "dice", "iou": "miou"}
"""Figure of a row to its name in `Evaluation.values`."""


def rows_of(comparisons: Sequence[Comparison], reference: str | None = None) -> list[dict[str, Any]]:
    """The rows of a table.

    Args:
        comparisons: one per number of shots.
        reference: name of the reference row of the differences; None: the first.

    Returns:
        a dictionary per method and number of shots:

        * `title`, `method`, `shots` (None: all images), `prompt`, `weights` of a baseline, `undetected` images of a
          detector, number of evaluated `masks` and `images` (over all seeds).
        * `kept_step` by "SEED/CLASS": step of the state that the fit kept; 0 is the start, None: no selection.
        * `dice` and `iou`: means over seeds of the mean over masks, in [0, 1]; `dice_interval`, `iou_interval`: 95 %
          over seeds (Student's t; None with one seed); `dice_deviation`, `iou_deviation`: standard deviation over
          seeds; `dice_masks_interval`, `iou_masks_interval`: bootstrap over groups of images, for fixed seeds.
        * `seeds`: `dice` and `iou` by seed.
        * `difference` to the reference at the same number of shots (None for the reference), paired: the same figures.
        * `cost`: see `cost_of`.
    """
    return [
        _row(comparison, name, parts, _reference(comparison, reference))
        for comparison in comparisons
        for name, parts in comparison.scores.items()
    ]


def learning(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`learning_curve` by title, for rows over several numbers of shots; none with too few masks to say anything."""
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for row in rows:
        if row["shots"] is not None and row["cost"]["parameters"] != 0 and row["masks"] >= MIN_OBJECTS:
            by_shots = curves.setdefault(row["title"], {})
            by_shots[row["shots"]] = {seed: figures["dice"] for seed, figures in row["seeds"].items()}
    learnt = {title: learning_curve(curve) for title, curve in curves.items()}
    return {title: curve for title, curve in learnt.items() if curve is not None}


def cost_of(costs: Sequence[Cost | None], seeds: int) -> dict[str, Any]:
    """Cost of the fits of one row; a None among them was not measured.

    Returns:
        number of trained `parameters`; `seconds`, `cpu_seconds` and `encode_seconds` per seed (summed over the adapters
        of its classes), `peak_memory_mib` of the largest fit, `encoder_cached`.
    """
    known = [cost for cost in costs if cost is not None]
    if not costs:
        zeros: dict[str, Any] = dict.fromkeys(("parameters", "seconds", "cpu_seconds", "encode_seconds"), 0)
        return zeros | {"peak_memory_mib": None, "encoder_cached": True}
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


def _reference(comparison: Comparison, name: str | None) -> str:
    name = name or next(iter(comparison.scores))
    if name not in comparison.scores:
        raise InputError(f"There is no {name!r} to compare with. Known: {', '.join(comparison.scores)}.")
    return name


def _row(comparison: Comparison, name: str, parts: Sequence[Evaluation], reference: str) -> dict[str, Any]:
    pooled, plain = comparison.pooled(), name.removesuffix(REFINED)
    seeds = {
        str(seed): {key: float(part.values(figure).mean()) for key, figure in FIGURES.items()}
        for seed, part in zip(comparison.seeds, parts, strict=True)
    }
    costs = [comparison.costs.get(key) for key, folder in comparison.folders.items() if _title(key) == plain and folder]
    figures = pooled[name].figures()
    row = {
        "title": name,
        "method": comparison.methods.get(plain, plain),
        "shots": comparison.shots,
        "prompt": parts[0].prompt,
        "weights": comparison.weights.get(plain),
        "undetected": comparison.undetected.get(plain),
        "kept_step": {
            key.partition(f"{plain}/")[2]: step for key, step in comparison.kept.items() if _title(key) == plain
        },
        "masks": figures["masks"],
        "images": figures["images"],
        **_intervals([seeds[seed] for seed in seeds], figures, lowest=0.0),
        "seeds": seeds,
        "difference": None,
        "cost": cost_of(costs, len(comparison.seeds)),
    }
    if name != reference:
        first = comparison.scores[reference]
        changes = [
            {key: float((part.values(f) - one.values(f)).mean()) for key, f in FIGURES.items()}
            for part, one in zip(parts, first, strict=True)
        ]
        row["difference"] = {"to": reference, **_intervals(changes, difference(pooled[name], pooled[reference]))}
    return row


def _title(key: str) -> str:
    """NAME of "NAME/SEED/CLASS"; a name may hold slashes."""
    return key.rsplit("/", 2)[0]


def _intervals(
    values: Sequence[Mapping[str, float]], pooled: Mapping[str, Any], lowest: float = -1.0
) -> dict[str, Any]:
    """Figures with intervals, clipped to the range of the figure: with two or three seeds they are very wide."""
    out: dict[str, Any] = {}
    for key, figure in FIGURES.items():
        mean, deviation, interval = seed_interval([value[key] for value in values])
        bounds = None if interval is None else [max(lowest, interval[0]), min(1.0, interval[1])]
        out |= {key: mean, f"{key}_interval": bounds, f"{key}_deviation": deviation}
        out[f"{key}_masks_interval"] = pooled[f"{figure}_interval"]
    return out


__all__ = ["cost_of", "learning", "rows_of"]
