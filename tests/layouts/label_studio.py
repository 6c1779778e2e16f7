"""Small data sets as Label Studio exports them: writers, and the expected samples."""

import numpy as np

from layouts.shapes import IDS, RING, H, W, blob, box, ellipse, photo, save, text


def _percent(points):
    return [[100 * x / W, 100 * y / H] for x, y in points]


def studio_regions(i):
    from samtailor.masks import brush

    common = {"original_width": W, "original_height": H, "image_rotation": 0, "to_name": "image", "origin": "manual"}
    x, y, w, h = 100 * 22 / W, 100 * 12 / H, 100 * 8 / W, 100 * 8 / H
    rows = [
        ("polygonlabels", {"points": _percent(RING), "closed": True, "polygonlabels": ["cat"]}),
        ("rectanglelabels", {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": ["dog"]}),
        # turned clockwise about its top-left corner (17, 1)
        (
            "rectanglelabels",
            {
                "x": 100 * 17 / W,
                "y": 100 * 1 / H,
                "width": 100 * 10 / W,
                "height": 100 * 4 / H,
                "rotation": 90,
                "rectanglelabels": ["dog"],
            },
        ),
        (
            "ellipselabels",
            {
                "x": 100 * 15.5 / W,
                "y": 100 * 10.5 / H,
                "radiusX": 100 * 9 / W,
                "radiusY": 100 * 4 / H,
                "rotation": 30,
                "ellipselabels": ["cat"],
            },
        ),
        ("brushlabels", {"format": "rle", "rle": brush.encode(blob(i)), "brushlabels": ["dog"]}),
        ("keypointlabels", {"x": 3.0, "y": 3.0, "width": 1.0, "keypointlabels": ["dog"]}),
    ]
    regions = [
        {"id": f"r{k}", "type": kind, "from_name": "tag", "value": value, **common}
        for k, (kind, value) in enumerate(rows)
    ]
    choice = {"id": "c", "type": "choices", "from_name": "choice", "to_name": "image", "value": {"choices": ["good"]}}
    return [*regions, choice]


def studio_masks(i):
    return [
        ("cat", box(4, 3, 20, 13)),
        ("dog", box(22, 12, 30, 20)),
        ("dog", box(13, 1, 17, 11)),
        ("cat", ellipse(15.5, 10.5, 9, 4, 30)),
        ("dog", blob(i)),
    ]


def write_label_studio(root, ids=IDS):
    tasks = []
    for i in ids:
        photo(root / f"images/{i}.png")
        annotation = {"id": 40 + i, "completed_by": 1, "result": studio_regions(i), "was_cancelled": False}
        address = f"/data/upload/3/1a2b3c4d-{i}.png"
        file = f"1a2b3c4d-{i}.png"
        tasks.append({"id": i, "annotations": [annotation], "file_upload": file, "data": {"image": address}})
    text(root / "project-3-at-2026-01-01.json", tasks)
    return {str(i): studio_masks(i) for i in ids}


def write_label_studio_min(root, ids=IDS):
    tasks = []
    for i in ids:
        photo(root / f"{i}.png")
        rows = [r["value"] | {k: r[k] for k in ("original_width", "original_height")} for r in studio_regions(i)[:-1]]
        extra = {"id": i, "choice": "good", "annotator": 1, "annotation_id": 4, "created_at": "2026-01-01T00:00:00Z"}
        tasks.append({"image": f"/data/local-files/?d=photos%2F{i}.png", "tag": rows, **extra})
    text(root / "project-min.json", tasks)
    return {str(i): studio_masks(i) for i in ids}


def write_label_studio_brush(root, ids=IDS):
    expected, rows = {}, ["annotation_id,annotator,created_at,id,image,lead_time,tag,updated_at"]
    for i in ids:
        photo(root / f"images/{i}.png")
        for label, mask in (("cat", blob(i)), ("big-dog", blob(i + 1))):
            name = f"task-{70 + i}-annotation-{i}-by-me@example.org-tag-{label}-0.png"
            save(root / name, mask.astype(np.uint8) * 255)
        rows.append(f'{i},1,2026-01-01,{70 + i},/data/upload/1/aaaabbbb-{i}.png,9,"{{}}",2026-01-01')
        expected[str(i)] = [("big-dog", blob(i + 1)), ("cat", blob(i))]
    text(root / "project-1.csv", "\n".join(rows) + "\n")
    return expected
