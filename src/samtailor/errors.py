"""Exceptions for users. The command line prints them without a traceback and exits with code 2.

Every message states what was expected, what was given, and what to do.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence


class SamtailorError(Exception):
    """Base class of all errors that samtailor raises."""


class InputError(SamtailorError, ValueError):
    """An argument, prompt, image or option is invalid."""


class DataError(SamtailorError, ValueError):
    """A data set cannot be read in its layout."""


class ArtefactError(SamtailorError, ValueError):
    """An adapter on disk is missing, damaged, or belongs to another base model."""


class BaseUnavailableError(SamtailorError, OSError):
    """The weights of a base model or of a companion are neither on this machine nor available from the hub."""


class MissingExtraError(SamtailorError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""


_FAULTS = {
    getattr(errno, "EDQUOT", errno.ENOSPC): "your disk quota is used up. Free some, or choose another disk.",
    errno.ENOSPC: "no space is left on the disk. Free some, or choose a folder on another disk.",
    errno.EFBIG: "the file would be larger than the file system or a limit of the session (ulimit -f) allows.",
    errno.EROFS: "the file system is read-only. Choose another folder.",
    errno.EACCES: "permission denied. Check the permissions, or choose another folder.",
    errno.EPERM: "the operation is not permitted. Check the permissions, or choose another folder.",
    errno.EMFILE: "too many files are open (ulimit -n).",
    errno.ENFILE: "too many files are open on this machine.",
    errno.ENAMETOOLONG: "the file name is too long.",
    errno.EIO: "the disk reports an error. Check it, and copy your data to another one.",
    errno.ENOMEM: "there is not enough memory.",
}
_NO_MEMORY = (
    "There is not enough memory. Close other programs, or use smaller images, a smaller base model, a smaller "
    "batch_size, or --tile for large images."
)
_MEMORY_TEXTS = ("can't allocate memory", "out of memory", "insufficient memory", "cannot allocate", "bad_alloc",
                 "failed to map segment", "could not create a primitive", "start new thread")  # fmt: skip


def fault_in_words(error: BaseException) -> str | None:
    """What happened and what to do, for a fault of the machine: disk, permissions, memory, names of files.

    Args:
        error: any exception.

    Returns:
        None if it is none of these.
    """
    text = str(error)
    library = isinstance(error, RuntimeError | ImportError) or type(error).__module__.startswith("cv2")
    if isinstance(error, MemoryError) or (library and any(part in text.lower() for part in _MEMORY_TEXTS)):
        return _NO_MEMORY
    if isinstance(error, UnicodeError) and "surrogates" in text:
        return (
            "A name has characters that are not valid UTF-8, so that it cannot be written. Rename the file, or correct "
            "the text."
        )
    code = error.errno if isinstance(error, OSError) else None
    if code is None and (match := re.search(r"\(os error (\d+)\)", text)):  # libraries in Rust
        code = int(match[1])
    if type(error).__name__ == "BrokenProcessPool":
        return "A worker process was ended from outside; the system may have run out of memory. Use fewer --workers."
    if code is None:
        return None
    file = getattr(error, "filename", None)
    where = "" if file is None else f"{os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else file}: "
    words = where + _FAULTS.get(code, f"{os.strerror(code)}.")
    return words[:1].upper() + words[1:] if not where else words


def nothing_to_train_on(images: int, classes: Sequence[str] | None) -> DataError:
    """The error that none of so many training images has a mask of the classes (None: of any class)."""
    wanted = "any class" if classes is None else ", ".join(classes)
    return DataError(f"There is nothing to train on: none of {images} training images has a mask of {wanted}.")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 mask", "2 masks", "0 masks"; `plural` for irregular nouns."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
