"""Layouts of data sets, one module each, with `matches(path)` and `build(path, *, classes=None, **options)`."""
