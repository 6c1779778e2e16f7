"""An adapter on disk: adapter.safetensors + adapter.json + README.md (model card), and beside them its learnt proposals
where it has some (`proposals.disk`); on the hub the same files.

adapter.json is written last and holds the digest of the tensors: a folder with it is whole. Loading is strict: another
base, an extra or missing tensor, a damaged or newer file is an `ArtefactError` that says what to do. Nothing is ever
unpickled. Reading the metadata needs no torch.
"""

from samtailor.artefact.disk import Adapter, base_of, from_pretrained, load, save
from samtailor.artefact.hub import folder_of, push_to_hub
from samtailor.artefact.metadata import (
    CARD,
    METADATA,
    SCHEMA,
    SPLIT,
    TENSORS,
    AdapterMeta,
    BaseReference,
    describe,
    read_meta,
)
from samtailor.artefact.model_card import card

__all__ = [
    "CARD",
    "METADATA",
    "SCHEMA",
    "SPLIT",
    "TENSORS",
    "Adapter",
    "AdapterMeta",
    "BaseReference",
    "base_of",
    "card",
    "describe",
    "folder_of",
    "from_pretrained",
    "load",
    "push_to_hub",
    "read_meta",
    "save",
]
