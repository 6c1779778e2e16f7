"""Write docs/assets/workbench.png: the page of `samtailor ui` with the photographs of the demo and their masks.

    python tools/make_workbench_image.py

The masks are imported, which also shows the import. Needs Playwright and Chromium.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from samtailor.data import coffee_leaves
from workbench_page import workbench_page

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "assets" / "workbench.png"


def main() -> None:
    """Start a server on a temporary copy of the photographs, and take the picture."""
    with tempfile.TemporaryDirectory() as name:
        data = coffee_leaves.write(Path(name) / "leaves")
        with workbench_page(["--import", str(data)]) as (page, url):
            page.set_default_timeout(120_000)
            page.goto(url)
            page.locator("#stage[data-ready=true]").wait_for()
            page.locator(".object .pick").first.click()
            page.wait_for_function("() => [...document.querySelectorAll('.thumb img')].every(one => one.complete)")
            page.wait_for_timeout(500)
            page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
