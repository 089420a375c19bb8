# Two commands on a fresh machine: make demo, make test. Both set up .venv by themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= radfed-demo
# Build dependencies are pinned as well; torch by its exact version, so that no other build is taken.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup system viewer demo federation test check test-base-install test-mutations test-long test-federation kill-matrix bench clean
help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*##/  make \1\t/'

$(BIN)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"radfed needs Python 3.11 or 3.12, got {v[0]}.{v[1]}; set PYTHON=python3.11")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python cannot make virtual environments here; install Debian's python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --progress-bar off -e '.[all,dev]'
	@touch $@

setup: $(BIN)/.installed ## virtual environment with everything pinned

system: ## what the tests need of Debian: a PACS, OCR, a registry, a browser, Pango for PDF, npm
	@tools/system_packages.sh

viewer: system ## NiiVue for the workbench, where 'make setup' found no npm
	@$(PYTHON) hatch_build.py

demo: setup ## three hospitals with phantoms to a release and a report, with no data at all
	$(BIN)/radfed demo --out $(OUT)

federation: setup ## docs/tutorials/real-federation.md typed: server, three sites, mTLS, approvals, a release
	@rm -rf federation
	$(BIN)/python tools/run_tutorial.py docs/tutorials/real-federation.md

check: setup ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A process a core, a thread a process: torch processes with more threads than cores slow each other many times.
test: check viewer ## all checks and the default test suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

test-base-install: setup ## what a clinic installs, in an environment of its own; minutes
	$(BIN)/pytest -m slow tests/integration/test_base_install.py

test-mutations: setup ## 3,000 broken DICOM files through ingest; minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow tests/integration/test_dicom_mutations.py

test-long: setup ## the long unit tests: coverage of intervals, shadow models, large networks; minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow tests/unit

test-federation: setup system ## the long tests of real federations: kills, networks, attacks; about an hour
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow tests/integration --ignore tests/integration/test_base_install.py --ignore tests/integration/test_dicom_mutations.py

kill-matrix: setup ## kill -9 of every process at every moment; writes docs/reference/reliability.md; about an hour
	$(BIN)/python tools/kill_matrix.py --out kill-matrix --write docs/reference/reliability.md

bench: setup ## figures of docs/reference/benchmarks.md; hours, needs RADFED_DATA
	$(BIN)/python tools/bench/ingest.py --out bench-ingest
	$(BIN)/python tools/bench/federation.py --out bench-federation
	$(BIN)/python tools/bench/federation.py --out bench-federation --many 4 8 16
	$(BIN)/python tools/bench/federation_gain.py
	$(BIN)/python tools/bench/step.py --out bench-step
	$(BIN)/python tools/bench/predict.py --untrained hippocampus_segmentation "$$RADFED_DATA/msd_hippocampus/imagesTr" --out bench-predict
	for study in heart pneumonia ventricle covid; do $(BIN)/python tools/bench/cohorts.py $$study --out bench-$$study || exit 1; done

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
