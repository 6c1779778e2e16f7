"""Projects on disk: a killed process loses nothing that was confirmed, and no file outside the folder is opened."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_serve_door import bomb

from samtailor.data.dataset import open_dataset
from samtailor.errors import DataError, InputError
from samtailor.masks.metrics import iou
from samtailor.registry import names
from samtailor.serve.refusals import Refused, Taken, TooLarge, Unknown, Unreadable
from samtailor.workbench import start
from samtailor.workbench.annotation_folder import AnnotationFolder
from samtailor.workbench.exports import Exports
from samtailor.workbench.file_lock import lock_project
from samtailor.workbench.images import by_name
from samtailor.workbench.project import Stale
from samtailor.workbench.records import Object
from samtailor.workbench.settings import Class
from tiny import disc_sample
from workbench import ids, images_folder, objects_of, open_project, square

WRITER = """
import sys
from pathlib import Path
from samtailor.serve.limits import Limits
from samtailor.workbench.images import ImageFolder
from samtailor.workbench.project import Project
from samtailor.workbench.records import Object
root = Path(sys.argv[1])
project = Project(root / ".samtailor", ImageFolder(root, root / ".samtailor" / "cache", Limits()), "tiny-sam2")
id, *_ = project.images.all()
object = Object.model_validate_json(sys.argv[2])
revision = project.read(id).revision
while True:
    revision = project.put(id, revision, "open", [] if revision % 2 else [object]).revision
    print(revision, flush=True)
