"""Write docs/methods/presets.md from `samtailor.train.presets`: python tools/make_presets_docs.py."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from samtailor import registry
from samtailor.train.departures import departures, value_text

PAGE = Path(__file__).parents[1] / "docs" / "methods" / "presets.md"
INTRO = """# Presets: settings of the papers

This page is generated from `samtailor.train.presets` by `tools/make_presets_docs.py`. Do not edit it.

A preset holds all settings as a paper prints them. Settings that you give yourself take precedence.

```sh
samtailor fit faces --preset kim-2024 --out adapters/faces
samtailor compare people --preset am-sam-2024 --methods blo-sam,am-sam --detector people.onnx \\
    --shots 4 --out runs/people
samtailor recipe car-plate --data plates          # uses the preset of its paper
```

In Python: `samtailor.fit("faces", "adapters/faces", preset="kim-2024")`; in a YAML file: `preset: kim-2024`. The base
of a preset is the one of its paper and needs the hub; `--base lite` needs none.

The tables list every setting in which the preset and the default of the method differ. "Not stated" marks settings that
the paper leaves open, with the source of the value.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRO, *(_preset(name) for name in registry.names("presets"))])


def _preset(name: str) -> str:
    module = registry.find("presets", name)
    rows = [f"| {' | '.join(row)} |" for row in _rows(name, module)]
    head = ["| option | methods | paper | default | why |", "|---|---|---|---|---|"]
    notes = [f"* {note}" for note in module.NOTES]
    title = [f"## {name}", "", f"{module.TITLE} ({module.SOURCE}).", ""]
    return "\n".join([*title, *head, *rows, "", f"Also for `{name}`:", "", *notes, ""])


def _rows(name: str, module: ModuleType) -> list[list[str]]:
    merged: dict[tuple[str, ...], list[str]] = {}
    for method in module.METHODS:
        for one in departures(name, method):
            why = one.why + (f" *Not stated: {one.not_stated}*" if one.not_stated else "")
            key = (f"`{one.setting}`", f"`{value_text(one.paper)}`", f"`{value_text(one.default)}`", why)
            merged.setdefault(key, []).append(f"`{method}`")
    return [[option, ", ".join(methods), *rest] for (option, *rest), methods in merged.items()]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written.")
