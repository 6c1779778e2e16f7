"""How results become tables, plots and blocks of pages; see `tools/make_figures.py`."""
