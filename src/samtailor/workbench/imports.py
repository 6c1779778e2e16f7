"""Import of data sets: as a job of the page, or at once before the page opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from samtailor.data.dataset import detect
from samtailor.errors import DataError
from samtailor.serve.refusals import NotAllowed, Refused
from samtailor.structures import Account
from samtailor.workbench.importer import Importer, ImportReport, imported_image
from samtailor.workbench.importing import DatasetReader
from samtailor.workbench.jobs import Job, Jobs, Message
from samtailor.workbench.project import Project


class Imports:
    """Imports of a project.

    Args:
        project: an open project.
        jobs: jobs of the session.
        project_changed: called after an import.
        image_changed: called with the id of an image whose annotations have changed.
    """

    def __init__(
        self,
        project: Project,
        jobs: Jobs,
        project_changed: Callable[[], object],
        image_changed: Callable[[str], object],
    ) -> None:
        self._project, self._jobs = project, jobs
        self._project_changed, self._image_changed = project_changed, image_changed
        self.anywhere = True
        """Whether data sets may lie anywhere on this machine: only if the page is open to this machine alone."""

    def start(
        self, data: str, format: str | None, options: Mapping[str, Any], *, replace: bool = False, dry: bool = False
    ) -> Job:
        """Start importing the annotations of a data set, see `importer`.

        The finished job has a `report`: "account" (what the files contain, see `structures.account`), "format", the
        keys of `ImportReport.to_json`, "dry" and "data".

        Args:
            data: folder of the data set; relative to the folder of the images.
            format, options: as for `open_dataset`.
            replace: replace annotations of the user too.
            dry: save nothing.

        Raises:
            Taken: a job is in progress. NotAllowed: the folder is out of reach. Refused: there is no such folder.
        """
        self._jobs.check_free()
        path = self._folder(data)
        importer = Importer(self._project, replace=replace, dry=dry)

        def on_message(message: Message) -> None:
            if (id := importer.add(imported_image(message["read"]))) is not None and not dry:
                self._image_changed(id)

        def on_done(result: Message) -> dict[str, Any]:
            importer.hide(result["other"])
            self._project_changed()
            about = {"account": result["account"], "format": result["format"], "dry": dry, "data": str(path)}
            return {"report": {**importer.report.to_json(), **about}}

        work = {"data": str(path), "format": format, "options": dict(options)}
        return self._jobs.start("import", path.name or "data", work, on_message=on_message, on_done=on_done)

    def detected(self) -> dict[str, Any]:
        """Layout of annotations in the folder of the images itself: "format", or None with the reason in "error"."""
        folder = self._project.images.folder
        try:
            return {"data": str(folder), "format": detect(folder), "error": None}
        except DataError as error:
            return {"data": str(folder), "format": None, "error": str(error).splitlines()[0]}

    def _folder(self, data: str) -> Path:
        folder = self._project.images.folder
        path = (folder / Path(data.strip()).expanduser()).resolve() if "\0" not in data else folder
        near = path.is_relative_to(folder.parent) and folder.parent != Path(folder.anchor)
        if not (self.anywhere or near):
            raise NotAllowed(f"This page is open to other machines: only folders in {folder.parent} can be imported.")
        if not path.is_dir():
            raise Refused(f"There is no folder {path} on the machine that runs `samtailor ui`.")
        return path


def import_now(
    project: Project, data: Path, format: str | None, options: Mapping[str, Any],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[Account, ImportReport]:  # fmt: skip
    """Import the annotations of a data set.

    Args:
        project: an open project.
        data: folder of the data set.
        format, options: as for `open_dataset`.
        progress: called with (images done, number of images).

    Returns:
        What the files contain, and what became of it.

    Raises:
        DataError: the data set cannot be read. InputError: an unknown format or option.
    """
    reader, importer = DatasetReader(data, format, options), Importer(project)
    for done, image in enumerate(reader, 1):
        importer.add(image)
        progress(done, len(reader))
    importer.hide(reader.other_files())
    return reader.account(), importer.report


__all__ = ["Imports", "import_now"]
