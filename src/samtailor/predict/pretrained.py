"""Whether the source given to `Predictor.from_pretrained` is an adapter or a base, and the name of the adapter."""

from __future__ import annotations

from pathlib import Path

from samtailor import artefact


def adapter_folder(source: str | Path) -> Path | None:
    """Local folder of an adapter given by its folder or hub id; None if the source is not an adapter.

    A hub id that is cached as a base is not queried on the hub again.

    Raises:
        ArtefactError: the repository has an adapter that cannot be downloaded.
    """
    if Path(source).exists():
        return Path(source) if (Path(source) / artefact.METADATA).is_file() else None
    return artefact.folder_of(source) if _is_hub_adapter(str(source)) else None


def adapter_name(source: str | Path, *, reserved: str) -> str:
    """Last part of the folder or hub id; "adapter" if that is the reserved name."""
    name = Path(source).resolve().name if Path(source).exists() else str(source).rpartition("/")[2]
    return name if name not in ("", reserved) else "adapter"


def _is_hub_adapter(name: str) -> bool:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return False
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return False
        hf_hub_download(name, artefact.METADATA)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return False
    return True


__all__ = ["adapter_folder", "adapter_name"]
