PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

# Options of `make matrix`: make matrix PYTHONS="3.12" DEPS="newest" TESTS="tests/data/reading"
PYTHONS ?= 3.11 3.12 3.13
DEPS ?= oldest newest
TESTS ?=

.PHONY: setup demo test lint docs matrix clean

setup: $(VENV)/ready

# A torch that is already in .venv (for example a CUDA build) is kept; otherwise constraints.txt sets the version.
$(VENV)/ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -c "import torch" 2> /dev/null; \
	then grep -v "^torch==" constraints.txt > $(VENV)/constraints.txt; \
	else cp constraints.txt $(VENV)/constraints.txt; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[dev]"
	@touch $@

demo: setup
	$(BIN)/kinema demo --out demo

# One thread per test process, because the processes share the cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: setup
	$(BIN)/ruff check src tests benchmarks tools docs examples
	$(BIN)/ruff format --check src tests benchmarks tools docs examples
	$(BIN)/mypy

# Builds the site in docs/_build/html; warnings are errors.
docs: setup
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# Tests the built wheel in bare environments; downloads PyTorch for each of them.
matrix:
	$(PYTHON) tools/matrix.py --pythons "$(PYTHONS)" --deps "$(DEPS)" --tests "$(TESTS)"

clean:
	rm -rf $(VENV) .matrix demo .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build
