"""`samtailor verify`: check the files of a result of `samtailor batch` against its manifest."""

from __future__ import annotations

from typing import Annotated

import typer

from samtailor.errors import counted


def verify_command(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Result of samtailor batch: a folder or an address.")],
) -> None:
    """Check every file of a result against the manifest: checksums, numbers of rows, and every image exactly once.

    Exit code 1 if something is missing, damaged, doubled or not listed.
    """
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import say
    from samtailor.distributed.manifest import verify

    with counting("Checking files") as progress:
        result = verify(folder, progress=progress)
    say(f"{folder}: {counted(result.files, 'file')} as listed; {counted(result.images, 'image')}, each once, with "
        f"{counted(result.rows, 'row')}." if not result.problems else f"{folder}: "
        f"{counted(len(result.problems), 'problem')}:")  # fmt: skip
    for problem in result.problems:
        say(f"  {problem}")
    if result.problems:
        raise typer.Exit(1)
