"""Small data sets as VIA exports them: writers, and the expected samples."""

import json
import math

from layouts.shapes import IDS, box, ellipse, photo, text


def via_region(kind, values, label):
    return {"shape_attributes": {"name": kind, **values}, "region_attributes": {"class": label}}


def _via_regions():
    corners = [[4, 3], [20, 3], [20, 13], [4, 13]]
    return [
        via_region(
            "polygon", {"all_points_x": [x for x, _ in corners], "all_points_y": [y for _, y in corners]}, "cat"
        ),
        via_region("rect", {"x": 22, "y": 12, "width": 8, "height": 8}, "dog"),
        via_region("circle", {"cx": 12.5, "cy": 10.5, "r": 6}, "cat"),
        via_region("ellipse", {"cx": 15.5, "cy": 10.5, "rx": 9, "ry": 4, "theta": math.radians(30)}, "dog"),
        via_region("point", {"cx": 1, "cy": 2}, "dog"),
    ]


def _via_masks():
    return [
        ("cat", box(4, 3, 20, 13)),
        ("dog", box(22, 12, 30, 20)),
        ("cat", ellipse(12.5, 10.5, 6, 6)),
        ("dog", ellipse(15.5, 10.5, 9, 4, 30)),
    ]


def write_via(root, ids=IDS):
    entries = {}
    for i in ids:
        photo(root / f"{i}.png")
        size = (root / f"{i}.png").stat().st_size
        entries[f"{i}.png{size}"] = {
            "filename": f"{i}.png",
            "size": size,
            "regions": _via_regions(),
            "file_attributes": {},
        }
    project = {
        "_via_settings": {"project": {"name": "x"}},
        "_via_img_metadata": entries,
        "_via_attributes": {"region": {"class": {"type": "text"}}, "file": {}},
        "_via_image_id_list": list(entries),
    }
    text(root / "via_project.json", project)
    return {str(i): _via_masks() for i in ids}


def write_via_one(root, ids=IDS):
    """VIA 1: regions as an object, the metadata alone."""
    entries = {}
    for i in ids:
        photo(root / f"{i}.png")
        regions = {str(k): region for k, region in enumerate(_via_regions())}
        common = {"fileref": "", "size": 9, "base64_img_data": "", "file_attributes": {}}
        entries[f"{i}.png9"] = {"filename": f"{i}.png", "regions": regions, **common}
    text(root / "via_region_data.json", entries)
    return {str(i): _via_masks() for i in ids}


def write_via_three(root, ids=IDS):
    """VIA 3: files, views and regions apart."""
    files, views, metadata = {}, {}, {}
    for i in ids:
        photo(root / f"{i}.png")
        files[str(i)] = {"fid": str(i), "fname": f"{i}.png", "type": 2, "loc": 1, "src": ""}
        views[str(i)] = {"fid_list": [str(i)]}
        rows = [([7, 4, 3, 20, 3, 20, 13, 4, 13], "0"), ([2, 22, 12, 8, 8], "1"), ([3, 12.5, 10.5, 6], "0")]
        for k, (xy, option) in enumerate([*rows, ([4, 15.5, 10.5, 9, 4], "1"), ([1, 1, 2], "1")]):
            metadata[f"{i}_{k}"] = {"vid": str(i), "flg": 0, "z": [], "xy": xy, "av": {"1": option}}
    attribute = {"1": {"aname": "class", "anchor_id": "FILE1_Z0_XY1", "type": 3, "options": {"0": "cat", "1": "dog"}}}
    common = {"project": {"pid": "x"}, "config": {}, "attribute": attribute}
    text(root / "via_project.json", {**common, "file": files, "metadata": metadata, "view": views})
    masks = [*_via_masks()[:3], ("dog", ellipse(15.5, 10.5, 9, 4))]
    return {str(i): masks for i in ids}


def write_via_csv(root, ids=IDS):
    lines = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for i in ids:
        photo(root / f"{i}.png")
        for k, region in enumerate(_via_regions()):
            cells = [json.dumps(region[name]).replace('"', '""') for name in ("shape_attributes", "region_attributes")]
            lines.append(f'{i}.png,9,"{{}}",5,{k},"{cells[0]}","{cells[1]}"')
    text(root / "via_export_csv.csv", "\n".join(lines) + "\n")
    return {str(i): _via_masks() for i in ids}
