"""Upload adapters to the hub, and download them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samtailor.artefact.metadata import CARD, METADATA, SPLIT, TENSORS, read_meta
from samtailor.data.strict_files import digest
from samtailor.errors import ArtefactError


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
    """Upload an adapter to the hub and return the address of the repository.

    Only the three files of the adapter and those of its proposals are uploaded: not the checkpoint, not the logs, and
    not the list of images unless `with_split`, because file names may be confidential. Proposals of an earlier
    adapter in the repository are deleted if this one has none.

    Args:
        folder: folder written by `save`; its metadata is checked first.
        repo_id: "user/name"; created if it does not exist.
        private: visibility of a new repository.
        token: see huggingface_hub; None uses the token of the current login.
        message: commit message.
        with_split: upload split.json too.
        api: a `huggingface_hub.HfApi` to use.

    Raises:
        ArtefactError: no adapter in the folder, or damaged proposals.
    """
    from samtailor.proposals import disk

    read_meta(folder)
    proposals = [disk.TENSORS, disk.METADATA]
    tensors = Path(folder) / disk.TENSORS
    if disk.exists(folder) and not (tensors.is_file() and digest(tensors) == disk.read_meta(folder).sha256):
        raise ArtefactError(f"{folder}: {disk.TENSORS} and {disk.METADATA} do not match. Train the proposals again.")
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi(token=token)
    url = api.create_repo(repo_id, private=private, exist_ok=True)
    files = [TENSORS, METADATA, CARD, *(proposals if disk.exists(folder) else []), *([SPLIT] if with_split else [])]
    api.upload_folder(
        repo_id=repo_id,
        folder_path=str(folder),
        allow_patterns=files,
        delete_patterns=proposals,  # files that are uploaded now are not deleted
        commit_message=message,
    )
    return str(url)


def folder_of(source: str | Path, *, revision: str | None = None, token: Any = None) -> Path:
    """The folder itself, or the local copy of a repository of the hub.

    Raises:
        ArtefactError: neither a folder nor a repository that can be downloaded.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ArtefactError(f"There is no folder {source}. Give the folder of an adapter, or a hub id.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from samtailor.proposals import disk

    try:
        files = [TENSORS, METADATA, CARD, disk.TENSORS, disk.METADATA]
        return Path(snapshot_download(name, revision=revision, token=token, allow_patterns=files))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ArtefactError(
            f"{name!r} is neither a folder nor an adapter that can be downloaded from the hub "
            f"({type(error).__name__}). Check the name, the network and the token."
        ) from error


__all__ = ["folder_of", "push_to_hub"]
