"""`samtailor serve`: run an HTTP service that predicts masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options
from samtailor.cli.encoder_options import EncoderPrecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from samtailor.serve.setup import ServiceSettings

Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="[NAME=]DIR",
        help="Adapter folder or hub id, with its name in the service; repeat for several.",
    ),
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
    workers: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Processes that answer requests, each with its own base model."),
    ] = 1,
    share: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Share images, embeddings and adapters with the other services that use this folder, for example on "
            "a network drive.",
        ),
    ] = None,
    device: options.Device = None,
    precision: EncoderPrecision = "fp32",
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
    from samtailor.serve.limits import Limits
    from samtailor.serve.setup import ServiceSettings

    limits = Limits(
        bytes=int(max_mb * 1e6),
        pixels=int(max_megapixels * 1e6),
        memory=int(memory * 1e9) // workers,
        encodes=encodes,
        encode_queue=queue,
        decodes=decodes,
    )
    settings = ServiceSettings(
        options.adapters_by_name(adapter or []), base, device, limits, cache, adapters_root, shown,
        tuple(allow_host or ()), share, precision,
    )  # fmt: skip

    def announce(name: str) -> None:
        processes = "" if workers == 1 else f" {workers} workers."
        say(f"Serving base model {name}, adapters: {', '.join(settings.adapters) or 'none'}.{processes}")
        say(f"{run.address(host, port)} (stop with Ctrl-C)")
        if made:
            say(f"Token: {shown}")

    if workers == 1:
        _serve_here(settings, host, port, announce)
    else:
        from samtailor.serve.workers import serve_workers

        serve_workers(settings, host, port, workers, announce)


def _serve_here(settings: ServiceSettings, host: str, port: int, announce: Callable[[str], None]) -> None:
    from samtailor.serve import run
    from samtailor.serve.setup import make_app
    from samtailor.serve.shared import SharedFolder

    if settings.shared is not None:
        SharedFolder(settings.shared).begin(settings.adapters)
    app = make_app(settings)
    announce(app.state.base)
    run.run(app, host, port)
