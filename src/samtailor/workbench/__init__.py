"""The annotation workbench in the browser (`samtailor ui`): annotate, fit, label the rest, correct, export.

`images.py` and `project.py` hold what is on disk. `prompt_service.py` predicts masks on the engine of `serve`.
`jobs.py` runs fits and labeling in separate processes (`worker.py`). `app.py` is the HTTP interface of the page
(`page/`, built from `workbench-page/`).
"""
