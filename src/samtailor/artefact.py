"""An adapter on disk: adapter.safetensors + adapter.json + README.md (model card), and beside them its learnt proposals
where it has some (`proposals.disk`); on the hub the same files.

adapter.json is written last and holds the digest of the tensors: a folder with it is whole. Loading is strict: another
base, an extra or missing tensor, a damaged or newer file is an `ArtefactError` that says what to do. Nothing is ever
unpickled. Reading the metadata needs no torch.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from samtailor.errors import ArtefactError, InputError
from samtailor.strict_files import digest, read_metadata, read_tensors

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.segmenter import Segmenter

SCHEMA = 1
TENSORS, METADATA, CARD, SPLIT = "adapter.safetensors", "adapter.json", "README.md", "split.json"
_MEND = "Copy the adapter again, or fit it again."


class BaseReference(BaseModel):
    """Which base an adapter belongs to: what to load, and the fingerprint that it must have."""

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str
    parameters: int


class AdapterMeta(BaseModel):
    """adapter.json.

    Args:
        schema_version: of this layout.
        method, options: what `methods.<method>.build(base, **options)` is called with.
        base: the base it was fitted on.
        classes: classes it was fitted to.
        prompt, prompt_options: the prompt source it is asked with; None: the usual click ("mask-center").
        regions: it answers one region a picture and class, not single objects.
        alone, single: of an adapter with a map: it is of one class, so that it answers without a prompt; no picture
            that it was fitted on had more than one object, so that this answer is the object.
        parameters: learnt numbers by adapter module.
        figures: what is known about its quality, e.g. held-out mIoU and the step it was reached at.
        seed, steps: of the fit.
        split: file beside adapter.json with the ids of the pictures of each part; None without one.
        versions: of Python and the libraries it was fitted with.
        created: date and time, ISO 8601, UTC.
        sha256: digest of adapter.safetensors.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA
    method: str
    options: dict[str, Any] = {}
    base: BaseReference
    classes: tuple[str, ...] = ()
    prompt: str | None = None
    prompt_options: dict[str, Any] = {}
    regions: bool = False
    alone: bool = False
    single: bool = False
    parameters: dict[str, int] = {}
    figures: dict[str, Any] = {}
    seed: int = 0
    steps: int = 0
    split: str | None = None
    versions: dict[str, str] = {}
    created: str = Field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    sha256: str = ""


@dataclass(frozen=True)
class Adapter:
    """A loaded adapter.

    Args:
        segmenter: ready to use (evaluation mode, on the base's device).
        meta: tells about it.
        folder: that it was read from, where its proposals are too; of the hub's, the copy on this machine.
    """

    segmenter: Segmenter
    meta: AdapterMeta
    folder: Path


def describe(segmenter: Segmenter, *, method: str, options: Mapping[str, Any], **fields: Any) -> AdapterMeta:
    """Metadata of a segmenter; what can be read off it is, `fields` are further ones of `AdapterMeta`."""
    base = segmenter.base
    count = sum(parameter.numel() for parameter in base.model.parameters())
    counts = {name: sum(p.numel() for p in m.parameters()) for name, m in segmenter.adapters.items()}
    return AdapterMeta(
        method=method,
        options=dict(options),
        base=BaseReference(name=base.name, fingerprint=base.fingerprint, parameters=count),
        parameters={name: count for name, count in counts.items() if count},
        prompt=segmenter.prompt,
        prompt_options=segmenter.prompt_options,
        regions=segmenter.regions,
        alone=bool(segmenter.maps) and segmenter.alone,
        single=bool(segmenter.maps) and segmenter.single,
        versions=_versions(),
        **fields,
    )


def save(folder: str | Path, segmenter: Segmenter, meta: AdapterMeta) -> AdapterMeta:
    """Write an adapter into a folder, each file at once, adapter.json last; returns the metadata as written.

    An adapter that was there is replaced. Between its first and last file the folder does not load (the digest
    differs), it never loads as something else.
    """
    from safetensors.torch import save_file

    from samtailor.data.picture import replacing, write_json

    folder = Path(folder)
    with replacing(folder / TENSORS) as temporary:
        # one key only: safetensors writes several in random order, and equal adapters should be equal files
        save_file(segmenter.learned(), temporary, metadata={"format": "pt"})
        meta = meta.model_copy(update={"sha256": digest(temporary)})
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card(meta), encoding="utf-8")
    write_json(folder / METADATA, meta.model_dump(mode="json"))
    return meta


