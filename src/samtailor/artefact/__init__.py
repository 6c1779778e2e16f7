"""Adapters on disk and on the hub: adapter.safetensors, adapter.json, README.md (model card), and learnt proposals
where there are any (`proposals.disk`).

adapter.json is written last and contains the digest of the tensors, so a folder with it is complete. Loading is
strict: another base, an extra or missing tensor, a damaged or newer file is an `ArtefactError` with a remedy. Nothing
is ever unpickled. Reading the metadata does not import torch.
"""

from samtailor.artefact.data_options import ReadingOptions, open_for, reading_options, reference
from samtailor.artefact.disk import Adapter, base_of, from_pretrained, load, save, update
from samtailor.artefact.hub import folder_of, push_to_hub
from samtailor.artefact.members import members, named_members
from samtailor.artefact.metadata import (
    CARD,
    METADATA,
    SCHEMA,
    SPLIT,
    TENSORS,
    AdapterMeta,
    BaseReference,
    CompanionReference,
    DataReference,
    describe,
    read_meta,
)
from samtailor.artefact.model_card import card, summary_rows

__all__ = [
    "CARD",
    "METADATA",
    "SCHEMA",
    "SPLIT",
    "TENSORS",
    "Adapter",
    "AdapterMeta",
    "BaseReference",
    "CompanionReference",
    "DataReference",
    "ReadingOptions",
    "base_of",
    "card",
    "describe",
    "folder_of",
    "from_pretrained",
    "load",
    "members",
    "named_members",
    "open_for",
    "push_to_hub",
    "read_meta",
    "reading_options",
    "reference",
    "save",
    "summary_rows",
    "update",
]
