# Everything runs in a virtual environment, .venv, which the first call makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The arrays are small, and the tests run in as many processes as there are cores: one thread each.
export OMP_NUM_THREADS ?= 1
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: help run ui test quick fuzz campaign cov fmt lint matrix docs bench build clean

help:
	@echo "make run     train the homework's network, check its gradients, record the run"
	@echo "make ui      open the recorded runs in MLflow's UI"
	@echo "make quick   the tests that take under a minute; make test: all of them"
	@echo "make fmt     format the code; make lint: formatting, lint, types, import contracts"
	@echo "make cov     the quick tests with coverage; make fuzz: property tests with new examples"
	@echo "make campaign  attacks: bad input, hostile files and stores, kills, broken servers"
	@echo "make matrix  other versions of Python and dependencies, each in an empty environment"
	@echo "make docs    redraw the pictures of the documentation; make bench: the benchmarks"
	@echo "make build   wheel and sdist"

run: $(READY)
	$(BIN)/backproof train experiment=cs446

ui: $(READY)
	$(BIN)/backproof ui

test: $(READY)
	$(PYTEST) $(ARGS)

quick: $(READY)
	$(PYTEST) -m "not slow" $(ARGS)

# FUZZ multiplies the number of examples. Failing ones are kept in .hypothesis/ and tried first from then on.
fuzz: $(READY)
	FUZZ=$${FUZZ:-50} $(PYTEST) -m hypothesis $(ARGS)

# An hour or more on one core. Prints a table; ARGS="--only CSV YAML" takes some blocks, --match REGEX some cases.
campaign: $(READY)
	nice -n 10 $(BIN)/python -m tests.campaign $(ARGS)

cov: $(READY)
	$(PYTEST) -m "not slow" --cov=backproof --cov-report=term:skip-covered --cov-report=html $(ARGS)

fmt: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

matrix: $(READY)
	$(BIN)/python -m tests.matrix $(ARGS)

docs: $(READY)
	$(BIN)/python docs/make_pictures.py

bench: $(READY)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/recording.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/sweep_parallel.py

build: $(READY)
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) dist htmlcov .coverage .pytest_cache .ruff_cache .import_linter_cache

# pip 25.1 is the first that reads dependency groups.
$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "backproof needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@
