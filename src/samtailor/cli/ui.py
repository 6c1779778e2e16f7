"""`samtailor ui`: annotate, fit, label and export in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options, serve
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.workbench.session import Session


def ui_command(
    images: Annotated[Path | None, typer.Argument(metavar="IMAGES", help="Folder of images, with subfolders.")] = None,
    project: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of annotations and adapters; default: IMAGES/.samtailor."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="BASE", help="Base model; default: the one of the project, of the adapter, or lite."),
    ] = None,
    adapter: serve.Adapters = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Initial classes; they can be changed in the browser.")
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="DATA",
            help="Import the annotations of this data set; without IMAGES its own images are opened.",
        ),
    ] = None,
    format: options.Format = None,
    setting: options.DataSetting = None,
    host: serve.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Port.")] = 8765,
    token: serve.Token = None,
    allow_host: serve.AllowHost = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Draw synthetic images into IMAGES or a temporary folder first."),
    ] = False,
    max_mb: Annotated[float, typer.Option(min=0.01, metavar="MB", help="Maximum size of an image file.")] = 64.0,
    max_megapixels: serve.MaxMegapixels = 50.0,
    cache_gb: options.CacheGb = None,
    device: options.Device = None,
) -> None:
    """Workbench in the browser: annotate a few images, fit, label the other images automatically, correct, export.

    All changes are saved at once in IMAGES/.samtailor; the images are not changed. By default the workbench is
    reachable from this machine only; with --host a token is required. See docs/guides/annotate.md.
    """
    from samtailor.serve import run

    options.limit_cache(cache_gb)
    run.need_web()
    shown, made = run.token_for(host, token)
    from samtailor.cli.screen import say
    from samtailor.workbench.app import build
    from samtailor.workbench.start import draw, open_session

    if demo:
        images = draw(images)
        classes = classes or "banner"
    images = import_ if images is None else images
    if images is None:
        raise InputError("Expected a folder of images, or --import DATA, or --demo for synthetic images.")
    if import_ is None and (format is not None or setting):
        raise InputError("--format and --set describe the data set of --import, which is missing.")
    session = open_session(
        images,
        project,
        base=base,
        adapters=options.adapters_by_name(adapter or []),
        classes=options.names(classes) or (),
        device=device,
        bytes=int(max_mb * 1e6),
        pixels=int(max_megapixels * 1e6),
    )
    if import_ is not None:
        _import(session, import_, format, options.data_options(setting))
    place = f"{run.address(host, port)}/"
    say(f"Images: {session.project.images.folder}. Annotations and adapters: {session.project.home}.")
    say(f"{place}{f'?token={shown}' if made else ''} (stop with Ctrl-C)")
    ready = None if no_browser else _opener(f"{place}?token={shown}" if shown else place)
    app = build(session, token=shown, hosts=allow_host or (), ready=ready)
    try:
        run.run(app, host, port)
    finally:
        _close(session)


def _import(session: Session, data: Path, format: str | None, more: dict[str, Any]) -> None:
    """Import a data set and print the account; an error closes the session."""
    from samtailor.cli.screen import say
    from samtailor.workbench.imports import import_now

    try:
        account, report = import_now(session.project, data, format, more)
    except BaseException:
        _close(session)
        raise
    for line in (*account.layout, *account.lines(), *report.lines()):
        say(line)


def _opener(address: str) -> Callable[[], None]:
    """A function that opens the browser half a second later, when the server accepts connections."""
    import threading
    import webbrowser

    return lambda: threading.Timer(0.5, webbrowser.open, [address]).start()


def _close(session: Session) -> None:
    """Close the session; also if the port was taken and the application did not start."""
    session.close()
    session.engine.close()
