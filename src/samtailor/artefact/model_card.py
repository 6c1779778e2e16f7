"""The model card of an adapter: README.md as the hub shows it."""

from __future__ import annotations

import json
from typing import Any

from samtailor.artefact.metadata import AdapterMeta


def card(meta: AdapterMeta) -> str:
    """README.md with the hub's front matter."""
    import yaml

    how, mapped = meta.inference, "map" in meta.parameters and meta.inference.single_class
    hub = meta.base.name.count("/") == 1 and not meta.base.name.startswith((".", "/", "~"))
    front: dict[str, Any] = {
        "library_name": "samtailor",
        "pipeline_tag": "mask-generation",
        "tags": ["samtailor", "segment-anything", "adapter", meta.method],
    }
    front |= {"base_model": meta.base.name} if hub else {}
    classes = ", ".join(meta.classes) or "all classes"
    rows = [
        ("method", f"`{meta.method}` {json.dumps(meta.options) if meta.options else ''}".strip()),
        (
            "base",
            f"`{meta.base.name}`, fingerprint `{meta.base.fingerprint}`, {meta.base.parameters:,} parameters, frozen",
        ),
        ("classes", classes),
        ("prompt", f"`{how.prompt}`" if how.prompt else "a click or a box"),
        *([("predicts", "one region per image and class")] if how.regions else []),
        *(
            [("without a prompt", "the object" if how.single_instance else "all objects as one region")]
            if mapped
            else []
        ),
        *([("tiled inference", str(how.tiling))] if mapped and not how.tiling.plain else []),
        ("learnt", ", ".join(f"{name} {count:,}" for name, count in meta.parameters.items()) or "nothing"),
        ("fit", f"{meta.steps:,} steps, seed {meta.seed}"),
        *((name.replace("_", " "), _figure(value)) for name, value in meta.figures.items()),
        ("made", f"{meta.created}, samtailor {meta.versions.get('samtailor', '?')}"),
    ]
    table = "\n".join(f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in rows)
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n# samtailor adapter: {classes}\n\n"
        "Fits a frozen Segment Anything model to these objects; the base itself is unchanged and not included.\n\n"
        f"| | |\n|---|---|\n{table}\n\n```python\nfrom samtailor import Predictor\n\n"
        f'predictor = Predictor.from_pretrained("{meta.base.name}", adapters={{"it": "FOLDER OR HUB ID"}})\n'
        'predictor.set_image("image.jpg")\n'
        f'masks, scores, _ = predictor.predict({_example(how.prompt)}adapter="it")\n```\n\n'
        f"The held-out figures are of {_protocol(how.prompt)} on the images that selected the best state. Measure on "
        "images of your own with `samtailor evaluate`.\n"
    )


def _example(prompt: str | None) -> str:
    if prompt is None:
        return "[[320, 240]], [1], "
    return "" if prompt == "none" else "box=[100, 80, 420, 360], "


def _protocol(prompt: str | None) -> str:
    return "the single-click protocol" if prompt is None else f"the prompt source `{prompt}`"


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


__all__ = ["card"]