"""

LOCKER = """
import sys
from pathlib import Path
from samtailor.workbench.file_lock import lock_project
lock = lock_project(Path(sys.argv[1]))
print("locked", flush=True)
"""


@pytest.fixture
def root(tmp_path) -> Path:
    return images_folder(tmp_path / "images")


@pytest.fixture
def project(root):
    opened = open_project(root)
    yield opened
    opened.close()


@pytest.fixture
def reopened():
    """A function that closes a project and opens it again."""
    opened = []

    def reopen(project):
        project.close()
        opened.append(open_project(project.images.folder))
        return opened[-1]

    yield reopen
    for project in opened:
        project.close()


def test_saved_annotations_are_there_after_a_restart(project, reopened):
    first, second, *_ = ids(project)
    assert project.put(first, 0, "accepted", objects_of(0)).revision == 1
    assert project.put(second, 0, "open", objects_of(1)[:1]).revision == 1
    again = reopened(project)
    assert again.read(first).objects == objects_of(0)
    assert [(row["state"], row["objects"]) for row in again.rows()[:3]] == [("accepted", 2), ("open", 1), ("open", 0)]
    assert again.counts() == {"open": 5, "proposed": 0, "accepted": 1, "failed": 0}
    assert (again.labels(), again.labels("open")) == ({"disc": 1, "square": 1}, {"disc": 1})


def test_project_of_version_0_1_keeps_its_annotations(project, reopened):
    first = ids(project)[0]
    project.put(first, 0, "accepted", objects_of(0))
    project.close()
    home = project.home
    (home / "annotations").rename(home / "pictures")
    for file in (home / "pictures").glob("*.json"):
        values = json.loads(file.read_text("utf-8").replace('"image":', '"picture":'))
        del values["crc32"]  # those of version 0.1 have no checksum
        file.write_text(json.dumps(values), "utf-8")
    again = reopened(project)
    assert again.read(first).objects == objects_of(0)
    assert not (home / "pictures").exists()


def test_save_with_an_old_revision_fails_and_returns_the_newer_record(project):
    id = ids(project)[0]
    project.put(id, 0, "open", objects_of(0))
    for old in (0, 2):
        with pytest.raises(Stale) as raised:
            project.put(id, old, "accepted", [])
        assert (raised.value.status, raised.value.record.revision, len(raised.value.record.objects)) == (409, 1, 2)
    assert project.read(id).state == "open"


def test_kill_while_saving_leaves_complete_records_and_loses_no_confirmed_save(root):
    project, object = open_project(root), objects_of(0)[0]
    project.close()
    command, acknowledged = [sys.executable, "-c", WRITER, str(root), object.model_dump_json(by_alias=True)], 0
    for lines in (3, 12):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(lines):
                acknowledged = int(process.stdout.readline())
            time.sleep(0.003 * lines)
            process.kill()
            rest = process.stdout.read().splitlines()
            acknowledged = int(rest[-1]) if rest else acknowledged
        project = open_project(root)  # the system has released the lock of the killed process
        record = project.read(ids(project)[0])
        assert record.revision in (acknowledged, acknowledged + 1)
        assert len(record.objects) == (1 if record.revision % 2 else 0)
        assert not list((root / ".samtailor" / "annotations").glob(".*"))
        project.close()


def test_second_session_is_refused(project):
    with pytest.raises(InputError, match=r"open in another samtailor ui\. Stop that one first"):
        open_project(project.images.folder)


def test_lock_excludes_other_processes_and_is_released_by_any_thread(tmp_path):
    command = [sys.executable, "-c", LOCKER, str(tmp_path / "home")]
    lock = lock_project(tmp_path / "home")
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "is open in another samtailor ui" in refused.stderr
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert subprocess.run(command, capture_output=True, text=True, timeout=120).stdout == "locked\n"


def test_project_folder_that_is_not_writable_is_an_input_error(root):
    (root / "file").write_text("")
    with pytest.raises(InputError, match=r"is not writable \(.*\)\. Choose another one with --project DIR"):
        lock_project(root / "file" / "home")


def test_other_base_model_is_refused(project, reopened):
    project.settings.base = "other"
    project._save(project.settings)
    with pytest.raises(InputError, match="--base other"):
        reopened(project)


def test_damaged_record_is_reported_and_never_overwritten(project, reopened):
    id = ids(project)[0]
    project.put(id, 0, "accepted", objects_of(0))
    file = project.home / "annotations" / f"{id}.json"
    file.write_text(file.read_text()[:-20])
    again = reopened(project)
    assert again.row(id)["state"] == "failed"
    assert "cannot be read" in again.row(id)["error"]
    with pytest.raises(DataError):
        again.put(id, 0, "accepted", [])
    with pytest.raises(DataError):
        again.propose(id, [], 1.0, "x")
    assert id not in again.waiting("x")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"class_": "cat"}, "no class 'cat'"),
        ({"rle": square(2, 2, size=(80, 48))}, r"expected \(48, 80\) \(its image\)"),
        ({"rle": {"size": (48, 80), "counts": "1"}}, "add up"),
        ({"rle": {"size": (48, 80), "counts": "\x7f\x7f"}}, "not a COCO"),
        ({"rle": square(2, 2, side=0)}, "empty"),
        ({"id": "o1"}, "same id"),
    ],
)
def test_invalid_objects_are_refused_and_nothing_is_saved(project, change, word):
    id, good = ids(project)[0], objects_of(0)
    bad = Object(**{**good[0].model_dump(), **change})
    with pytest.raises(InputError, match=word):
        project.put(id, 0, "accepted", [bad, *good[1:]])
    assert project.read(id).revision == 0


def test_adapter_never_overwrites_work_of_the_user(project):
    accepted, draft, empty, proposed, *_ = ids(project)
    project.put(accepted, 0, "accepted", [])
    project.put(draft, 0, "open", objects_of(1)[:1])
    assert project.propose(proposed, objects_of(3), 0.7, "one")
    assert {accepted, draft} & set(project.waiting("two")) == set()
    assert proposed not in project.waiting("one")  # a stopped job processes no image twice
    assert {empty, proposed} <= set(project.waiting("two"))
    assert project.waiting("one", [accepted, proposed]) == [proposed]  # explicitly chosen images are labeled again
    for id in (accepted, draft):
        assert not project.propose(id, objects_of(2), 0.1, "two")
    assert project.read(accepted).objects == []
    assert project.row(proposed)["uncertainty"] == 0.7
    project.put(proposed, 1, "accepted", objects_of(3))
    assert project.row(proposed)["uncertainty"] is None


def test_classes_are_renamed_in_all_records_and_for_earlier_adapters(project, reopened):
    id, other, *_ = ids(project)
    project.put(id, 0, "accepted", objects_of(0))
    with pytest.raises(Taken, match="'disc'"):
        project.set_classes([Class(name="square")], {})
    project.set_classes([Class(name="plate", color="#123456"), Class(name="square")], {"disc": "plate"})
    assert [o.class_ for o in project.read(id).objects] == ["plate", "square"]
    assert project.propose(other, objects_of(1), 0.5, "old adapter")
    assert [o.class_ for o in project.read(other).objects] == ["plate", "square"]
    again = reopened(project)
    assert again.classes == ["plate", "square"]
    assert again.settings.classes[0].color == "#123456"


def test_interrupted_renaming_is_completed_at_the_next_start(project, reopened, monkeypatch):
    for index, id in enumerate(ids(project)[:3]):
        project.put(id, 0, "accepted", objects_of(index))
    write, calls = AnnotationFolder.write, []

    def killed(self, id, record):
        calls.append(id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(self, id, record)

    monkeypatch.setattr(AnnotationFolder, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        project.set_classes([Class(name="plate"), Class(name="square")], {"disc": "plate"})
    monkeypatch.undo()
    again = reopened(project)
    assert all([o.class_ for o in again.read(id).objects] == ["plate", "square"] for id in ids(again)[:3])
    assert again.settings.renaming == {}


@pytest.mark.parametrize(
    ("classes", "renamed", "word"),
    [
        (["disc", "Disc"], {}, "same name"),
        (["disc", "square"], {"disc": "square"}, "'disc' cannot be renamed to 'square'"),
        (["disc", "plate"], {"square": "nowhere"}, "cannot be renamed"),
        (["disc", "plate"], {"cat": "plate"}, "cannot be renamed"),
    ],
)
def test_invalid_lists_of_classes_are_refused(project, classes, renamed, word):
    with pytest.raises(InputError, match=word):
        project.set_classes([Class(name=name) for name in classes], renamed)
    assert project.classes == ["disc", "square"]


@pytest.mark.parametrize("name", ["", " ", "../up", "a/b", "a\\b", ".hidden", "x" * 65, "a\nb", 'a"b'])
def test_invalid_class_names_are_refused(project, name):
    with pytest.raises(InputError):
        project.add_classes([name])


def test_damaged_hostile_and_linked_images_are_listed_as_failed(tmp_path):
    root = images_folder(tmp_path / "images", 1)
    secret = tmp_path / "secret.png"
    Image.fromarray(disc_sample(9).image).save(secret)
    (root / "escape.png").symlink_to(secret)
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "bomb.png").write_bytes(bomb(60_000, 60_000))
    (root / "large.png").write_bytes(bomb(300, 300))
    (root / "text.jpg").write_text("hello")
    (root / "heavy.bmp").write_bytes(b"BM" + bytes(300_000))
    (root / "empty.png").write_bytes(b"")
    (root / ".hidden.png").write_bytes(secret.read_bytes())
    project = open_project(root)
    rows = {row["name"]: row for row in project.rows()}
    assert ".hidden.png" not in rows
    assert {name for name, row in rows.items() if row["state"] == "failed"} == set(rows) - {"p0.png"}
    assert "outside" in rows["escape.png"]["error"]
    assert "pixels" in rows["bomb.png"]["error"]
    assert "200,000" in rows["heavy.bmp"]["error"]
    for name, kind in (("escape.png", Unreadable), ("bomb.png", TooLarge), ("text.jpg", Unreadable)):
        with pytest.raises(kind):
            project.images.pixels(rows[name]["id"])
        with pytest.raises(Refused):
            project.put(rows[name]["id"], 0, "accepted", [])
    project.close()


def test_link_that_replaces_an_image_is_not_followed(root, tmp_path):
    project = open_project(root)
    secret = tmp_path / "secret.png"
    Image.fromarray(disc_sample(9).image).save(secret)
    (root / "p0.png").unlink()
    (root / "p0.png").symlink_to(secret)
    for read in (project.images.data, project.images.upright, project.images.thumbnail):
        with pytest.raises(Unreadable, match="outside"):
            read(id_of(project, "p0.png"))
    project.close()


def id_of(project, name: str) -> str:
    return next(image.id for image in project.images.all().values() if image.name == name)


def test_truncated_image_fails_when_it_is_read(root):
    data = (root / "p0.png").read_bytes()
    (root / "p0.png").write_bytes(data[: len(data) // 2])
    project = open_project(root)
    id = id_of(project, "p0.png")
    assert project.row(id)["state"] == "open"  # the header is intact
    with pytest.raises(Unreadable):
        project.images.thumbnail(id)
    assert project.row(id)["state"] == "failed"
    (root / "p0.png").write_bytes(data)  # repaired
    assert {row["id"]: row for row in project.rows()}[id]["state"] == "open"
    project.close()


@pytest.mark.parametrize("id", ["", "..", "../project", "%2e%2e", "p0.png", "0" * 20, "/etc/passwd"])
def test_ids_cannot_name_files(project, id):
    for read in (project.read, project.images.data, project.images.thumbnail, project.row):
        with pytest.raises(Unknown):
            read(id)


def test_exif_rotation_applies_to_images_and_thumbnails(tmp_path):
    root, exif = tmp_path / "images", Image.Exif()
    root.mkdir()
    exif[0x0112] = 6
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = 255
    Image.fromarray(image).save(root / "turned.jpg", exif=exif, quality=95)
    project = open_project(root)
    (row,) = project.rows()
    assert (row["width"], row["height"]) == (40, 60)
    for data in (project.images.upright(row["id"])[0], project.images.thumbnail(row["id"])):
        with Image.open(io.BytesIO(data)) as shown:
            assert shown.size == (40, 60)
            assert np.asarray(shown.convert("L"))[5, 20] > 200 > 60 > np.asarray(shown.convert("L"))[55, 20]
    project.close()


def test_two_thousand_images_are_listed_from_the_index(tmp_path, monkeypatch):
    root = images_folder(tmp_path / "images", 1)
    data = (root / "p0.png").read_bytes()
    for i in range(1, 2000):
        (root / f"p{i}.png").write_bytes(data)
    open_project(root).close()

    def refuse(*anything):
        raise AssertionError("a file was opened")

    monkeypatch.setattr("samtailor.workbench.image_files._pages", refuse)
    project = open_project(root)
    rows = project.rows()
    assert [row["name"] for row in rows[9:12]] == ["p9.png", "p10.png", "p11.png"]
    assert len(rows) == 2000
    project.close()


def test_names_of_images_that_differ_only_in_suffix_stay_unique(root):
    (root / "p0.bmp").write_bytes(b"")
    project = open_project(root)
    assert set(by_name(project.images.all())) == {"p0_png", "p0_bmp", *(f"p{i}" for i in range(1, 6))}
    project.close()


@pytest.mark.parametrize("format", names("writers"))
def test_every_format_exports_the_labels(project, format):
    chosen = ids(project)[:3]
    for index, id in enumerate(chosen):
        project.put(id, 0, "accepted", objects_of(index))
    project.propose(ids(project)[3], objects_of(3), 0.2, "x")
    exports = Exports(project.home / "exports", project)
    export = exports.write(format, ["accepted"])
    folder = Path(export["folder"])
    assert (export["images"], export["objects"]) == (3, 6)
    assert export["files"] == sum(f.is_file() for f in folder.rglob("*"))
    assert exports.write(format, ["accepted", "proposed"])["objects"] == 8
    options = {"predictions": True} if format == "label-studio" else {}
    samples = {sample.id.rpartition("/")[2]: sample for sample in open_dataset(folder, **options)}
    samples = {name.removesuffix(".png"): sample for name, sample in samples.items()}
    assert set(samples) == {"p0", "p1", "p2"}
    for index in range(3):
        expected, exported = disc_sample(index).annotations, samples[f"p{index}"].annotations
        assert [annotation.label for annotation in exported] == [annotation.label for annotation in expected]
        for annotation, truth in zip(exported, expected, strict=True):
            assert iou(annotation.mask, truth.mask) > 0.95


def test_an_export_names_what_is_not_in_it(project):
    accepted, draft, proposed = ids(project)[:3]
    project.put(accepted, 0, "accepted", [*objects_of(0), objects_of(0)[0].model_copy(update={"id": "twin"})])
    project.put(draft, 0, "open", objects_of(1))
    project.propose(proposed, objects_of(2), 0.2, "x")
    exports = Exports(project.home / "exports", project)
    export = exports.write("instances", ["accepted"])
    assert (export["images"], export["objects"]) == (1, 2)  # of two equal objects one is hidden
    notes = " ".join(export["notes"])
    for words in ("drafts, 1 image: p1.png", "not accepted, 1 image: p2.png", "Left out 1 object", "p0: disc"):
        assert words in notes
    everything = exports.write("coco", ["accepted", "proposed"], options={"rle": True})
    assert [note for note in everything["notes"] if "p2" in note] == []
    content = json.loads((Path(everything["folder"]) / "annotations" / "instances.json").read_text())
    assert all(isinstance(one["segmentation"], dict) for one in content["annotations"])
    with pytest.raises(InputError):
        exports.write("voc", ["accepted"], options={"rle": True})


def test_export_lists_manual_objects_first_and_proposals_by_score(project):
    sources = [("auto", 0.4), ("auto", 0.9), ("brush", None), ("click", 0.3)]
    objects = [
        Object(id=f"o{i}", class_="disc", rle=square(1 + 10 * i, 5, side=4 + i), source=source, score=score)
        for i, (source, score) in enumerate(sources)
    ]
    project.put(ids(project)[0], 0, "accepted", objects)
    folder = Path(Exports(project.home / "exports", project).write("coco", ["accepted"])["folder"])
    written = json.loads((folder / "annotations" / "instances.json").read_text())["annotations"]
    assert [(row["area"], row["score"]) for row in written] == [(36, 1.0), (49, 1.0), (25, 0.9), (16, 0.4)]


def test_zip_file_contains_the_export_and_only_exports_are_packed(project):
    project.put(ids(project)[0], 0, "accepted", objects_of(0))
    exports = Exports(project.home / "exports", project)
    export = exports.write("coco", ["accepted"])
    with zipfile.ZipFile(exports.packed(export["name"])) as archive:
        assert sorted(archive.namelist()) == ["coco-001/annotations/instances.json", "coco-001/images/p0.png"]
        content = json.loads(archive.read("coco-001/annotations/instances.json"))
        assert archive.read("coco-001/images/p0.png") == (project.images.folder / "p0.png").read_bytes()
    assert len(content["annotations"]) == 2
    for name in ("..", "../cache", "coco-002", "coco-001/images", ".coco-001", ""):
        with pytest.raises(Unknown):
            exports.packed(name)
    with pytest.raises(Refused, match="no image is proposed"):
        exports.write("coco", ["proposed"])
    assert exports.write("coco", ["accepted"])["name"] == "coco-002"


def test_a_project_of_the_earlier_bundled_base_keeps_its_annotations_on_another_base(tmp_path):
    root = images_folder(tmp_path)
    project = open_project(root)
    first = ids(project)[0]
    project.put(first, 0, "accepted", objects_of(0))
    project.close()
    settings = root / ".samtailor" / "project.json"
    saved = json.loads(settings.read_text("utf-8")) | {"base": "nano"}
    settings.write_text(json.dumps({k: v for k, v in saved.items() if k != "crc32"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"uses 'nano'.*Fit the adapter again.*--base lite the project keeps its"):
        start.open_session(root)
    project = open_project(root)
    try:
        assert project.settings.base == "tiny-sam2"
        assert project.read(first).state == "accepted"
    finally:
        project.close()


def test_objects_of_a_removed_class_can_be_moved(tmp_path):
    project = open_project(images_folder(tmp_path))
    first, second = ids(project)[:2]
    project.put(first, 0, "accepted", [Object(id="a", class_="square", rle=square(2, 2))])
    project.put(second, 0, "open", [Object(id="b", class_="disc", rle=square(2, 2))])
    kept = [one for one in project.settings.classes if one.name == "disc"]
    with pytest.raises(Taken):
        project.set_classes(kept, {})
    for moved in ({"disc": "square"}, {"square": "nothing"}, {"other": "disc"}):
        with pytest.raises((InputError, Taken)):
            project.set_classes(kept, {}, moved)
    assert project.class_objects() == {"square": 1, "disc": 1}
    project.set_classes(kept, {}, {"square": "disc"})
    assert (project.classes, project.class_objects()) == (["disc"], {"disc": 2})
    assert project.read(first).objects[0].class_ == "disc"
    assert project.settings.aliases == {"square": "disc"}
    project.close()


def test_export_in_two_parts_with_chosen_classes_and_drafts(project):
    rows = project.rows()
    exports = Exports(project.home / "exports", project)
    accepted = rows[:3]
    for i, row in enumerate(accepted):
        project.put(row["id"], 0, "accepted", [*objects_of(i), Object(id="s", class_="square", rle=square(2, 2))])
    project.put(rows[3]["id"], 0, "open", [Object(id="d", class_="square", rle=square(2, 2))])
    export = exports.write("coco", ["accepted", "open"], val=0.3, classes=["square"])
    folder = Path(export["folder"])
    parts = {name: open_dataset(folder / name, format="coco") for name in ("train", "val")}
    ids_of = {name: {sample.id for sample in part} for name, part in parts.items()}
    assert not ids_of["train"] & ids_of["val"]
    assert len(ids_of["train"] | ids_of["val"]) == export["images"] == len(accepted) + 1
    assert {a.label for part in parts.values() for sample in part for a in sample.annotations} == {"square"}
    assert "train/annotations/instances.json" in export["loading"]
    assert any("classes that were not chosen" in note for note in export["notes"])
    assert any("for training" in note for note in export["notes"])
    without = exports.write("coco", ["accepted"])
    assert any("drafts" in note for note in without["notes"])
    with pytest.raises(InputError):
        exports.write("coco", ["accepted"], classes=["nothing"])
    assert (Path(exports.write("yolo", ["accepted"], val=0.3)["folder"]) / "images" / "val").is_dir()
