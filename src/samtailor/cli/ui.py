"""`samtailor ui`: mark, fit, label and export in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options, serve
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.workbench.session import Session


def ui_command(
    images: Annotated[Path | None, typer.Argument(metavar="IMAGES", help="Folder of images, at any depth.")] = None,
    project: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where everything is kept; default: the hidden folder IMAGES/.samtailor."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="Base model; default: the project's, the adapters' own, or nano.")
    ] = None,
    adapter: serve.Adapters = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Classes to begin with; the page can change them.")
    ] = None,
    host: serve.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Port.")] = 8765,
    token: serve.Token = None,
    allow_host: serve.AllowHost = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Draw synthetic images first: into IMAGES, or into a temporary folder."),
    ] = False,
    max_mb: Annotated[float, typer.Option(min=0.01, metavar="MB", help="Largest image file.")] = 64.0,
    max_megapixels: serve.MaxMegapixels = 50.0,
    device: options.Device = None,
) -> None:
    """The workbench: a page in the browser to mark a few images, fit, let it label the rest, correct and export.

    Everything is saved as it happens, in IMAGES/.samtailor; the images themselves are never changed. Answers on
    this machine only, unless --host says otherwise; then a token is needed. See docs/guides/annotate.md.
    """
    from samtailor.serve import run

    run.need_web()
    shown, made = run.token_for(host, token)
    from samtailor.cli.screen import say
    from samtailor.workbench.app import build
    from samtailor.workbench.start import draw, open_session

    if demo:
        images = draw(images)
        classes = classes or "banner"
    if images is None:
        raise InputError("Which images? Give their folder, or --demo for synthetic ones.")
    bench = open_session(
        images,
        project,
        base=base,
        adapters=serve.adapters_by_name(adapter or []),
        classes=options.names(classes) or (),
        device=device,
        bytes=int(max_mb * 1e6),
        pixels=int(max_megapixels * 1e6),
    )
    place = f"{run.address(host, port)}/"
    say(f"Images of {bench.project.images.folder}; everything is kept in {bench.project.home}.")
    say(f"{place}{f'?token={shown}' if made else ''} (Ctrl-C stops)")
    ready = None if no_browser else _opener(f"{place}?token={shown}" if shown else place)
    app = build(bench, token=shown, hosts=allow_host or (), ready=ready)
    try:
        run.run(app, host, port)
    finally:
        _close(bench)


def _opener(address: str) -> Callable[[], None]:
    """Opens the page half a second later, when the port answers."""
    import threading
    import webbrowser

    return lambda: threading.Timer(0.5, webbrowser.open, [address]).start()


def _close(bench: Session) -> None:
    """Also when the port could not be had, and the application never began."""
    bench.close()
    bench.engine.close()
