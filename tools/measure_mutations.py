"""Change the code in ways that the tests of version 0.1 missed, and see whether a test fails now.

    python tools/measure_mutations.py

Each mutation is made in a copy of the package; the working tree is not touched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import results

ROOT = results.ROOT


class Mutation(NamedTuple):
    """A change of one place, and the test files that should notice it."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "axes of the proposals' Gaussian swapped",
        "proposals/targets.py",
        "column) ** 2) / (2 * wide**2) - (rows - row) ** 2 / (2 * high**2)",
        "column) ** 2) / (2 * high**2) - (rows - row) ** 2 / (2 * wide**2)",
        ("test_proposals",),
    ),
    Mutation(
        "groups of a split without the union of rules",
        "data/split.py",
        "        sets.union(i, j)\n",
        "        sets.union(i, j)\n        break\n",
        ("test_split",),
    ),
    Mutation(
        "threshold of the proposals' IoU 0.5 to 1",
        "proposals/calibration.py",
        "_IOU = 0.5",
        "_IOU = 1.0",
        ("test_proposals",),
    ),
    Mutation(
        "threshold of the measured IoU 0.5 to 1",
        "train/losses.py",
        ".clamp(max=0.5)",
        ".clamp(max=1.0)",
        ("test_losses",),
    ),
    Mutation(
        "validation's mean over masks instead of classes",
        "train/validate.py",
        "[np.mean(pairs, axis=0) for pairs in by_class.values()]",
        "[pair for pairs in by_class.values() for pair in pairs]",
        ("test_loop", "test_fit", "test_joint"),
    ),
    Mutation(
        "place code of the PMM not centered",
        "adapters/pmm.py",
        "centered = points - points.mean(dim=1, keepdim=True)",
        "centered = points",
        ("test_pmm",),
    ),
    Mutation(
        "near-duplicate threshold 13 to 30 %",
        "data/duplicates.py",
        "MAX_BITS = 0.13",
        "MAX_BITS = 0.30",
        ("test_split",),
    ),
    Mutation(
        "intervals of 90 instead of 95 %, instances",
        "masks/average_precision.py",
        "[2.5, 97.5]",
        "[5.0, 95.0]",
        ("test_average_precision", "test_evaluate"),
    ),
    Mutation(
        "bootstrap over n - 1 groups, instances",
        "masks/average_precision.py",
        "rng.multinomial(count, ",
        "rng.multinomial(count - 1, ",
        ("test_average_precision", "test_evaluate"),
    ),
    Mutation(
        "region map without its clamp",
        "adapters/region_map.py",
        ".clamp(-LOGIT_LIMIT, LOGIT_LIMIT)",
        "",
        ("test_region_map", "test_tailor"),
    ),
    Mutation(
        "maximum instead of mean over tiles",
        "adapters/tiled.py",
        "torch.stack(fine).mean(dim=0)",
        "torch.stack(fine).amax(dim=0)",
        ("test_tiled",),
    ),
    Mutation(
        "target cache without its bound",
        "train/targets.py",
        "BoundedCache(MAX_MASKS)",
        "BoundedCache(10**9)",
        ("test_feed",),
    ),
    Mutation(
        "floor in the share of a split",
        "data/split.py",
        "else round(amount * total)",
        "else int(amount * total)",
        ("test_split",),
    ),
    Mutation(
        "order of polygons",
        "masks/polygons.py",
        "return sorted(_traced(mask), key=lambda part: -_area(part[0]))",
        "return sorted(_traced(mask), key=lambda part: _area(part[0]))",
        ("test_outlines",),
    ),
    Mutation(
        "eviction frees no tenth",
        "cache/folder.py",
        "else self.max_bytes * 9 // 10",
        "else self.max_bytes",
        ("test_embeddings",),
    ),
)


def caught(mutation: Mutation) -> bool:
    """Whether one of the named test files fails with the mutation in place."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "page"))
        file = copy / "samtailor" / mutation.file
        text = file.read_text("utf-8")
        if text.count(mutation.before) != 1:
            raise SystemExit(
                f"{mutation.name}: the place to change stands {text.count(mutation.before)} times in {file.name}."
            )
        file.write_text(text.replace(mutation.before, mutation.after), "utf-8")
        tests = [str(ROOT / "tests" / "unit" / f"{name}.py") for name in mutation.tests]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        environment = os.environ | {"PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{mutation.name}: pytest did not run.\n{done.stdout[-2000:]}")
        return done.returncode == 1


def main() -> None:
    """Try all mutations and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results.add_option(parser, "mutations")
    args = parser.parse_args()
    rows = {}
    for number, mutation in enumerate(MUTATIONS, 1):
        noticed = caught(mutation)
        print(f"{mutation.name}: {'caught' if noticed else 'SURVIVES'}", flush=True)
        tests = ", ".join(f"`{name}.py`" for name in mutation.tests)
        rows[f"m{number}"] = {"what": mutation.name, "tests": tests, "caught": "yes" if noticed else "no"}
    columns = (
        results.Column(key="what", label="Mutation"),
        results.Column(key="tests", label="Test files"),
        results.Column(key="caught", label="Caught"),
    )
    table = results.Table(columns=columns, rows=rows)
    results.save("mutations", title="Mutations", tables={"main": table}, units="", base=None, file=args.results)


if __name__ == "__main__":
    main()