def load(source: str | Path, base: Base | None = None, *, revision: str | None = None, token: Any = None) -> Adapter:
    """Load an adapter and, unless it is given, its base.

    Args:
        source: folder, or hub id.
        base: the base to stand on; None loads the one that the adapter names.
        revision, token: as huggingface_hub has them.

    Raises:
        ArtefactError: no adapter there, another base, an extra or missing tensor, a damaged or newer file.
        BaseUnavailableError: the base cannot be had.
    """
    folder = folder_of(source, revision=revision, token=token)
    meta = read_meta(folder)
    tensors = read_tensors(folder / TENSORS, mend=_MEND)
    if base is None:
        from samtailor.bases import load_base

        base = load_base(meta.base.name)
    if base.fingerprint != meta.base.fingerprint:
        raise ArtefactError(
            f"The adapter {source} was fitted on the base {meta.base.name!r} (fingerprint {meta.base.fingerprint}), "
            f"not on {base.name!r} (fingerprint {base.fingerprint}). Load it with its own base, or fit it again."
        )
    segmenter = _rebuild(source, meta, base)
    try:
        segmenter.load_learned(tensors)
    except InputError as error:
        raise ArtefactError(f"{folder / TENSORS} does not fit the method {meta.method!r}. {error}") from error
    if digest(folder / TENSORS) != meta.sha256:
        raise ArtefactError(
            f"{folder / TENSORS} is not the file that {METADATA} belongs to (its digest differs): it was damaged or "
            "exchanged. Copy the adapter again, or fit it again."
        )
    return Adapter(segmenter.to(next(base.model.parameters()).device).eval(), meta, folder)


def from_pretrained(
    source: str | Path, base: Base | None = None, *, revision: str | None = None, token: Any = None
) -> Adapter:
    """`load`, under the name that the hub's users look for."""
    return load(source, base, revision=revision, token=token)


def read_meta(folder: str | Path) -> AdapterMeta:
    """adapter.json of a folder.

    Raises:
        ArtefactError: not there, damaged, or of a newer samtailor.
    """
    return read_metadata(
        Path(folder) / METADATA,
        AdapterMeta,
        SCHEMA,
        absent=f"{folder} holds no adapter: there is no {METADATA}. Give the folder that `samtailor fit` wrote "
        "(a fit that was interrupted has none yet: go on with --resume).",
        mend=_MEND,
    )


def base_of(source: str | Path, *, revision: str | None = None, token: Any = None) -> str:
    """Name of the base that an adapter was fitted on."""
    return read_meta(folder_of(source, revision=revision, token=token)).base.name


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: Any = None,
    message: str = "Upload adapter",
    with_split: bool = False,
    api: Any = None,
) -> str:
    """Upload an adapter to the hub; returns its address.

    Only the adapter's own three files and those of its proposals go up: not the checkpoint, not the logs, and not the
    list of pictures unless `with_split` (file names may tell more than one wants to). Proposals that an earlier adapter
    has left there are deleted where this one has none.

    Args:
        folder: what `save` wrote; its metadata is checked first.
        repo_id: "user/name"; made when it does not exist.
        private: of a new repository.
        token: of huggingface_hub; None takes the one that is logged in.
        message: of the commit.
        with_split: upload split.json too.
        api: a `huggingface_hub.HfApi` to use.

    Raises:
        ArtefactError: no adapter there, or damaged proposals.
    """
    from samtailor.proposals import disk

    read_meta(folder)
    proposals = [disk.TENSORS, disk.METADATA]
    tensors = Path(folder) / disk.TENSORS
    if disk.exists(folder) and not (tensors.is_file() and digest(tensors) == disk.read_meta(folder).sha256):
        raise ArtefactError(f"{folder}: {disk.TENSORS} and {disk.METADATA} do not belong together. Train them again.")
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi(token=token)
    url = api.create_repo(repo_id, private=private, exist_ok=True)
    files = [TENSORS, METADATA, CARD, *(proposals if disk.exists(folder) else []), *([SPLIT] if with_split else [])]
    api.upload_folder(
        repo_id=repo_id,
        folder_path=str(folder),
        allow_patterns=files,
        delete_patterns=proposals,  # of files that go up now nothing is deleted
        commit_message=message,
    )
    return str(url)


