"""Write docs/reference/settings.md from `samtailor.FitConfig`: python tools/make_settings_docs.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from samtailor import FitConfig, registry

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
INTRO = """# Settings

This page is generated from `samtailor.FitConfig` by `tools/make_settings_docs.py`. Do not edit it.

Set a value on the command line with `--set KEY=VALUE`, in a YAML file given by `--config FILE`, or as a keyword
argument of `samtailor.fit`. Frequent settings have an option of their own, such as `--steps`. An unknown name is an
error that suggests the closest one.

A setting that you leave open takes the default of the method, below, and otherwise the default in this table.

| setting | type | default | meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{name}` | {_type(field.annotation)} | {_value(field.get_default(call_default_factory=True))} "
        f"| {(field.description or '').replace('|', chr(92) + '|')} |"
        for name, field in FitConfig.model_fields.items()
    ]
    methods = [f"| {_link(name)} | {_defaults(name)} |" for name in registry.names("methods")]
    heading = "## Defaults of the methods\n\n| method | settings |\n|---|---|"
    return INTRO + "\n".join([*rows, "", heading, *methods, ""])


def _link(method: str) -> str:
    there = (PAGE.parents[1] / "methods" / f"{method}.md").is_file()
    return f"[`{method}`](../methods/{method}.md)" if there else f"`{method}`"


def _type(annotation: Any) -> str:
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    name = re.sub(r"Annotated\[(\w+), [^\]]*\]", r"\1", name)  # bounds
    for long, short in (("typing.", ""), ("pathlib.", ""), (" | None", ""), ("Literal", "one of ")):
        name = name.replace(long, short)
    name = re.sub(r"Union\[(\w+), one of \['(\w+)'\]\]", r"\1 or '\2'", name)
    return name.replace("|", "\\|")


def _value(value: Any) -> str:
    return "" if value is None else f"`{value!r}`".replace("|", "\\|")


def _defaults(method: str) -> str:
    defaults = getattr(registry.find("methods", method), "DEFAULTS", {})
    return ", ".join(f"`{key}={value}`" for key, value in defaults.items()) or "those of the table above"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written.")
