"""Learning curves of small sets: Dice on test images of 4, 8 and 16 masks, and the exponent of the power law.

    python tools/measure_curves.py --data DATA --data-open DATA_OPEN --out RUNS [--only windows,qr] [--seeds 0,1]
        [--images 20]

Writes results/curves.json. The map is the linear one alone, which is fitted in a second, so that many kinds of objects
can be measured; none of them is a set that the contest of `auto` is judged on. The images of fewer masks are among
those of more, and the test images are the same. The forecasts of `auto` use the mean and the spread of the exponents.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from unittest.mock import patch

import numpy as np

import results
from measure_offsets import drawn_images, fit_of, parser_of
from measure_tiles import SETS as SMALL
from results import Cell, Column, Figure, Table
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.fitting.contest.candidates.linear import SETTINGS
from samtailor.fitting.contest.region_variant import RegionVariant
from samtailor.fitting.contest.scoring import region_scores

MASKS = (4, 8, 16)
JUDGES = ("plates", "signboards", "nuclei", "nose")
"""Kinds of measure_tiles.py that the contest is judged on."""
SETS = {name: place for name, place in SMALL.items() if name not in JUDGES}
WHOLE = RegionVariant()


def main() -> None:
    options = parser_of("curves", __doc__).parse_args()
    base, store = load_base(), EmbeddingCache()
    rows: dict[str, dict[str, Cell]] = {}
    of_kinds: list[list[list[float]]] = []
    for name in options.only or SETS:
        by_seed = [_dice(name, seed, base, store, options) for seed in options.seeds]
        exponents = [[_exponent(*pair) for pair in pairwise(dice)] for dice in by_seed]
        of_kinds.append(exponents)
        rows[name] = {
            "set": ", ".join(filter(None, SETS[name])),
            **{f"dice-{count}": results.over_seeds([dice[n] for dice in by_seed]) for n, count in enumerate(MASKS)},
            **{_key(n): results.over_seeds([one[n] for one in exponents]) for n in range(len(MASKS) - 1)},
        }
        print(name, by_seed, exponents, flush=True)
        results.save(
            "curves",
            {"all": Table(title="Learning curves", columns=_columns(), rows=rows | _summary(of_kinds))},
            title="Learning curves of 4, 8 and 16 masks: Dice on test images",
            units="percent, mean over seeds; exponent b of 1 - Dice = a k^-b over k masks",
            notes=[
                f"At most {options.images} test images per seed.",
                "Noise: standard deviation, between seeds, of the logarithm of the ratio of the errors 1 - Dice.",
            ],
            base=base,
            seeds=options.seeds,
            file=options.results,
        )


def _dice(name: str, seed: int, base: Base, store: EmbeddingCache, options: argparse.Namespace) -> list[float]:
    """Dice on the test images by the number of masks, in percent."""
    data, label = SETS[name]
    folder, usable, classes = drawn_images(data, (label,), seed, options)
    tests = usable[MASKS[-1] : MASKS[-1] + options.images]
    settings = {**SETTINGS, "steps": 1}
    dice = []
    for count in MASKS:
        out = options.out / f"{name}-{seed}-{count}"
        segmenter = fit_of(folder, usable[:count], classes, seed, base, store, settings, out)
        with patch("samtailor.fitting.contest.region_variant.ALL", (WHOLE,)):
            dice.append(results.percent(region_scores(segmenter, tests, classes, store).mean(WHOLE.name)))
    return dice


def _exponent(fewer: float, more: float) -> float:
    """Of the power law through the Dice, in percent, of a number of masks and of twice as many."""
    return math.log2((100 - fewer) / (100 - more))


def _summary(of_kinds: list[list[list[float]]]) -> dict[str, dict[str, Cell]]:
    """Mean and spread of the exponents over kinds and seeds, and the noise between seeds."""
    values = np.array(of_kinds)  # kinds x seeds x steps
    mean: dict[str, Cell] = {"set": "Mean"}
    spread: dict[str, Cell] = {"set": "Standard deviation"}
    noise: dict[str, Cell] = {"set": "Noise"}
    for n in range(values.shape[2]):
        mean[_key(n)] = Figure(value=float(values[..., n].mean()))
        spread[_key(n)] = Figure(value=float(values[..., n].std()))
        if values.shape[1] > 1:
            within = values[..., n].var(axis=1, ddof=1).mean() ** 0.5
            noise[_key(n)] = Figure(value=float(within * math.log(2)))
    return {"mean": mean, "spread": spread, "noise": noise}


def _key(step: int) -> str:
    return f"exponent-{MASKS[step]}"


def _columns() -> tuple[Column, ...]:
    return (
        Column(key="set", label=""),
        *(Column(key=f"dice-{count}", label=f"{count} masks") for count in MASKS),
        *(
            Column(key=_key(n), label=f"Exponent, {fewer} to {more}", digits=2)
            for n, (fewer, more) in enumerate(pairwise(MASKS))
        ),
    )


if __name__ == "__main__":
    main()
