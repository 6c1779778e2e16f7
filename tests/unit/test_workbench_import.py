"""Import of annotations into a project: every layout, the account, stops, and repeated imports."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from layouts import ALL, photo
from layouts.basic import write_folder
from samtailor.data.dataset import open_dataset
from samtailor.errors import DataError
from samtailor.masks.rle import to_json
from samtailor.serve.limits import Limits
from samtailor.workbench.app import build
from samtailor.workbench.images import ImageFolder
from samtailor.workbench.importer import Importer, class_name
from samtailor.workbench.importing import DatasetReader
from samtailor.workbench.imports import import_now
from samtailor.workbench.project import Project
from samtailor.workbench.records import Object
from workbench import open_session, square

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
LIMITS = Limits(bytes=10_000_000, pixels=1_000_000)


def project_of(folder: Path, home: Path | None = None, classes=("object",)) -> Project:
    home = folder / ".samtailor" if home is None else home
    return Project(home, ImageFolder(folder, home / "cache", LIMITS), "tiny-sam2", classes)


def saved(project: Project) -> dict[str, list[tuple[str, str]]]:
    """Class and run lengths of the accepted objects, by name of the image."""
    return {
        image.name: sorted((o.class_, o.rle.counts) for o in record.objects)
        for image, record in project.records(["accepted"])
    }


def outcome(report, name: str):
    return report.outcomes[name].images, report.outcomes[name].objects


@pytest.mark.parametrize("layout", ALL)
def test_every_layout_is_imported_exactly_once_and_accounted_for(layout, tmp_path):
    ALL[layout](tmp_path)
    project = project_of(tmp_path)
    account, report = import_now(project, tmp_path, None, {})
    samples = open_dataset(tmp_path)
    assert account == samples.account()
    assert account.agrees
    assert sum(one.images for one in report.outcomes.values()) == len(samples) == account.images.read
    assert sum(one.objects for one in report.outcomes.values()) + report.crowds == account.objects
    files = [sample for sample in samples if sample.source is not None]
    expected = {
        sample.source.relative_to(tmp_path).as_posix(): sorted(
            (class_name(a.label), to_json(a.rle)["counts"]) for a in sample.annotations if not a.crowd
        )
        for sample in files
    }
    states = {image.name: record for image, record in project.records(["accepted", "open"])}
    assert {name: sorted((o.class_, o.rle.counts) for o in states[name].objects) for name in expected} == expected
    before = {file.name: file.read_bytes() for file in (project.home / "annotations").iterdir()}
    again, second = import_now(project, tmp_path, None, {})
    assert again == account
    assert outcome(second, "already in the project")[0] == len(files)
    assert {file.name: file.read_bytes() for file in (project.home / "annotations").iterdir()} == before
    project.close()


def test_masks_are_no_longer_listed_as_images_until_they_are_shown_again(tmp_path):
    expected = write_folder(tmp_path)
    project = project_of(tmp_path)
    listed = len(project.rows())
    _, report = import_now(project, tmp_path, None, {})
    assert report.hidden == listed - len(expected) > 0
    assert {row["name"] for row in project.rows()} == {f"images/{id}.jpg" for id in expected}
    project.close()
    project = project_of(tmp_path)
    assert len(project.rows()) == len(expected)
    project.show_hidden()
    assert len(project.rows()) == listed
    project.close()


def test_a_stopped_import_is_continued_and_work_of_the_user_is_kept(tmp_path):
    write_folder(tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "images", tmp_path / "photos")
    project = project_of(tmp_path / "photos")
    rows = project.rows()
    mine = [Object(id="o", class_="object", rle=square(2, 2, size=(rows[0]["height"], rows[0]["width"])))]
    project.put(rows[0]["id"], 0, "accepted", mine)
    reader = DatasetReader(tmp_path / "data", None, {})
    importer = Importer(project)
    importer.add(next(iter(reader)))  # stopped after the first image
    assert outcome(importer.report, "annotated by hand")[0] == 1
    account, report = import_now(project, tmp_path / "data", None, {})
    assert outcome(report, "annotated by hand")[0] == 1
    assert outcome(report, "imported")[0] == account.images.read - 1
    assert project.read(rows[0]["id"]).objects == mine
    replacing = Importer(project, replace=True)
    for image in DatasetReader(tmp_path / "data", None, {}):
        replacing.add(image)
    assert outcome(replacing.report, "imported")[0] == 1
    assert project.read(rows[0]["id"]).objects[0].source == "import"
    project.close()


def test_images_are_found_by_content_or_by_name_and_size(tmp_path):
    write_folder(tmp_path / "data")
    for seed, file in enumerate(sorted((tmp_path / "data" / "images").iterdir())):
        photo(file, seed=seed)
    photos = tmp_path / "photos"
    photos.mkdir()
    files = sorted((tmp_path / "data" / "images").iterdir())
    shutil.copy(files[0], photos / "other name.png")
    Image.open(files[1]).save(photos / f"{files[1].stem.upper()}.bmp")
    Image.new("RGB", (3, 3)).save(photos / files[2].name)  # another size
    project = project_of(photos)
    account, report = import_now(project, tmp_path / "data", None, {})
    assert outcome(report, "imported")[0] == 2
    assert outcome(report, "image not in the project")[0] == account.images.read - 2
    assert set(saved(project)) == {"other name.png", f"{files[1].stem.upper()}.bmp"}
    assert str(files[2]) in report.outcomes["image not in the project"].example
    project.close()


def coco(folder: Path, annotations: list[dict], names=("a/b", "Object")) -> None:
    folder.mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "p.png")
    content = {
        "images": [{"id": 1, "file_name": "p.png", "height": 20, "width": 30}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(content))


def ring(id: int, category: int, x: int) -> dict:
    return {
        "id": id, "image_id": 1, "category_id": category, "iscrowd": 0, "bbox": [x, 2, 6, 6], "area": 36,
        "segmentation": [[x, 2, x + 6, 2, x + 6, 8, x, 8]],
    }  # fmt: skip


def test_class_names_stay_apart_and_incomplete_images_become_drafts(tmp_path):
    coco(
        tmp_path / "d",
        [ring(1, 1, 2), ring(2, 2, 12), ring(3, 2, 12), {**ring(4, 1, 20), "segmentation": [], "bbox": [50, 50, 5, 5]}],
    )
    project = project_of(tmp_path / "d", classes=("object", "plate"))
    account, report = import_now(project, tmp_path / "d", None, {})
    assert account.agrees
    assert account.annotations.missing == 1
    assert report.renamed == {"a/b": "a_b", "Object": "Object 2"}
    assert outcome(report, "imported") == (1, 3)
    (row,) = project.rows()
    record = project.read(row["id"])
    assert (record.state, len({o.id for o in record.objects})) == ("accepted", 3)
    importer = Importer(project, replace=True)
    importer.add(replace(next(iter(DatasetReader(tmp_path / "d", None, {}))), objects=[], missing=1))
    assert outcome(importer.report, "imported as draft") == (1, 0)
    assert project.read(row["id"]).state == "open"
    assert project.classes == ["object", "plate", "a_b", "Object 2"]
    project.close()


def test_default_class_makes_room_for_the_classes_of_the_data(tmp_path):
    coco(tmp_path / "d", [ring(1, 1, 2)], names=("leaf",))
    project = project_of(tmp_path / "d")
    import_now(project, tmp_path / "d", None, {})
    assert project.classes == ["leaf"]
    project.close()


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "x" * 200, 'q"?*', "tab\tname"])
def test_any_class_name_becomes_a_valid_one(name):
    assert class_name(name, taken=[class_name(name)]) not in (name, class_name(name))


def test_unreadable_annotations_are_counted_and_the_rest_is_imported(tmp_path, monkeypatch):
    expected = write_folder(tmp_path)
    broken = sorted((tmp_path / "masks").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:40])
    project = project_of(tmp_path)
    account, report = import_now(project, tmp_path, None, {})
    assert account.agrees
    assert [one.kind for one in account.images.left_out] == ["unreadable"]
    assert broken.name in account.images.left_out[0].example
    assert outcome(report, "imported")[0] == len(expected) - 1
    project.close()


def test_import_as_a_job_of_the_page(tiny_sam2, tmp_path):
    expected = write_folder(tmp_path / "data")
    session = open_session(tmp_path / "data" / "images", tiny_sam2, limits=LIMITS)
    with TestClient(build(session), base_url="http://127.0.0.1:8765") as client:
        assert client.get("/api/data-format").json()["format"] is None
        body = {"data": "..", "dry": True}
        assert client.post("/api/jobs/import", json=body).status_code == 201
        session.jobs.join(120)
        job = client.get("/api/jobs/current").json()
        assert (job["state"], job["kind"], job["adapter"]) == ("done", "import", "data")
        assert job["report"]["account"]["images"] == {"found": len(expected), "read": len(expected), "left_out": []}
        assert client.get("/api/project").json()["counts"]["accepted"] == 0
        client.post("/api/jobs/import", json={"data": str(tmp_path / "data"), "format": "folder"})
        session.jobs.join(120)
        job = client.get("/api/jobs/current").json()
        (row,) = job["report"]["outcomes"]
        assert (row["outcome"], row["images"], row["saved"]) == ("imported", len(expected), True)
        assert client.get("/api/project").json()["counts"]["accepted"] == len(expected)
        client.post("/api/jobs/import", json={"data": "..", "options": {"nonsense": 1}})
        session.jobs.join(120)
        job = client.get("/api/jobs/current").json()
        assert job["state"] == "failed"
        assert "nonsense" in job["message"]
        answer = client.post("/api/jobs/import", json={"data": "../nowhere"})
        assert (answer.status_code, "no folder" in answer.json()["error"]) == (422, True)
    session.engine.close()


def test_a_page_that_others_can_open_reads_only_near_the_images(tiny_sam2, tmp_path):
    write_folder(tmp_path / "near")
    (tmp_path / "photos").mkdir()
    shutil.copytree(tmp_path / "near" / "images", tmp_path / "photos" / "all")
    session = open_session(tmp_path / "photos" / "all", tiny_sam2, limits=LIMITS)
    headers = {"x-samtailor-token": "t" * 20, "authorization": f"Bearer {'t' * 20}"}
    with TestClient(build(session, token="t" * 20), base_url="http://127.0.0.1:8765", headers=headers) as client:
        answer = client.post("/api/jobs/import", json={"data": str(tmp_path / "near")})
        assert answer.status_code == 403
        assert "open to other machines" in answer.json()["error"]
    session.engine.close()


def test_folder_without_a_layout_is_refused(tmp_path):
    (tmp_path / "p").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "p" / "x.png")
    project = project_of(tmp_path / "p")
    with pytest.raises(DataError):
        import_now(project, tmp_path / "p", None, {})
    project.close()
