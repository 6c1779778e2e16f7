"""`samtailor find`: find objects like those of a few references, without a fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.group import words_of
from samtailor.cli.label import print_result
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.predict.references import Reference


References = Annotated[
    list[str] | None,
    typer.Option(
        "--like",
        metavar="PHOTO MARK",
        help="An image and what is marked in it: a mask file, a box X0,Y0,X1,Y1, or a click X,Y, in pixels. Repeat for "
        "several references, or for several objects of one image.",
    ),
]
NegativeReferences = Annotated[
    list[str] | None,
    typer.Option(
        "--not-like",
        metavar="PHOTO MARK",
        help="What not to find, as in --like; MARK may also be all, for an image without any such object.",
    ),
]
FoundClass = Annotated[str, typer.Option(metavar="NAME", help="Class of what is found.")]
MatcherName = Annotated[str, typer.Option(metavar="NAME", help="How objects are found: {matchers}.")]
MatcherOptions = Annotated[
    list[str] | None,
    typer.Option("--matcher-option", metavar="KEY=VALUE", help="Option of the matcher, e.g. companion=none."),
]
MinimumScore = Annotated[
    float | None,
    typer.Option(
        "--threshold", min=0, max=1, metavar="T", help="Minimum score, 0 to 1; default: chosen on the references."
    ),
]


def find_command(
    images: options.Images,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the result; an interrupted run continues.")],
    like: References = None,
    not_like: NegativeReferences = None,
    name: FoundClass = "object",
    format: Annotated[str, typer.Option(metavar="NAME", help="Output format: {writers}.")] = "coco",
    base: Annotated[str, typer.Option(metavar="BASE", help="Base model, as in samtailor fit.")] = "lite",
    matcher: MatcherName = "multiscale",
    matcher_option: MatcherOptions = None,
    threshold: MinimumScore = None,
    vertices: options.Vertices = None,
    tile: options.TileSide = None,
    overlap: options.TileOverlap = 0.25,
    image_files: options.ImageFiles = "copy",
    rle: options.RunLengths = False,
    setting: options.FormatOption = None,
    device: options.Device = None,
    max_pixels: options.MaxPixels = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Find objects like those of a few references in other images, without a fit.

    Images in which nothing is alike have no objects. Run the same command again to continue an interrupted run.
    Unreadable images are listed at the end (exit code 1).
    """
    options.allow_pixels(max_pixels)
    shown, hidden = ([_reference(parts) for parts in group] for group in reference_groups(like, not_like))
    from samtailor.cli.progress import counting
    from samtailor.labelling.find import find

    with counting("Finding objects") as progress:
        result = find(
            images, shown, out, format, not_like=hidden, name=name, base=base, matcher=matcher,
            matcher_options=options.settings(matcher_option or []), threshold=threshold, vertices=vertices, tile=tile,
            overlap=overlap, image_files=image_files, options=options.format_options(rle, setting), device=device,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    print_result(result, out, format, image_files)
    if result.unreadable:
        raise typer.Exit(1)


def _reference(parts: dict[str, Any]) -> Reference:
    """A reference of `reference_parts`."""
    from samtailor.predict.references import Reference

    return Reference(parts.pop("image"), **parts)


def reference_groups(
    like: Sequence[str] | None, not_like: Sequence[str] | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """`reference_parts` of the values of --like and --not-like.

    Raises:
        InputError: there is none of --like, and as `reference_parts`.
    """
    groups = [reference_parts(one) for one in like or ()], [reference_parts(one, whole=True) for one in not_like or ()]
    if not groups[0]:
        raise InputError(
            "There is no reference of what to find. Give at least one --like PHOTO MARK: an image, and a mask file, "
            "a box X0,Y0,X1,Y1 or a click X,Y in it."
        )
    return groups


def reference_parts(pair: str, *, whole: bool = False) -> dict[str, Any]:
    """Image and mark from the two words of an option: "image", and "mask", "box" or "clicks".

    Args:
        pair: value of the option.
        whole: allow "all" as mark.

    Raises:
        InputError: one word only, no such image, or the mark is neither a file nor numbers.
    """
    photo, *rest = words_of(pair)
    if len(rest) != 1:
        raise InputError(
            f"--like and --not-like take an image and what is marked in it, got only {photo!r}. Give a mask file, a "
            "box X0,Y0,X1,Y1 or a click X,Y after the image."
        )
    mark = rest[0]
    if not Path(photo).is_file():
        raise InputError(f"There is no image {photo}. --like and --not-like take an image and what is marked in it.")
    if Path(mark).is_file():
        return {"image": photo, "mask": mark}
    if whole and mark == "all":
        return {"image": photo}
    numbers = _numbers(mark)
    if len(numbers) == 4:
        return {"image": photo, "box": numbers}
    if len(numbers) == 2:
        return {"image": photo, "clicks": [numbers]}
    raise InputError(
        f"{photo}: {mark!r} is no mask file, and neither a box X0,Y0,X1,Y1 nor a click X,Y in pixels. Give one of them "
        "after the image."
    )


def _numbers(text: str) -> Sequence[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []
