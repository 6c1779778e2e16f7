"""`samtailor label-studio`: run a machine-learning backend for Label Studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options, serve


def label_studio_command(
    project: Annotated[
        Path,
        typer.Argument(
            metavar="PROJECT", help="Folder of accepted annotations and fits; created if it does not exist."
        ),
    ],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Address of Label Studio, e.g. http://localhost:8080; images are loaded from it."
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="LABEL_STUDIO_API_KEY",
            show_envvar=False,
            help="Access token of a Label Studio user; also read from LABEL_STUDIO_API_KEY.",
        ),
    ] = None,
    files: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of images that tasks may refer to (local storage).")
    ] = None,
    adapter: serve.Adapters = None,
    base: options.AdapterBase = None,
    train_every: Annotated[
        int, typer.Option(min=0, metavar="N", help="Fit after each N accepted annotations; 0: only on request.")
    ] = 0,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Method of the fits: {methods}. Default: auto.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time of a fit: 30s, 2m, 10m, 1h; default: 2m, or a minute for each class."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Training steps of a fit.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of the fits.")
    ] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="Train proposals after each fit, to pre-label tasks.")
    ] = False,
    host: serve.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Port.")] = 9090,
    token: serve.Token = None,
    allow_host: serve.AllowHost = None,
    max_mb: serve.MaxMegabytes = 32.0,
    max_megapixels: serve.MaxMegapixels = 50.0,
    device: options.Device = None,
) -> None:
    """Machine-learning backend for Label Studio: smart labels from clicks and boxes, pre-labels, and fits.

    Connect it under Settings, Model. If a token is required, choose basic authentication with any user name and the
    token as the password. See docs/guides/label-studio.md.
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
    from samtailor.serve.setup import load_base_of

    named = options.adapters_by_name(adapter or [])
    limits = Limits(bytes=int(max_mb * 1e6), pixels=int(max_megapixels * 1e6))
    images = ImageFetcher(url, api_key, files, max_bytes=limits.bytes)
    arguments = fit_arguments(method, steps, setting or [], budget)
    metrics = Metrics()
    loaded = load_base_of(named, base, device)
    engine = Engine(loaded, limits=limits, counter=metrics)
    for name, source in named.items():
        engine.adapters.add(name, source)
    collection = Collection(project)
    training = Training(
        project / "fits",
        collection.data,
        loaded.name,
        arguments=arguments,
        budget=budget,
        propose=propose,
        done=partial(use, engine),
    )
    app = build(
        Backend(engine, images, collection, training, every=train_every),
        token=shown,
        hosts=allow_host or (),
        metrics=metrics,
    )
    names = [one.name for one in engine.adapters.all() if one.name is not None]
    say(f"Serving base model {loaded.name}, adapters: {', '.join(names) or 'none'}.")
    say(f"Connect Label Studio to {run.address(host, port)} (Settings, Model). Stop with Ctrl-C.")
    if made:
        say(f"Token (password of basic authentication, any user name): {shown}")
    run.run(app, host, port)
