"""Fill the tables and plots of README.md and docs/ from the measured figures in results/.

    python tools/make_figures.py            # write pages and plots
    python tools/make_figures.py --check    # write nothing; exit code 1 where a page or a plot differs

Blocks and their options are described in `tools/figures/blocks.py`. A result that was measured on other weights of the
bundled base than those in the package is marked as such.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from figures import blocks, plots
from results import FOLDER, ROOT, BaseModelUsed, Result, bundled, read_all

MORE = ("README.md", "src/samtailor/bases/lite/README.md")


def main() -> None:
    options = _options()
    found = results_of(FOLDER)
    try:
        changed = [*stale_pages(ROOT, found, bundled()), *stale_plots(ROOT, found)]
    except blocks.BlockError as error:
        sys.exit(str(error))
    for file, text in changed:
        if options.check:
            print(f"{file.relative_to(ROOT)} differs from results/: run python tools/make_figures.py", file=sys.stderr)
        elif text is None:
            plots.draw(found[file.stem])
        else:
            file.write_text(text, encoding="utf-8")
            print(f"{file.relative_to(ROOT)} is updated.")
    if unused := sorted(set(found) - used(ROOT)):
        print(f"Not shown on any page: {', '.join(unused)}.", file=sys.stderr)
    sys.exit(bool(options.check and changed))


def results_of(folder: Path) -> dict[str, Result]:
    """All results; a file that does not follow the schema is an error that names it."""
    try:
        return read_all(folder)
    except ValueError as error:
        sys.exit(f"{folder}: {error}")


def pages(root: Path) -> list[Path]:
    """Pages that may hold blocks."""
    return [root / name for name in MORE if (root / name).is_file()] + sorted((root / "docs").rglob("*.md"))


def stale_pages(root: Path, found: Mapping[str, Result], base: BaseModelUsed) -> Iterator[tuple[Path, str]]:
    """Pages whose blocks differ from the results, with their text as it should be.

    Raises:
        BlockError: a block cannot be filled; the message begins with the page.
    """
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        try:
            filled = blocks.fill(text, page, found, base, root / "docs" / "assets")
        except blocks.BlockError as error:
            raise blocks.BlockError(f"{page.relative_to(root)}: {error}") from error
        if filled != text:
            yield page, filled


def stale_plots(root: Path, found: Mapping[str, Result]) -> Iterator[tuple[Path, None]]:
    """Plots that a page shows and that are missing or of other figures."""
    assets = root / "docs" / "assets"
    shown = {block.name for page in pages(root) for block in _blocks(page) if block.options.get("view") == "plot"}
    for name in sorted(shown & set(plots.PLOTS) & set(found)):
        if not plots.is_current(found[name], assets):
            yield plots.file_of(found[name], assets), None


def used(root: Path) -> set[str]:
    """Names of the results that a page shows."""
    return {block.name for page in pages(root) for block in _blocks(page)}


def _blocks(page: Path) -> Iterator[blocks.Block]:
    return blocks.blocks(page.read_text(encoding="utf-8"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, report what differs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
