# Every target works on a fresh machine with Python 3.11 or newer: it makes .venv and installs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet -c constraints.txt

.PHONY: help demo test test-slow test-gpu test-frameworks lint format bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "flatout needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.[tasks]'
	touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.[bench]'
	touch $@ $(VENV)/.demo

$(VENV)/.frameworks: $(VENV)/.dev
	$(PIP_INSTALL) -e '.[dev,frameworks]'
	touch $@

demo: $(VENV)/.demo  ## race the plans on the iris run, train with the winner, show the result
	$(BIN)/flatout race iris --train

test: $(VENV)/.dev  ## run the tests
	$(BIN)/python -m pytest -n auto -m 'not slow'

test-slow: $(VENV)/.dev  ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-frameworks: $(VENV)/.frameworks  ## run the tests with Lightning, Accelerate and transformers
	$(BIN)/python -m pytest -m frameworks

test-gpu: $(VENV)/.dev  ## run the tests that need a CUDA GPU
	$(BIN)/python -m pytest -m gpu

lint: $(VENV)/.dev  ## formatting, style, types, and the layers of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## put the code in its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench  ## measure all speeds in the docs on this machine and write them there
	$(BIN)/python benchmarks/run.py --into docs

clean:  ## delete what was installed and built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
