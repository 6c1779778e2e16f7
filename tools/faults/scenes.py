"""Operations whose writes fail, how a user continues afterwards, and what must be true then.

A scene has `prepare(folder)`, `work(folder)` and `judge(folder, done)`. `judge` continues as a user would and returns
one of `OUTCOMES`; it raises `Wrong` if something that was confirmed is lost, or a result differs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faults import onnx
from faults.outcome import Wrong

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

OUTCOMES = ("complete", "refused in words")
"""After the user continued the result is complete and right; or a damaged file is named and nothing is made from it."""
SIZE = (24, 36)


@dataclass(frozen=True)
class Scene:
    """See the module docstring; `rotten` lists the files of which a bit may flip."""

    label: str
    prepare: Callable[[Path], object]
    work: Callable[[Path], object]
    judge: Callable[[Path], str]
    rotten: Callable[[Path], list[Path]]


def files(*patterns: str) -> Callable[[Path], list[Path]]:
    """Files of a folder by patterns."""
    return lambda folder: sorted(file for one in patterns for file in folder.glob(one) if file.is_file())


def _refused(call: Callable[[], Any]) -> Any:
    """The result of a call, or None if samtailor refused in words."""
    from samtailor.errors import SamtailorError

    try:
        return call()
    except SamtailorError:
        return None


# page

NAMES = ("a", "b", "c")


def _photos(folder: Path, count: int = 3) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        values = np.random.default_rng(i).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{i}.png")


def _project(folder: Path) -> Any:
    from samtailor.serve.limits import Limits
    from samtailor.workbench.images import ImageFolder
    from samtailor.workbench.project import Project

    home = folder / "project"
    return Project(home, ImageFolder(folder / "images", home / "cache", Limits()), "nano")


def _object(number: int, name: str) -> Any:
    from samtailor.masks.rle import encode, to_json
    from samtailor.workbench.records import Object

    mask = np.zeros(SIZE, bool)
    mask[2 : 6 + number, 3 : 9 + 2 * number] = True
    return Object.model_validate({"id": f"o{number}", "class": name, "rle": to_json(encode(mask)), "source": "brush"})


def _page_steps(project: Any) -> list[Callable[[], Any]]:
    from samtailor.workbench.settings import Class

    ids = list(project.images.all())

    def put(image: int, number: int, name: str, state: str = "accepted") -> Callable[[], Any]:
        def step() -> Any:
            revision = project.read(ids[image]).revision
            return project.put(ids[image], revision, state, [_object(number, name)])

        return step

    return [
        lambda: project.add_classes(["car", "tree"]),
        put(0, 1, "car"),
        put(1, 2, "car"),
        put(2, 3, "tree", "open"),
        lambda: project.set_classes([Class(name="vehicle"), Class(name="tree")], {"car": "vehicle"}),
        put(0, 4, "vehicle"),
        lambda: project.propose(ids[2], [_object(5, "tree")], 0.5, "x:None"),
        put(2, 6, "tree"),
    ]


def _state(project: Any) -> list[Any]:
    records = [project.read(id) for id in project.images.all()]
    return [project.classes, [[r.state, r.revision, [(o.class_, o.rle.counts) for o in r.objects]] for r in records]]


def _page_prepare(folder: Path) -> None:
    _photos(folder / "images")


def _page_work(folder: Path) -> None:
    project = _project(folder)
    (folder / "confirmed").touch()
    descriptor = os.open(folder / "confirmed", os.O_WRONLY | os.O_APPEND)
    for step in _page_steps(project):
        step()
        os.write(descriptor, b".")  # what the page has confirmed to its user
    project.close()


@cache
def _page_states() -> list[Any]:
    """State of a project after each number of steps, without faults."""
    import tempfile

    states = []
    with tempfile.TemporaryDirectory() as text:
        _page_prepare(Path(text))
        project = _project(Path(text))
        states.append(_without_revisions(_state(project)))
        for step in _page_steps(project):
            step()
            states.append(_without_revisions(_state(project)))
        project.close()
    return states


def _without_revisions(state: list[Any]) -> list[Any]:
    return [state[0], [[row[0], row[2]] for row in state[1]]]


def _page_judge(folder: Path) -> str:
    confirmed = (folder / "confirmed").stat().st_size if (folder / "confirmed").exists() else 0
    project = _refused(lambda: _project(folder))
    if project is None:
        return "refused in words"
    try:
        state = _refused(lambda: _without_revisions(_state(project)))
    finally:
        project.close()
    if state is None:
        return "refused in words"
    allowed = _page_states()[confirmed : confirmed + 2]
    if not any(state[1] == one[1] and set(state[0]) >= _used(one) for one in allowed):
        raise Wrong(f"after {confirmed} confirmed steps: {state}")
    return "complete"


def _used(state: list[Any]) -> set[str]:
    return {name for _, objects in state[1] for name, _ in objects}


# cache


@cache
def _base() -> Any:
    import torch
    from transformers import SamConfig, SamModel

    from samtailor.bases.sam import Sam
    from tiny import SAM, wake

    torch.manual_seed(0)
    model = SamModel(SamConfig(**SAM)).eval()
    wake(model)
    return Sam(model, "tiny")


def _cache_samples() -> list[Any]:
    from tiny import disc_sample

    return [disc_sample(i) for i in range(4)]


def _features(folder: Path) -> Any:
    from samtailor.cache.embeddings import EmbeddingCache

    return EmbeddingCache(folder / "cache").features(_base(), _cache_samples())


@cache
def _true_features() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as text:
        return _features(Path(text)).main.clone()


def _cache_judge(folder: Path) -> str:
    for _ in range(2):  # the second time from what the first has repaired
        if not (_features(folder).main == _true_features()).all():
            raise Wrong("another embedding than without the cache")
    return "complete"


# fit


def _fit(folder: Path, resume: bool = False) -> None:
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.fitting import fit
    from samtailor.train.config import FitConfig
    from tiny import disc_sample

    settings: dict[str, Any] = {"method": "plm", "options": {"heads": 4, "mlp_dim": 16}, "steps": 4, "batch_size": 2}
    settings |= {"val": 0.25, "eval_masks": 2, "trackers": (), "near_duplicates": False, "checkpoint_every": 2}
    config = FitConfig(out=folder / "out", base="tiny", classes=("disc",), eval_every=2, **settings)
    store = EmbeddingCache(folder.parent / "fit-cache")
    fit(config, samples=[disc_sample(i) for i in range(6)], base=_base(), store=store, resume=resume)


def _adapter(folder: Path) -> Any:
    from samtailor import artefact

    loaded = artefact.load(folder / "out", _base())
    figures = {key: value for key, value in loaded.meta.figures.items() if "seconds" not in key}
    return {name: value.tolist() for name, value in loaded.segmenter.learned().items()}, figures, loaded.meta.inference


@cache
def _true_adapter() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as text:
        (Path(text) / "x").mkdir()
        _fit(Path(text) / "x")
        return _adapter(Path(text) / "x")


def _fit_judge(folder: Path) -> str:
    from samtailor import artefact
    from samtailor.errors import SamtailorError

    before = _refused(lambda: _adapter(folder))
    if before is not None and before != _true_adapter():
        raise Wrong("an adapter loads that is not the fitted one")
    if before is not None:
        return "complete"
    try:
        _fit(
            folder,
            resume=(folder / "out" / "config.yaml").exists() and not (folder / "out" / artefact.METADATA).exists(),
        )
        again = _adapter(folder)
    except SamtailorError:
        shutil.rmtree(folder / "out", ignore_errors=True)
        _fit(folder)  # --overwrite, or another folder
        if _adapter(folder) != _true_adapter():
            raise Wrong("a new fit differs") from None
        return "refused in words"
    if again != _true_adapter():
        raise Wrong("the resumed fit differs")
    return "complete"


# label and export of a data set


def _labels(folder: Path) -> None:
    import samtailor.labelling as labelling
    from samtailor.data.writers import LabelledImage, LabelledObject
    from samtailor.masks.rle import encode

    def predicted(predictor: Any, sources: Any, images: Any, tiling: Any) -> Any:
        for name, path in images:
            mask = np.zeros(SIZE, bool)
            mask[3 : 9 + int(name), 4:20] = True
            yield LabelledImage(name, path, *SIZE, (LabelledObject("disc", encode(mask), 0.5, "mine"),))

    class Predictor:
        class base:
            fingerprint = "tiny"

    before = labelling.predict_images
    labelling.predict_images = predicted  # type: ignore[assignment]  # the files matter here, the masks do not
    try:
        images = {file.stem: file for file in sorted((folder / "images").glob("*.png"))}
        labelling.label(Predictor, [], images, folder / "out", format="coco", put="copy")  # type: ignore[arg-type]
    finally:
        labelling.predict_images = before


def _label_result(folder: Path) -> Any:
    from samtailor.data.dataset import open_dataset

    samples = open_dataset(folder / "out", format="coco")
    return [(s.id, [(a.label, a.rle["counts"]) for a in s.annotations], s.image.tobytes()) for s in samples]


@cache
def _true_labels() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as text:
        _photos(Path(text) / "images")
        _labels(Path(text))
        return _label_result(Path(text))


def _label_judge(folder: Path) -> str:
    from samtailor.errors import SamtailorError

    refused = False
    try:
        _labels(folder)  # the same command again
    except SamtailorError:
        refused = True
        shutil.rmtree(folder / "out")
        _labels(folder)
    if _label_result(folder) != _true_labels():
        raise Wrong("the labels differ")
    if leftovers := [path for path in (folder / "out").rglob(".*") if path.name != ".label"]:
        raise Wrong(f"leftovers: {leftovers}")
    return "refused in words" if refused else "complete"


def _exports(folder: Path) -> Any:
    from samtailor.workbench.exports import Exports

    project = _project(folder)
    try:
        exports = Exports(folder / "project" / "exports", project)
        name = exports.write("coco", ["accepted"], "copy")["name"]
        return exports.packed(name)
    finally:
        project.close()


def _export_prepare(folder: Path) -> None:
    _page_prepare(folder)
    project = _project(folder)
    for step in _page_steps(project):
        step()
    project.close()


def _export_result(file: Path) -> Any:
    import zipfile

    with zipfile.ZipFile(file) as archive:
        return {Path(name).name: archive.read(name) for name in archive.namelist()}


@cache
def _true_export() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as text:
        _export_prepare(Path(text))
        return _export_result(_exports(Path(text)))


def _export_judge(folder: Path) -> str:
    if _export_result(_exports(folder)) != _true_export():
        raise Wrong("the export differs")
    for place in (folder / "project" / "exports").iterdir():
        if place.name.startswith("."):
            raise Wrong(f"leftover {place.name}")
        if place.is_dir() and {file.name for file in place.rglob("*") if file.is_file()} != set(_true_export()):
            raise Wrong(f"an incomplete export {place.name}")
    return "complete"


# compare: scores that are kept between runs


def _scores(folder: Path) -> Any:
    from samtailor.compare.scoring import SharedEvaluation

    class Row:
        kind, learns, output = "methods", False, None

    class Counted(SharedEvaluation):
        def _evaluate(self, rows: Any, base: Any, store: Any, progress: Any) -> Any:
            from samtailor.evaluation.scores import Evaluation, Score

            names = Score.__dataclass_fields__
            row = {name: 0.5 for name in names} | {"id": "p0", "label": "disc", "group": None}
            return {name: {"": Evaluation((Score(**{key: row[key] for key in names}),), "clicks", 0)} for name in rows}

    found = {}
    for label in ("disc", "square"):
        evaluation = Counted(_cache_samples()[:2], (label,), None, False, False)
        rows: Any = {"mine": Row()}
        found[label] = evaluation.scores(rows, _base(), None, folder / "out")["mine"].table()
    return found


@cache
def _true_scores() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as text:
        return json.dumps(_scores(Path(text)))


def _compare_judge(folder: Path) -> str:
    from samtailor.errors import SamtailorError

    refused = False
    try:
        again = _scores(folder)
    except SamtailorError:
        refused = True
        shutil.rmtree(folder / "out")
        again = _scores(folder)
    if json.dumps(again) != _true_scores():
        raise Wrong("the scores differ")
    return "refused in words" if refused else "complete"


SCENES = {
    "page": Scene(
        "page: classes, annotations, renaming",
        _page_prepare, _page_work, _page_judge, files("project/project.json", "project/annotations/*.json"),
    ),
    "export": Scene("export of the page", _export_prepare, _exports, _export_judge, lambda folder: []),
    "label": Scene(
        "`label`", lambda folder: _photos(folder / "images"), _labels, _label_judge, files("out/.label/*.json"),
    ),
    "cache": Scene("cache of embeddings", lambda folder: None, _features, _cache_judge, files("cache/*/*")),
    "compare": Scene("`compare`: kept scores", lambda folder: None, _scores, _compare_judge, files("out/*.json")),
    "fit": Scene(
        "`fit`", lambda folder: None, _fit, _fit_judge,
        files("out/adapter.*", "out/checkpoint.safetensors"),
    ),
    "onnx": Scene("`export` to ONNX", onnx.prepare, onnx.work, onnx.judge, lambda folder: []),
}  # fmt: skip
"""All scenes by name."""
