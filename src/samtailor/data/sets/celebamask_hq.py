"""CelebAMask-HQ (Lee et al., CVPR 2020): 30,000 faces with up to 18 part masks, in the layout it is published in.

    CelebA-HQ-img/ID.jpg                                     1024 x 1024
    CelebAMask-HQ-mask-anno/{ID // 2000}/{ID:05d}_{part}.png   512 x 512, only for visible parts

The masks of parts overlap (skin includes nose, mouth, eyes ...) and are kept separate; a merged map would change
"skin". Masks are resized to the image (nearest neighbor). Left and right are those of the person: mirroring an image
exchanges the labels in `MIRROR`. The license is non-commercial; samtailor contains no data of this set.

Kim et al. use 21,000 images for training and 6,000 for validation, without saying which. Here, image numbers are
ordered by the SHA-256 of "{seed}:{number}"; the first 70 % are `train`, the next 20 % `val` and the others `unused`
(21,000 / 6,000 / 3,000 of the full set).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from samtailor.data.image import header, read_mask
from samtailor.data.layout import file_sample, mask_annotation
from samtailor.data.listing import chosen, files, natural_key
from samtailor.data.placement import to_image_frame
from samtailor.data.shots import shuffle_key
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

PARTS = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
MIRROR = {f"{a}_{part}": f"{b}_{part}" for part in ("eye", "brow", "ear") for a, b in ("lr", "rl")}

_TRAIN = (
    *(21000, 20999, 979, 20537, 20531, 20368, 20310, 10897, 9903),
    *(12487, 20913, 20924, 20551, 880, 5790, 1307, 20406, 12009),
)
_VAL = (
    *(6000, 6000, 380, 5809, 5811, 5784, 5778, 3325, 2998),
    *(3452, 5978, 5983, 5834, 266, 1497, 319, 5840, 3763),
)
TABLE_1 = {"train": dict(zip(PARTS, _TRAIN, strict=True)), "val": dict(zip(PARTS, _VAL, strict=True))}
"""Number of masks of each part in Kim et al., Table 1."""

_IMAGES, _MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
_SHARES = {"train": (0.0, 0.7), "val": (0.7, 0.9), "unused": (0.9, 1.0)}


def build(
    path: Path, *, classes: Sequence[str] | None = None, part: str | None = None, seed: int = 0
) -> Iterable[Sample]:
    """Samples of CelebAMask-HQ.

    Args:
        path: folder with CelebA-HQ-img/ and CelebAMask-HQ-mask-anno/ (the unpacked CelebAMask-HQ/).
        classes: names among the 18 parts; None for all.
        part: "train", "val" or "unused" of the seeded split above; None for all images.
        seed: random seed of the split.

    Raises:
        DataError: the folders are missing, or the name of an image is not a number.
        InputError: an unknown class or part.
    """
    wanted = chosen(classes, PARTS)
    images, masks = path / _IMAGES, path / _MASKS
    if not images.is_dir() or not masks.is_dir():
        raise DataError(f"{path} must contain {_IMAGES}/ and {_MASKS}/ (the unpacked CelebAMask-HQ).")
    image_files = files(images)
    invalid = [name for name in image_files if not name.isdecimal()]
    if invalid:
        raise DataError(f"{image_files[invalid[0]]}: image names of CelebAMask-HQ are numbers.")
    return [file_sample(id, image_files[id], _parts, masks, wanted) for id in _of_part(image_files, part, seed)]


def counts(path: Path, part: str | None = None, seed: int = 0) -> dict[str, int]:
    """Number of mask files of each of the 18 parts in a part of the split, as Kim et al. count them in Table 1.

    Args:
        path, part, seed: as in `build`. No mask is read.
    """
    ids = _of_part(files(path / _IMAGES), part, seed)
    masks = path / _MASKS
    return {name: sum(_file(masks, int(id), name).is_file() for id in ids) for name in PARTS}


def _file(masks: Path, number: int, label: str) -> Path:
    return masks / str(number // 2000) / f"{number:05d}_{label}.png"


def _of_part(ids: Iterable[str], part: str | None, seed: int) -> list[str]:
    ordered = sorted(ids, key=natural_key)
    if part is None:
        return ordered
    if part not in _SHARES:
        raise InputError(f"No part is called {part!r}. Parts: {', '.join(_SHARES)}.")
    shuffled = sorted(ordered, key=lambda id: shuffle_key(seed, str(int(id))))
    first, last = (round(share * len(shuffled)) for share in _SHARES[part])
    return sorted(shuffled[first:last], key=natural_key)


def _parts(image: Path, masks: Path, wanted: Sequence[str]) -> Iterator[Annotation]:
    number, frame = int(image.stem), header(image)
    for label in wanted:
        file = _file(masks, number, label)
        if file.is_file():  # published masks have half the size of their image
            yield from mask_annotation(label, to_image_frame(read_mask(file), frame, file, quiet=True), file)


__all__ = ["MIRROR", "PARTS", "TABLE_1", "build", "counts"]
