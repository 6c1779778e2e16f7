"""`samtailor label-studio`: a machine-learning backend for Label Studio that fits live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options, serve


def label_studio_command(
    project: Annotated[
        Path, typer.Argument(metavar="PROJECT", help="Folder for accepted annotations and fits; made when missing.")
    ],
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Label Studio, e.g. http://localhost:8080: images come from it.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="LABEL_STUDIO_API_KEY",
            show_envvar=False,
            help="Access token of a Label Studio user, or the variable LABEL_STUDIO_API_KEY.",
        ),
    ] = None,
    files: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that tasks may name images in (local storage).")
    ] = None,
    adapter: serve.Adapters = None,
    base: serve.OneBase = None,
    train_every: Annotated[
        int, typer.Option(min=0, metavar="N", help="Fit after N accepted annotations; 0: only when asked.")
    ] = 0,
    method: Annotated[str | None, typer.Option(metavar="NAME", help="Method of the fits; default: fit's own.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Updates of a fit.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of the fits.")
    ] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="After each fit also train proposals, which pre-label tasks.")
    ] = False,
    host: serve.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Port.")] = 9090,
    token: serve.Token = None,
    allow_host: serve.AllowHost = None,
    max_mb: serve.MaxMegabytes = 32.0,
    max_megapixels: serve.MaxMegapixels = 50.0,
    device: options.Device = None,
) -> None:
    """Clicks and boxes to brush or polygon labels, pre-labels, and fits from what is accepted, inside Label Studio.

    Connect it under Settings, Model; with a token as basic authentication, any user name, the token as the password.
    See docs/guides/label-studio.md.
    """
    from samtailor.serve import run

    run.need_web()
    shown, made = run.token_for(host, token)
    from functools import partial

    from samtailor.cli.screen import say
    from samtailor.serve.annotators.backend import Backend, use
    from samtailor.serve.annotators.collection import Collection
    from samtailor.serve.annotators.fetch import ImageFetcher
    from samtailor.serve.annotators.label_studio import build
    from samtailor.serve.annotators.training import Training, fit_arguments
    from samtailor.serve.engine import Engine
    from samtailor.serve.limits import Limits
    from samtailor.serve.metrics import Metrics

    named = serve.adapters_by_name(adapter or [])
    limits = Limits(bytes=int(max_mb * 1e6), pixels=int(max_megapixels * 1e6))
    images = ImageFetcher(url, api_key, files, max_bytes=limits.bytes)
    arguments = fit_arguments(method, steps, setting or [])
    metrics = Metrics()
    loaded = serve.load_base_of(named, base, device)
    engine = Engine(loaded, limits=limits, counter=metrics)
    for name, source in named.items():
        engine.adapters.add(name, source)
    collection = Collection(project)
    training = Training(
        project / "fits",
        collection.data,
        loaded.name,
        arguments=arguments,
        propose=propose,
        done=partial(use, engine),
    )
    app = build(
        Backend(engine, images, collection, training, every=train_every),
        token=shown,
        hosts=allow_host or (),
        metrics=metrics,
    )
    say(f"Base {loaded.name}, adapters {', '.join(s.name for s in engine.adapters.all()) or 'none'}.")
    say(f"Connect Label Studio to {run.address(host, port)} (Settings, Model). Ctrl-C stops.")
    if made:
        say(f"Token (the password of basic authentication, with any user name): {shown}")
    run.run(app, host, port)
