"""Layouts of data on disk, one file each: build(path, *, classes=None, **options) -> Iterable[Sample]."""
