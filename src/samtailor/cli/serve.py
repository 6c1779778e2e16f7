"""`samtailor serve`: run an HTTP service that predicts masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options
from samtailor.errors import InputError
from samtailor.registry import BUNDLED_BASE

if TYPE_CHECKING:
    from samtailor.bases import Base

Adapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", metavar="NAME=DIR", help="Name and folder or hub id of an adapter; repeat for several."),
]
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Address to listen on; addresses other than 127.0.0.1 require a token.")
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        envvar="SAMTAILOR_TOKEN",
        show_envvar=False,
        help="Token that requests must send; also read from SAMTAILOR_TOKEN. Generated and printed if required.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host", metavar="NAME", help="Host name under which the service is reached; repeat for several."
    ),
]
MaxMegabytes = Annotated[float, typer.Option(min=0.01, metavar="MB", help="Maximum size of an upload.")]
MaxMegapixels = Annotated[float, typer.Option(min=0.01, metavar="MP", help="Maximum size of an image, in megapixels.")]


def serve_command(
    adapter: Adapters = None,
    base: options.AdapterBase = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Port.")] = 8000,
    token: Token = None,
    allow_host: AllowHost = None,
    adapters_root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Adapters in this folder can be added while the service runs; default: none."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also keep embeddings in this folder; default: in memory only.")
    ] = None,
    cache_gb: options.CacheGb = None,
    memory: Annotated[float, typer.Option(min=0.01, metavar="GB", help="Memory for embeddings.")] = 2.0,
    encodes: Annotated[int, typer.Option(min=1, metavar="N", help="Images that are encoded in parallel.")] = 1,
    queue: Annotated[
        int, typer.Option(min=0, metavar="N", help="Images that may wait for the encoder; more get status 503.")
    ] = 16,
    decodes: Annotated[int, typer.Option(min=1, metavar="N", help="Prompts that are decoded in parallel.")] = 2,
    max_mb: MaxMegabytes = 32.0,
    max_megapixels: MaxMegapixels = 50.0,
    device: options.Device = None,
    precision: options.EncoderPrecision = "fp32",
) -> None:
    """HTTP service: send an image once, then request any number of masks, with any adapter by name.

    By default the service is reachable from this machine only. With --host each request needs a token. The API is
    described by /openapi.json and in docs/guides/serve.md.
    """
    from samtailor.serve import run

    options.limit_cache(cache_gb)
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
    engine = Engine(loaded, limits=limits, cache=cache, root=adapters_root, counter=metrics, precision=precision)
    for name, source in named.items():
        engine.adapters.add(name, source)
    app = build(engine, token=shown, hosts=allow_host or (), metrics=metrics)
    say(f"Serving base model {loaded.name}, adapters: {', '.join(named) or 'none'}.")
    say(f"{run.address(host, port)} (stop with Ctrl-C)")
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
            raise InputError(f"Two adapters have the name {name!r}.")
        named[name] = source
    return named


def load_base_of(named: dict[str, str], base: str | None, device: str | None) -> Base:
    """The given base model, or that of the first adapter, or the bundled one."""
    from samtailor.artefact import base_of
    from samtailor.bases import load_on

    return load_on(base or (base_of(next(iter(named.values()))) if named else BUNDLED_BASE), device)
