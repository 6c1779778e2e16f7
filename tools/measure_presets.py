"""Settings of the papers beside the defaults, on small data in the published layouts; writes results/presets.json.

    python tools/measure_presets.py --data DATA --detectors DETECTORS --out RUNS [--only faces,plates] [--seeds 0,1]

DATA holds the data sets as folders (face_parts, plates, humans, lesions). Each is written to RUNS/data in the layout of
a published data set, which stands in for that set, and `samtailor recipe --preset both` runs on it: every row with the
settings of the paper, and with the defaults. Only the base model and the numbers of images, steps and epochs differ
from the recipe. Runs are resumable; `--only` measures some of the recipes again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
from results import BaseModelUsed, Cell, Column, Figure, Table

PRESETS = ("kim-2024", "am-sam-2024", "defaults")
"""Folders of the runs with one set of settings, in the folder of a recipe."""
PARTS = ("nose", "hair")
"""Parts of a face that are called alike in both data sets."""


@dataclass(frozen=True)
class Trial:
    """One recipe on one small data set.

    Args:
        recipe: its name.
        title: of the table.
        source: folder in DATA.
        write: writes that folder, in the published layout, to another folder.
        options: further options of the recipe; {detectors} is the folder of the detectors.
        note: what is reduced, and what differs from the published data.
    """

    recipe: str
    title: str
    source: str
    write: Callable[[Path, Path], None]
    options: tuple[str, ...]
    note: str


def faces(source: Path, out: Path) -> None:
    """CelebAMask-HQ: numbered images, and the masks of each part under the same number."""
    for number, image in enumerate(images_of(source, "frontal_*")):
        copy(image, out / "CelebA-HQ-img" / f"{number}.jpg")
        for part in PARTS:
            file = out / "CelebAMask-HQ-mask-anno" / str(number // 2000) / f"{number:05d}_{part}.png"
            copy(source / "masks" / part / f"{image.stem}.png", file)


def plates(source: Path, out: Path) -> None:
    """Car plates: images/ and Pascal VOC boxes, as they are."""
    for image in images_of(source):
        copy(image, out / "images" / image.name)
        copy(source / "annotations" / f"{image.stem}.xml", out / "annotations" / f"{image.stem}.xml")


def people(source: Path, out: Path) -> None:
    """Human segmentation: Training_Images/ and Ground_Truth/."""
    pairs(source, images_of(source), out / "Training_Images", out / "Ground_Truth")


def dancers(source: Path, out: Path) -> None:
    """TikTok body segmentation: numbered Images/ and Masks/."""
    pairs(source, images_of(source), out / "Images", out / "Masks")


def lesions(source: Path, out: Path) -> None:
    """ISIC 2018: two folders for each official part; every third image is for testing."""
    for part, chosen in (("Training", (0, 1)), ("Test", (2,))):
        images = [image for place, image in enumerate(images_of(source)) if place % 3 in chosen]
        inputs, truth = out / f"ISIC2018_Task1-2_{part}_Input", out / f"ISIC2018_Task1_{part}_GroundTruth"
        pairs(source, images, inputs, truth, "_segmentation")


def pairs(source: Path, images: Iterable[Path], to_images: Path, to_masks: Path, suffix: str = "") -> None:
    """Copy images and the masks of the same names."""
    for image in images:
        copy(image, to_images / image.name)
        copy(source / "masks" / f"{image.stem}.png", to_masks / f"{image.stem}{suffix}.png")


def images_of(source: Path, pattern: str = "*") -> list[Path]:
    """Images of a data set, in a fixed order."""
    return sorted((source / "images").glob(pattern), key=lambda file: (len(file.stem), file.stem))


def copy(source: Path, target: Path) -> None:
    """Copy a file, with the folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


BLIND = ("--detector", "full-frame")
PERSON = ("--detector", "{detectors}/yolox_nano.onnx", "--detector-classes", "person")
SHORT = ("--set", "epochs=10", "--set", "snapshots=[1,5,10]")
STEPS = "60 steps instead of 20,000 (preset, whose warm-up alone has 250) or 1,000 (defaults)."
EPOCHS = "10 epochs instead of 100."
TRIALS = {
    "faces": Trial(
        *("celebamask-hq", "Face parts, in the layout of CelebAMask-HQ", "face_parts", faces),
        ("--classes", ",".join(PARTS), "--steps", "60"),
        f"{STEPS} 43 frontal faces, of which 30 are for training and 9 for testing, and 2 of the 18 parts.",
    ),
    "plates": Trial(
        *("car-plate", "Licence plates, in the layout of the set of Kim et al.", "plates", plates),
        ("--steps", "60"),
        f"{STEPS} 104 of the 433 images; 83 are for training.",
    ),
    "people": Trial(
        *("am-sam-table2", "People, in the layout of the human segmentation set", "humans", people),
        ("--shots", "4,8", *PERSON, *SHORT),
        f"{EPOCHS} 190 of the 290 images; the last 66 are for testing. The detector is YOLOX-Nano.",
    ),
    "dancers": Trial(
        *("am-sam-table4-tiktok", "Ablation on people, in the layout of the TikTok set", "humans", dancers),
        ("--shots", "4", *PERSON, *SHORT),
        f"{EPOCHS} Photos of people, not frames of videos: the 190 images above, of which 145 are for testing. The "
        "detector is YOLOX-Nano.",
    ),
    "lesions": Trial(
        *("am-sam-table3", "Skin lesions, in the layout of ISIC 2018", "lesions", lesions),
        ("--shots", "4,8", *BLIND, *SHORT),
        f"{EPOCHS} 100 images of another set (PH2), every third for testing. No detector knows lesions: the box is the "
        "full frame.",
    ),
}
UNITS = "percent: mIoU of one click (Kim et al.), Dice (AM-SAM); brackets: 95 % interval (bootstrap over images)"
REDUCED = (
    "Reduced: numbers of images, steps and epochs, and the base model is the bundled one. The tables show that both "
    "settings run in every layout and how they differ, not what they reach in the papers."
)
COLUMNS = (
    Column(key="row", label=""),
    Column(key="shots", label="Masks", digits=0),
    Column(key="settings", label="Settings"),
    Column(key="measured", label="Measured"),
    Column(key="published", label="Paper"),
    Column(key="masks", label="Test masks", digits=0),
    Column(key="seconds", label="Fit, CPU seconds", digits=0),
)


