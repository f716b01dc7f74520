# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# The constraints hold for build environments as well, so next year's installation is this one.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# They ask for a numpy that the others exclude, and run with a newer one (docs/optimizers/dehb.md).
UNPINNED := dehb==0.1.2 loguru==0.7.3 HEBO==0.3.6 disjoint-set==0.9.0

.PHONY: demo test lint types imports unit stress conformance verify-installation bench clean

demo: $(VENV)/.demo
	$(BIN)/zerowait run quickstart

test: lint types imports unit

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.all
	$(BIN)/mypy

imports: $(VENV)/.all
	$(BIN)/lint-imports

unit: $(VENV)/.all
	$(BIN)/pytest -m "not stress" -n 2 --dist loadfile

stress: $(VENV)/.all
	$(BIN)/pytest -m stress --timeout 3600 tests/stress tests/suite tests/benchmarks tests/experiments tests/plots

conformance: $(VENV)/.all
	$(BIN)/pytest -m stress --timeout 3600 tests/adapters

verify-installation: $(VENV)/.all
	$(BIN)/python tests/installation/each_extra.py

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
	rm -rf $(VENV) .venv-environments build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
