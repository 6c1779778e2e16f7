"""`samtailor figures`: draw the figures of a paper from the folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options
from samtailor.errors import InputError


def figures_command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Folders of compare, recipe or fit. Without one: list the figures."),
    ] = None,
    figure: Annotated[str | None, typer.Option(metavar="NAME,...", help="Figures: {figures}.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the PNGs; default: RUN/figures.")] = None,
    objects: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Largest number of objects.")] = 4,
    draw: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of the draw of objects.")] = 0,
    shots: Annotated[int | None, typer.Option(min=1, metavar="K", help="Fits with K shots; default: the most.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Fits of this seed; default: the first.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Data set, if it is not where the run was made.")
    ] = None,
    device: options.Device = None,
) -> None:
    """Draw figures of a paper from finished runs, each as a PNG.

    The objects are drawn by a seed, or found by a search (kim-10), never chosen by hand. Give several runs for am-sam-5
    and am-sam-6, one for each data set.
    """
    from samtailor.cli.screen import results, say
    from samtailor.registry import find, names

    if not runs:
        for name in names("figures"):
            about = " ".join((find("figures", name).__doc__ or "").split()).partition(": ")[2]
            results().print(f"{name}: {about}", soft_wrap=True, markup=False)
        return
    if figure is None:
        raise InputError(f"Name the figure with --figure: {', '.join(names('figures'))}.")
    wanted = options.listed(figure)
    for name in wanted:
        find("figures", name)
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.compare.figures import write_figure
    from samtailor.compare.run_folder import RunFolder

    store = EmbeddingCache()
    read = [RunFolder.read(run, data=data, shots=shots, seed=seed, device=device, store=store) for run in runs]
    for name in wanted:
        path = Path(out or runs[0] / "figures", f"{name}.png")
        write_figure(name, read, path, objects=objects, seed=draw)
        say(f"{name} is in {path}.")
