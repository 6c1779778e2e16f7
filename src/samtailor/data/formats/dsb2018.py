"""Data Science Bowl 2018: a folder for each image, ID/images/ID.png + ID/masks/*.png with one mask per object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from samtailor.data.account import count, count_images, leave_out_image
from samtailor.data.image import header, read_mask
from samtailor.data.layout import file_sample, mask_annotation
from samtailor.data.listing import files, folders_in, natural_key, single_class
from samtailor.data.parts import part_named
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.structures import Annotation, Sample

_INSPECTED = 8


def matches(path: Path) -> bool:
    """Whether the folders in stage1_train/ (or train/), or in the top folder, have images/ and masks/."""
    folders = [folder for listed in _folders(path, _INSPECTED).values() for folder in listed]
    return any(len(files(folder / "images")) == 1 for folder in folders)  # several: a data set in a folder of its own


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of a data set with one folder per image and one mask file per object.

    Folders without masks/ (as in stage1_test) are left out.

    Args:
        path: folder of the data set.
        classes: one name for the objects; None is "object".

    Raises:
        DataError: no such folders, or an image folder with several images. Reading a mask that does not fit its image
            raises it too.
    """
    label = single_class(classes, "object")
    samples = []
    for stage, folders in _folders(path, None).items():
        for folder in folders:
            images = files(folder / "images", role="image")
            count_images(len(images))
            if len(images) != 1:
                raise DataError(f"{folder / 'images'} must contain exactly one image, it contains {len(images)}.")
            image = next(iter(images.values()))
            masks = files(folder / "masks", role="annotation") if (folder / "masks").is_dir() else {}
            if not masks:
                leave_out_image("image without partner", f"{image} has no masks and is skipped.")
                continue
            id = f"{stage}/{folder.name}" if stage else folder.name
            listed = tuple(masks[stem] for stem in sorted(masks, key=natural_key))
            samples.append(file_sample(id, image, _annotations, listed, label, part=part_named(stage)))
    if not samples:
        raise DataError(f"{path} has no folders ID/images/ID.png with ID/masks/*.png.")
    return samples


def _folders(path: Path, most: int | None) -> dict[str, list[Path]]:
    """Folders of images by stage; "" if they are in the top folder. At least one folder has masks."""
    inside = folders_in(path)
    stages = {f.name: f for f in inside if part_named(f.name)} or {"": path}
    result = {}
    for name, stage in stages.items():
        folders = [f for f in islice(folders_in(stage), most) if (f / "images").is_dir()]
        result[name] = folders
    if not any((f / "masks").is_dir() for folders in result.values() for f in folders):
        return {}
    # a part of a data set is no image folder: train/images + train/masks
    if any(part_named(f.name) for folders in result.values() for f in folders):
        return {}
    return {name: folders for name, folders in result.items() if folders}


def _annotations(image: Path, masks: Sequence[Path], label: str) -> Iterator[Annotation]:
    frame = header(image)
    for file in masks:
        count()
        yield from mask_annotation(label, to_image_frame(read_mask(file), frame, file), file)


__all__ = ["build", "matches"]
