"""One method per file: `build(base, **options) -> (Segmenter, step)`.

A file may also declare, as constants:

* `DEFAULTS`: settings of a fit (`FitConfig`) that differ from the general defaults.
* `PROMPT`: the prompt source that the method is trained and used with.
* `REGIONS`: True if it predicts one region per image and class.
* `STARTS_AT_BASE`: True if the untrained method predicts exactly what the base model predicts.
* `TITLE`: the name of the method in the paper, for tables.

`step(segmenter, optimizers, accelerator)` is a `train.step.Step`; it declares its own feeds.
"""
