"""Whether the source given to `Predictor.from_pretrained` is an adapter, several of them, or a base."""

from __future__ import annotations

from pathlib import Path

from samtailor import artefact


def adapters_of(source: str | Path, *, reserved: str) -> dict[str, Path]:
    """Local folders of adapters by name; empty if the source is no adapter.

    Args:
        source: folder of an adapter, folder of a fit with `per_class`, or hub id.
        reserved: name that no adapter may have; "adapter" takes its place.

    A hub id that is cached as a base is not queried on the hub again.

    Raises:
        ArtefactError: the repository has an adapter that cannot be downloaded.
    """
    if Path(source).exists():
        bare = (
            not Path(source).is_dir() or (Path(source) / "config.json").is_file()
        )  # a base, perhaps with adapters in it
        adapters = {} if bare else artefact.members(source)
    else:
        adapters = artefact.members(artefact.folder_of(source)) if _is_hub_adapter(str(source)) else {}
        adapters = {str(source).rpartition("/")[2]: folder for folder in adapters.values()}
    return {name if name not in ("", reserved) else "adapter": Path(folder) for name, folder in adapters.items()}


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


__all__ = ["adapters_of"]
