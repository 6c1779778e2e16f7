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

demo: env  ## main job, offline: photographs and drawn banners, the bundled base, before/after tables and HTML report
	OMP_NUM_THREADS=$$(nproc 2>/dev/null || echo 2) $(BIN)/samtailor demo --out demo

test: env lint  ## everything that is quick
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: env  ## the rest
	$(BIN)/python -m pytest -m slow

lint: env
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/ruff format --check src tests tools benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: env  ## generated pages and the site, in site/; the tests build it too
	for file in tools/make_*_docs.py; do $(BIN)/python $$file || exit 1; done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: env  ## ratios measured in one run
	for file in benchmarks/*.py; do OMP_NUM_THREADS=2 $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) demo build dist

# Measurements: each target writes results/NAME.json. They need data sets that are not in the repository.
DATA ?= data
DATA_OPEN ?= data_open
RUNS ?= runs
DETECTORS ?= detectors
CACHE ?= cache
LITE2 ?= lite2.pth
ONLY ?=
SOME := $(if $(ONLY),--only $(ONLY))
RESULTS := bundled-base demo demo-seeds real-data few-shot-8 few-shot-every instances speed label-rate users-hour \
	closer-look views presets companion find tailor-trials resident-order embedding-precision round-trips fuzzing faults \
	base-sources base-training machine-faults cases two-processes bench auto offsets linear find-or-fit tiles \
	map-weights curves

.PHONY: figures $(addprefix results-,$(RESULTS))

figures: env  ## fill the tables and plots of README.md and docs/ from results/
	$(BIN)/python tools/make_figures.py

results-bundled-base: export OMP_NUM_THREADS = 1
results-bundled-base: env
	$(BIN)/python tools/measure_bundled_base.py $(DATA) --data-open $(DATA_OPEN)

results-base-sources: env  ## CACHE and LITE2: see tools/bundled_base/README.md
	OMP_NUM_THREADS=1 $(BIN)/python tools/measure_base_sources.py $(CACHE) $(RUNS)/base-sources --trunk $(LITE2) \
		--data $(DATA) --data-open $(DATA_OPEN)

results-base-training: env
	$(BIN)/python tools/record_base_training.py src/samtailor/bases/lite/training.json

results-demo: demo
	OMP_NUM_THREADS=$$(nproc 2>/dev/null || echo 2) $(BIN)/python tools/measure_demo.py demo

results-demo-seeds: env
	for seed in 0 1 2; do $(BIN)/samtailor demo --only banners --seed $$seed --out $(RUNS)/demo-$$seed || exit 1; done
	$(BIN)/python tools/measure_demo.py $(RUNS)/demo-0 $(RUNS)/demo-1 $(RUNS)/demo-2

results-real-data: env
	$(BIN)/python tools/measure_real.py --data $(DATA) --out $(RUNS)/real-data $(SOME)

results-few-shot-8: env
	$(BIN)/python tools/measure_few_shot.py --data $(DATA) --detectors $(DETECTORS) --out $(RUNS)/few-shot-8 \
		--methods tailor,am-sam,blo-sam,sam $(SOME)

results-few-shot-every: env
	$(BIN)/python tools/measure_few_shot.py --data $(DATA) --detectors $(DETECTORS) --out $(RUNS)/few-shot-every --every

results-instances: env
	$(BIN)/python tools/measure_instances.py --data $(DATA) --out $(RUNS)/instances $(SOME)

results-auto: export OMP_NUM_THREADS = 1
results-auto: env  ## hours; continues where it was stopped
	$(BIN)/python tools/measure_auto.py --data $(DATA) --detectors $(DETECTORS) --out $(RUNS)/auto $(SOME)

results-speed: export OMP_NUM_THREADS = 2
results-speed: env
	for name in cached_step adapters_on_one_image fit_memory am_sam_step am_sam_16_masks start_up; do \
		$(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/click_latency.py --fit
	env -u OMP_NUM_THREADS $(BIN)/python benchmarks/serve_workers.py

results-bench: env
	OMP_NUM_THREADS=1 $(BIN)/python tools/measure_bench.py

results-label-rate: export OMP_NUM_THREADS = 2
results-label-rate: env
	$(BIN)/python benchmarks/label_rate.py
	$(BIN)/python benchmarks/label_rate.py --base vit-b --images 2 --rounds 1 --heads 1 --objects 2

results-users-hour: env
	$(BIN)/python tools/users_hour.py $(DATA)/nuclei $(RUNS)/users-hour --again 100

results-closer-look: env
	$(BIN)/python tools/measure_closer.py $(DATA) $(SOME)

results-presets: env
	OMP_NUM_THREADS=1 $(BIN)/python tools/measure_presets.py --data $(DATA) --detectors $(DETECTORS) \
		--out $(RUNS)/presets $(SOME)

results-views: env
	$(BIN)/python tools/measure_views.py --data $(DATA) --out $(RUNS)/views

results-find: export OMP_NUM_THREADS = 1
results-find: env
	$(BIN)/python tools/measure_find.py --data $(DATA) --out $(RUNS)/find $(SOME)

results-find-or-fit: export OMP_NUM_THREADS = 1
results-find-or-fit: env
	$(BIN)/python tools/measure_find_or_fit.py --data $(DATA) --fits $(RUNS)/auto $(SOME)

results-offsets: export OMP_NUM_THREADS = 1
results-offsets: env
	$(BIN)/python tools/measure_offsets.py --data $(DATA) --data-open $(DATA_OPEN) --out $(RUNS)/offsets $(SOME)

results-tiles: export OMP_NUM_THREADS = 1
results-tiles: env
	$(BIN)/python tools/measure_tiles.py --data $(DATA) --data-open $(DATA_OPEN) --out $(RUNS)/tiles $(SOME)

results-linear: export OMP_NUM_THREADS = 1
results-linear: env
	$(BIN)/python tools/measure_linear.py --data $(DATA) --data-open $(DATA_OPEN) --out $(RUNS)/linear $(SOME)

results-map-weights: export OMP_NUM_THREADS = 1
results-map-weights: env
	$(BIN)/python tools/measure_map_weights.py --data $(DATA) --data-open $(DATA_OPEN) --out $(RUNS)/linear $(SOME)

results-curves: export OMP_NUM_THREADS = 1
results-curves: env
	$(BIN)/python tools/measure_curves.py --data $(DATA) --data-open $(DATA_OPEN) --out $(RUNS)/curves $(SOME)

results-companion: env
	OMP_NUM_THREADS=1 $(BIN)/python tools/measure_companion.py --data $(DATA) --out $(RUNS)/companion $(SOME)
	OMP_NUM_THREADS=1 $(BIN)/python tools/measure_companion.py --cost

results-resident-order: export OMP_NUM_THREADS = 1
results-resident-order: env
	$(BIN)/python tools/measure_resident_order.py --data $(DATA) --out $(RUNS)/resident-order $(SOME)

results-embedding-precision: export OMP_NUM_THREADS = 1
results-embedding-precision: env
	$(BIN)/python tools/measure_embedding_precision.py --data $(DATA) $(SOME)

results-two-processes: export OMP_NUM_THREADS = 1
results-two-processes: env
	$(BIN)/python tools/measure_two_processes.py --out $(RUNS)/two-processes

results-round-trips: env
	$(BIN)/python tools/measure_round_trips.py

results-fuzzing: env  ## every reader on damaged files
	$(BIN)/python tools/measure_fuzzing.py --inputs 4000

results-faults: env  ## named faults at every write
	$(BIN)/python tools/measure_faults.py --faults 1000

results-machine-faults: env  ## every command under full disks, missing permissions, ...; needs root
	$(BIN)/python tools/measure_machine_faults.py

CASES ?= cases
results-cases: env  ## files of public bug reports
	$(BIN)/python tools/measure_cases.py $(CASES)

results-tailor-trials: env
	for shots in 64 4; do $(BIN)/python tools/choose_tailor.py --data $(DATA) --out $(RUNS)/tailor-$$shots --shots $$shots \
		--variant long=steps:600 --variant short=steps:150 --variant one=options.members:1 || exit 1; done
	OMP_NUM_THREADS=1 $(BIN)/python tools/choose_tailor.py --data $(DATA) --out $(RUNS)/tailor-cheaper --shots 8 --seeds 0,1 \
		--only humans,lesions,plates --table cheaper \
		--variant short=steps:200 --variant 'earlier=options.convolutions:"full",options.member_batch:null'
