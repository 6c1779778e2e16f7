"""Toy format: toy.txt with one line per object: image, class, area in pixels."""

from __future__ import annotations

from samtailor.data.writing import replacing


def write(to, images, classes) -> None:
    lines = [f"{image.name} {one.label} {one.area}" for image in images for one in image.objects]
    with replacing(to.folder / "toy.txt") as file:
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
