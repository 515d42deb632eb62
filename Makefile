# Everything runs in a virtual environment of its own, .venv, made at the first call.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The linters and the tests need no more threads than there are cores; the arrays are small.
export OMP_NUM_THREADS ?= 1

.PHONY: run test lint ui bench clean help

help:
	@echo "make run    train the homework's network, check its gradients, record the run"
	@echo "make test   the tests; make lint: ruff and pyright; make bench: the benchmarks"
	@echo "make ui     the MLflow UI on the runs"

run: $(READY)
	$(BIN)/backproof train experiment=cs446

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

ui: $(READY)
	$(BIN)/backproof ui

bench: $(READY)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/recording.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/sweep_parallel.py

clean:
	rm -rf $(VENV)

# pip 25.1 is the first that reads dependency groups.
$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "backproof needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@
