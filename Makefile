# Two commands matter: `make quickstart` and `make test`. Both make .venv first, from constraints.txt.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
# Sources of the wheel: a change in any of them is installed before anything runs.
SOURCES := $(shell find adamem indexes datasets -name '*.py' -o -name '*.toml' -o -name 'py.typed' -o -name '*.css') pyproject.toml README.md

.PHONY: help quickstart test lint soak bench docs clean
help:
	@echo "make quickstart   compare exact search, HNSW, FAISS-PQ and SpiralGraph on real sentence embeddings; prints where the report is"
	@echo "make test         lint, types, import arrows and the whole test suite, on the built wheel"
	@echo "make bench        what the Python layer and the engine cost on top of the bare libraries, and what a second thread gains"
	@echo "make docs         write docs/api.md from the docstrings"
	@echo "make soak         the tests that take longer: hundreds of kills at random moments, 30,000 damaged saves, memory guards by four processors' code"
	@echo "make clean        remove .venv and everything built"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "AdaMem needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# The extras come first and alone: they are many megabytes and change rarely.
$(VENV)/.user: $(BIN)/python constraints.txt pyproject.toml
	@echo "installing the reference environment into $(VENV) (a few minutes the first time) ..."
	$(PIP) install -c constraints.txt '.[minilm]'
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	$(PIP) install -c constraints.txt '.[minilm,peers,dev]'
	@touch $@

$(VENV)/.wheel: $(VENV)/.dev $(SOURCES)
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . > $(VENV)/build.log || { cat $(VENV)/build.log; exit 1; }
	$(PIP) install --force-reinstall --no-deps dist/*.whl
	@touch $@

$(VENV)/.quick: $(VENV)/.user $(SOURCES)
	$(PIP) install -c constraints.txt --force-reinstall --no-deps .
	@touch $@

quickstart: $(VENV)/.quick
	$(BIN)/adamem run experiments/quickstart.toml

lint: $(VENV)/.wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Not `python -m pytest`, which would put the checkout in front of the installed wheel. Two processes take half the time of
# one; no test is about time, and few hold more than one core for long. Threads of OpenMP that have nothing to do sleep
# instead of spinning, which two processes of torch on two cores would do against each other: a third of their time.
test: lint
	OMP_WAIT_POLICY=passive $(BIN)/pytest -m "not soak" -n auto --maxprocesses 4 --dist worksteal --durations 15

bench: $(VENV)/.wheel
	$(BIN)/pytest --benchmark-only tests/indexes tests/memory

docs: $(VENV)/.wheel
	$(BIN)/python docs/make_api.py

soak: $(VENV)/.wheel
	$(BIN)/pytest -m soak --timeout 7200

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