def main() -> None:
    options = _options()
    tables: dict[str, Table] = {}
    for name in options.only or TRIALS:
        folder = run(name, options)
        by_settings = {part: _content(folder / part) for part in PRESETS if (folder / part).is_dir()}
        tables[name] = table_of(name, by_settings)
        results.save(
            "presets",
            tables,
            title="Settings of the papers and the defaults, on small data",
            units=UNITS,
            notes=[REDUCED],
            base=BaseModelUsed(**{k: next(iter(by_settings.values()))["base"][k] for k in ("name", "fingerprint")}),
            seeds=[int(seed) for seed in options.seeds.split(",") if seed],
            file=options.results,
        )


def run(name: str, options: argparse.Namespace) -> Path:
    """Write the data set of a trial and run its recipe; the folder of the result."""
    trial, data, out = TRIALS[name], options.out / "data" / name, options.out / name
    if not data.is_dir():
        unfinished = data.with_name(f".{name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        trial.write(options.data / trial.source, unfinished)
        unfinished.rename(data)
    command = [sys.executable, "-m", "samtailor", "recipe", trial.recipe, "--data", str(data), "--out", str(out)]
    command += ["--preset", "both", "--base", options.base, "--seeds", options.seeds]
    command += [part.format(detectors=options.detectors) for part in trial.options]
    subprocess.run(command, check=True)
    return out


def table_of(name: str, by_settings: Mapping[str, Mapping[str, Any]]) -> Table:
    """The table of a trial: every row of the recipe with each set of settings.

    Args:
        name: of the trial.
        by_settings: content of the JSON file of the recipe, by the name of the settings.
    """
    rows: dict[str, dict[str, Cell]] = {}
    for place in range(len(next(iter(by_settings.values()))["measured"])):
        for settings, content in by_settings.items():
            row = content["measured"][place]
            rows[key_of(row, settings)] = _cells(row, settings, content)
    return Table(title=TRIALS[name].title, columns=_columns(rows), rows=_once(rows), note=TRIALS[name].note)


def key_of(row: Mapping[str, Any], settings: str) -> str:
    """Key of a row in the result."""
    parts = [row["title"], *([row["shots"]] if row["shots"] else []), settings]
    return "-".join(str(part) for part in parts).lower().replace("+", "-").replace(" ", "-")


def _cells(row: Mapping[str, Any], settings: str, content: Mapping[str, Any]) -> dict[str, Cell]:
    figure = "dice" if row["shots"] else "iou"
    cells: dict[str, Cell] = {
        "row": row["title"],
        "settings": settings,
        "measured": _figure(row, figure, len(content["seeds"])),
        "masks": row["masks"],
    }
    published = next(one["published"] for one in content["rows"] if one["title"] == row["title"])
    number = published[content["shots"].index(row["shots"])] if row["shots"] else published[-1]
    cells |= {"shots": row["shots"]} if row["shots"] else {}
    cells |= {"published": number} if isinstance(number, float | int) else {}
    return cells | ({"seconds": round(s, 1)} if (s := row["cost"]["cpu_seconds"]) else {})


def _figure(row: Mapping[str, Any], figure: str, seeds: int) -> Figure:
    one = results.interval(row[figure], row[f"{figure}_masks_interval"])
    values = tuple(results.percent(seed[figure]) for seed in row["seeds"].values())
    return one.model_copy(update={"seeds": values}) if seeds > 1 else one


def _once(rows: Mapping[str, Mapping[str, Cell]]) -> dict[str, dict[str, Cell]]:
    """The unchanged base has one row: it has no settings, and both runs of it are the same."""
    fitted = {key: dict(row) for key, row in rows.items() if "seconds" in row}
    same: dict[Any, tuple[str, dict[str, Cell]]] = {}
    for key, row in rows.items():
        if key not in fitted:
            same.setdefault((row["row"], row.get("shots")), (key, {**row, "settings": "both"}))
    return {key: row for key, row in (*same.values(), *fitted.items())}


def _columns(rows: Mapping[str, Mapping[str, Cell]]) -> tuple[Column, ...]:
    """Without the columns that no row has."""
    return tuple(column for column in COLUMNS if any(column.key in row for row in rows.values()))


def _content(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    return json.loads(file.read_text(encoding="utf-8"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detectors", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,")
    parser.add_argument("--base", default="lite")
    parser.add_argument("--only", type=lambda text: text.split(","), help="trials to run")
    results.add_option(parser, "presets")
    return parser.parse_args()


if __name__ == "__main__":
    main()