def card(meta: AdapterMeta) -> str:
    """README.md with the hub's front matter."""
    import yaml

    hub = meta.base.name.count("/") == 1 and not meta.base.name.startswith((".", "/", "~"))
    front: dict[str, Any] = {
        "library_name": "samtailor",
        "pipeline_tag": "mask-generation",
        "tags": ["samtailor", "segment-anything", "adapter", meta.method],
    }
    front |= {"base_model": meta.base.name} if hub else {}
    classes = ", ".join(meta.classes) or "all classes"
    rows = [
        ("method", f"`{meta.method}` {json.dumps(meta.options) if meta.options else ''}".strip()),
        (
            "base",
            f"`{meta.base.name}`, fingerprint `{meta.base.fingerprint}`, {meta.base.parameters:,} parameters, frozen",
        ),
        ("classes", classes),
        ("asked with", f"`{meta.prompt}`" if meta.prompt else "a click or a box"),
        *([("answers", "one region a picture and class")] if meta.regions else []),
        *([("without a prompt", "the object" if meta.single else "all objects as one region")] if meta.alone else []),
        ("learnt", ", ".join(f"{name} {count:,}" for name, count in meta.parameters.items()) or "nothing"),
        ("fit", f"{meta.steps:,} steps, seed {meta.seed}"),
        *((name.replace("_", " "), _figure(value)) for name, value in meta.figures.items()),
        ("made", f"{meta.created}, samtailor {meta.versions.get('samtailor', '?')}"),
    ]
    table = "\n".join(f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in rows)
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n# samtailor adapter: {classes}\n\n"
        "Fits a frozen Segment Anything model to these objects; the base itself is unchanged and not included.\n\n"
        f"| | |\n|---|---|\n{table}\n\n```python\nfrom samtailor import Predictor\n\n"
        f'predictor = Predictor.from_pretrained("{meta.base.name}", adapters={{"it": "FOLDER OR HUB ID"}})\n'
        'predictor.set_image("picture.jpg")\n'
        f'masks, scores, _ = predictor.predict({_example(meta.prompt)}adapter="it")\n```\n\n'
        f"Held-out figures are of {_protocol(meta.prompt)} on the pictures that chose the best state; measure on "
        "pictures of your own with `samtailor evaluate`.\n"
    )


def _example(prompt: str | None) -> str:
    if prompt is None:
        return "[[320, 240]], [1], "
    return "" if prompt == "none" else "box=[100, 80, 420, 360], "


def _protocol(prompt: str | None) -> str:
    return "the single-click protocol" if prompt is None else f"the prompt source `{prompt}`"


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _rebuild(source: str | Path, meta: AdapterMeta, base: Base) -> Segmenter:
    from samtailor.registry import find

    try:
        segmenter = find("methods", meta.method).build(base, **meta.options)[0]
    except (InputError, TypeError) as error:
        raise ArtefactError(f"The adapter {source} cannot be rebuilt: {error} Is it of another samtailor?") from error
    segmenter.prompt, segmenter.prompt_options, segmenter.regions = meta.prompt, meta.prompt_options, meta.regions
    segmenter.alone, segmenter.single = meta.alone, meta.single
    return segmenter


def folder_of(source: str | Path, *, revision: str | None = None, token: Any = None) -> Path:
    """The folder, or where the hub's files were put.

    Raises:
        ArtefactError: neither a folder nor to be had from the hub.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ArtefactError(f"There is no folder {source}. Give the folder that `samtailor fit` wrote, or a hub id.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from samtailor.proposals import disk

    try:
        files = [TENSORS, METADATA, CARD, disk.TENSORS, disk.METADATA]
        return Path(snapshot_download(name, revision=revision, token=token, allow_patterns=files))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ArtefactError(
            f"{name!r} is neither a folder here nor an adapter that the hub gives to this machine "
            f"({type(error).__name__}). Check the name, the network and the token."
        ) from error


def _versions() -> dict[str, str]:
    from samtailor import __version__

    libraries = {name: packages.version(name) for name in ("torch", "transformers", "accelerate", "safetensors")}
    return {"samtailor": __version__, "python": platform.python_version(), **libraries}


__all__ = [
    "SCHEMA",
    "Adapter",
    "AdapterMeta",
    "BaseReference",
    "base_of",
    "describe",
    "folder_of",
    "from_pretrained",
    "load",
    "push_to_hub",
    "read_meta",
    "save",
]
