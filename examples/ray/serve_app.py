"""samtailor's HTTP service on Ray Serve. See docs/guides/serve.md.

    pip install 'samtailor[serve]' 'ray[serve]'
    serve run examples/ray/serve.yaml

Each replica has its own base model. The replicas share images and adapters in the folder SAMTAILOR_SHARE, which all
nodes must be able to read and write. Settings are variables of the environment, which serve.yaml sets:

    SAMTAILOR_BASE           base model; default: that of the first adapter, or the bundled one
    SAMTAILOR_ADAPTERS       NAME=DIR, separated by commas
    SAMTAILOR_ADAPTERS_ROOT  adapters in this folder can be added while the service runs
    SAMTAILOR_SHARE          folder of all replicas
    SAMTAILOR_TOKEN          token that requests must send
    SAMTAILOR_HOSTS          host names of the service besides localhost and IP addresses, separated by commas
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ray import serve


def build() -> Any:
    """The application of one replica."""
    from samtailor.serve.setup import ServiceSettings, make_app
    from samtailor.serve.shared import SharedFolder

    adapters = dict(pair.split("=", 1) for pair in _words("SAMTAILOR_ADAPTERS"))
    shared, root = os.environ.get("SAMTAILOR_SHARE"), os.environ.get("SAMTAILOR_ADAPTERS_ROOT")
    if shared:
        SharedFolder(Path(shared)).begin(adapters)
    settings = ServiceSettings(
        adapters,
        os.environ.get("SAMTAILOR_BASE") or None,
        adapters_root=Path(root) if root else None,
        token=os.environ.get("SAMTAILOR_TOKEN") or None,
        hosts=tuple(_words("SAMTAILOR_HOSTS")),
        shared=Path(shared) if shared else None,
    )
    return make_app(settings)


def _words(variable: str) -> list[str]:
    return [word.strip() for word in os.environ.get(variable, "").split(",") if word.strip()]


@serve.deployment
@serve.ingress(build)
class Samtailor:
    """One replica. Its number, cores and limits are in serve.yaml."""


app = Samtailor.bind()
