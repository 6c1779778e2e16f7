"""The workbench in the browser (`samtailor ui`): mark a few images, fit, let it label the rest, correct, export.

`images.py` and `project.py` are what is on disk, `asking.py` answers clicks on the engine of `serve`, `jobs.py` runs
fits and labelling in processes of their own (`child.py`), `app.py` is the interface that the page (`page/`) uses.
"""
