"""`samtailor serve`: an HTTP service that answers prompts with masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.bases import Base

Adapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", metavar="NAME=DIR", help="Adapter and its folder or hub id; give it again for more."),
]
OneBase = Annotated[str | None, typer.Option(metavar="BASE", help="Base model; default: the adapters' own, else nano.")]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on; others than 127.0.0.1 need a token.")]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        envvar="SAMTAILOR_TOKEN",
        show_envvar=False,
        help="What requests must show, or the variable SAMTAILOR_TOKEN; made and printed where one is needed.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Name that the service is reached by; give it again for more."),
]
MaxMegabytes = Annotated[float, typer.Option(min=0.01, metavar="MB", help="Largest upload.")]
MaxMegapixels = Annotated[float, typer.Option(min=0.01, metavar="MP", help="Largest image, million pixels.")]


def serve_command(
    adapter: Adapters = None,
    base: OneBase = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Port.")] = 8000,
    token: Token = None,
    allow_host: AllowHost = None,
    adapters_root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Adapters below this folder may be added while it runs; default: none."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep embeddings in this folder; default: in memory only.")
    ] = None,
    memory: Annotated[float, typer.Option(min=0.01, metavar="GB", help="Embeddings kept in memory.")] = 2.0,
    encodes: Annotated[int, typer.Option(min=1, metavar="N", help="Images in the encoder at once.")] = 1,
    queue: Annotated[int, typer.Option(min=0, metavar="N", help="Images that may wait for it; then 503.")] = 16,
    decodes: Annotated[int, typer.Option(min=1, metavar="N", help="Questions answered at once.")] = 2,
    max_mb: MaxMegabytes = 32.0,
    max_megapixels: MaxMegapixels = 50.0,
    device: options.Device = None,
) -> None:
    """An HTTP service: send an image once, ask for masks many times, with any adapter by name.

    Answers on this machine only, unless --host says otherwise; then every request needs a token. The interface is
    described by /openapi.json and in docs/guides/serve.md.
    """
    from samtailor.serve import run

    run.need_web()
    shown, made = run.token_for(host, token)
    from samtailor.cli.screen import say
    from samtailor.serve.app import build
    from samtailor.serve.engine import Engine
    from samtailor.serve.limits import Limits
    from samtailor.serve.metrics import Metrics

    named = adapters_by_name(adapter or [])
    limits = Limits(
        bytes=int(max_mb * 1e6),
        pixels=int(max_megapixels * 1e6),
        memory=int(memory * 1e9),
        encodes=encodes,
        encode_queue=queue,
        decodes=decodes,
    )
    metrics = Metrics()
    loaded = load_base_of(named, base, device)
    engine = Engine(loaded, limits=limits, cache=cache, root=adapters_root, counter=metrics)
    for name, source in named.items():
        engine.adapters.add(name, source)
    app = build(engine, token=shown, hosts=allow_host or (), metrics=metrics)
    say(f"Base {loaded.name}, adapters {', '.join(named) or 'none'}: {run.address(host, port)} (Ctrl-C stops)")
    if made:
        say(f"Token: {shown}")
    run.run(app, host, port)


def adapters_by_name(texts: list[str]) -> dict[str, str]:
    """["banner=DIR"] to {"banner": "DIR"}."""
    named: dict[str, str] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        if not equals or not name or not source:
            raise InputError(f"Expected --adapter NAME=DIR, got {text!r}.")
        if name in named:
            raise InputError(f"Two adapters are called {name!r}.")
        named[name] = source
    return named


def load_base_of(named: dict[str, str], base: str | None, device: str | None) -> Base:
    """The base that is asked for, else the first adapter's."""
    from samtailor.artefact import base_of
    from samtailor.bases import load_on

    return load_on(base or (base_of(next(iter(named.values()))) if named else "nano"), device)
