# The two commands a newcomer needs: `make demo` and `make test`. Both make the environment first.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow lint docs bench env clean

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: env  ## main job, offline: synthetic banners, the bundled base, before/after table and HTML report
	OMP_NUM_THREADS=$$(nproc 2>/dev/null || echo 2) $(BIN)/samtailor demo --out demo

test: env lint  ## everything that is quick
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: env  ## the rest
	$(BIN)/python -m pytest -m slow

lint: env
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/ruff format --check src tests tools benchmarks
	$(BIN)/lint-imports

docs: env  ## generated pages and the site, in site/; the tests build it too
	for file in tools/make_*_docs.py; do $(BIN)/python $$file || exit 1; done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: env  ## ratios measured in one run
	for file in benchmarks/*.py; do OMP_NUM_THREADS=2 $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) demo build dist
