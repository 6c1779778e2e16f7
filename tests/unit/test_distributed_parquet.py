"""Parquet files of large runs and data sets made from them; with Ray where it is installed."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from samtailor.distributed.api import Machines, label
from samtailor.distributed.convert import convert
from samtailor.distributed.engines.ray_data import Resources
from samtailor.distributed.items import list_items
from samtailor.distributed.manifest import verify
from samtailor.distributed.run import Sizes
from samtailor.errors import DataError, InputError
from tiny import disc_sample

arrow = pytest.importorskip("pyarrow", reason="needs samtailor[ray]: pyarrow")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs samtailor[ray]: pyarrow")


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(disc_sample(index).image).save(folder / f"p{index}.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG no")
    return folder


def labeled(engine, base_folder, images, out):
    machines = Machines(engine, Resources(workers=(1, 1), readers=1))
    options = {"base": str(base_folder), "sizes": Sizes(4, 2, 1)}
    return label([str(images)], {}, str(out), machines, detector="full-frame", **options)


@pytest.mark.parametrize("engine", ["processes", pytest.param("ray", marks=pytest.mark.slow)])
def test_labels_as_parquet_files_and_as_data_sets(engine, base_folder, images, tmp_path):
    import samtailor

    if engine == "ray":
        pytest.importorskip("ray", reason="needs samtailor[ray]: ray")
    out = tmp_path / "out"
    summary = labeled(engine, base_folder, images, out)
    assert summary.status == {"done": 5, "unreadable": 1}
    assert verify(str(out)).problems == []
    objects = parquet.read_table(out / "objects").to_pylist()
    assert {row["image"] for row in objects} == {f"p{index}" for index in range(5)}
    assert all(row["base"] and row["rle"] and row["x1"] > row["x0"] for row in objects)
    convert(str(out), tmp_path / "coco", "coco", put="none", options={"rle": True})
    samtailor.label(
        images, None, tmp_path / "plain", base=base_folder, detector="full-frame", options={"rle": True},
        image_files="none", verbose=False,
    )  # fmt: skip
    one, other = (
        json.loads((tmp_path / name / "annotations" / "instances.json").read_text()) for name in ("coco", "plain")
    )

    def by_image(content):
        names = {image["id"]: image["file_name"] for image in content["images"]}
        return {names[row["image_id"]]: (row["segmentation"]["counts"], row["area"]) for row in content["annotations"]}

    assert by_image(one) == by_image(other)
    with pytest.raises(InputError, match="exists already"):
        convert(str(out), tmp_path / "coco")
    with pytest.raises(DataError, match="no finished result"):
        convert(str(images), tmp_path / "other")


def test_parquet_lists(tmp_path):
    rows = {"id": ["a", "b"], "uri": ["s3://bucket/1.jpg", "s3://bucket/2.jpg"]}
    parquet.write_table(arrow.table(rows), tmp_path / "list.parquet")
    assert [(item.id, item.uri) for item in list_items([str(tmp_path / "list.parquet")])] == [
        ("a", "s3://bucket/1.jpg"),
        ("b", "s3://bucket/2.jpg"),
    ]
    parquet.write_table(arrow.table({"url": ["https://a/1.jpg"]}), tmp_path / "urls.parquet")
    assert [item.id for item in list_items([str(tmp_path / "urls.parquet")])] == ["https://a/1.jpg"]
    parquet.write_table(arrow.table({"size": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="needs a column uri"):
        list(list_items([str(tmp_path / "other.parquet")]))
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DataError, match="no Parquet file"):
        list(list_items([str(tmp_path / "text.parquet")]))
