"""Model configuration files that let X-AnyLabeling, AnyLabeling and CVAT load the two ONNX files.

The keys of the YAML files, the shapes that each program feeds, and the mask that it shows were taken from its public
repository. Some programs support SAM 1 at 1024 px only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SAM1_SIDE = 1024
"""X-AnyLabeling and AnyLabeling feed SAM 1 a mask prompt of 256 x 256, which implies a frame of 1024 px."""


def write(folder: Path, name: str, title: str, *, family: str, size: int, classes: list[str]) -> dict[str, str]:
    """Write the files next to `encoder.onnx` and `decoder.onnx`.

    Args:
        folder: of the export.
        name: short name without spaces.
        title: shown in the program's list.
        family: "sam" or "sam2".
        size: side of the model frame, pixels.
        classes: what the adapter was fitted to.

    Returns:
        program to the file that it loads, or to the reason why it cannot load this base.
    """
    import yaml

    files: dict[str, str] = {}
    for program, config in (("X-AnyLabeling", _xanylabeling), ("AnyLabeling", _anylabeling)):
        if family == "sam" and size != SAM1_SIDE:
            files[program] = f"not written: it supports SAM 1 at {SAM1_SIDE} px only, this base has {size} px"
            continue
        file = f"{program.lower()}.yaml"
        text = yaml.safe_dump(config(name, title, family, size), sort_keys=False, allow_unicode=True)
        (folder / file).write_text(text, encoding="utf-8")
        files[program] = file
    files["CVAT"] = _cvat(folder, name, title, classes)
    return files


def _xanylabeling(name: str, title: str, family: str, size: int) -> dict[str, Any]:
    kind = {"sam": "segment_anything", "sam2": "segment_anything_2"}[family]
    return _paths(kind, name, title) | (_frame(size) if family == "sam" else {})


def _anylabeling(name: str, title: str, family: str, size: int) -> dict[str, Any]:
    # AnyLabeling has one type for both families and detects SAM 2 by the decoder's inputs
    return _paths("segment_anything", name, title) | _frame(size)


def _paths(kind: str, name: str, title: str) -> dict[str, Any]:
    files = {"encoder_model_path": "encoder.onnx", "decoder_model_path": "decoder.onnx"}
    return {"type": kind, "name": name, "display_name": title, **files}


def _frame(size: int) -> dict[str, Any]:
    # equal sides: the longest side becomes `size` for portrait images too, as in SAM
    return {"input_size": size, "max_width": size, "max_height": size}


def _cvat(folder: Path, name: str, title: str, classes: list[str]) -> str:
    """A serverless function (nuclio) of type interactor, with `_cvat_handler.py` as main.py."""
    import yaml

    home = folder / "cvat"
    home.mkdir()
    text = yaml.safe_dump(_function(name, title, classes), sort_keys=False, allow_unicode=True)
    (home / "function.yaml").write_text(text, encoding="utf-8")
    handler = Path(__file__).with_name("_cvat_handler.py").read_text(encoding="utf-8")
    (home / "main.py").write_text(handler, encoding="utf-8")
    return "cvat/function.yaml"


def _function(name: str, title: str, classes: list[str]) -> dict[str, Any]:
    home = "/opt/nuclio"
    objects = ", ".join(classes) or "objects"
    steps = [
        ("ENV", "DEBIAN_FRONTEND=noninteractive"),
        ("WORKDIR", home),
        ("RUN", "pip install --no-cache-dir numpy pillow onnxruntime"),
    ]
    return {
        "metadata": {
            "name": f"samtailor-{name}",
            "namespace": "cvat",
            "annotations": {
                "name": title,
                "version": "2",
                "type": "interactor",
                "spec": "",
                "min_pos_points": "1",
                "min_neg_points": "0",
                "startswith_box_optional": "true",
                "help_message": f"Click on or draw a box around: {objects}",
            },
        },
        "spec": {
            "description": f"Segment Anything, fitted to {objects} with samtailor",
            "runtime": "python:3.10",
            "handler": "main:handler",
            "eventTimeout": "30s",
            "build": {
                "image": f"cvat.samtailor.{name}",
                "baseImage": "python:3.10-slim",
                "directives": {"preCopy": [{"kind": kind, "value": value} for kind, value in steps]},
            },
            "triggers": {
                "myHttpTrigger": {
                    "numWorkers": 1,
                    "kind": "http",
                    "workerAvailabilityTimeoutMilliseconds": 10000,
                    "attributes": {"maxRequestBodySize": 33554432},
                }
            },
            "platform": {
                "attributes": {
                    "restartPolicy": {"name": "always", "maximumRetryCount": 3},
                    "mountMode": "volume",
                }
            },
        },
    }


__all__ = ["write"]
