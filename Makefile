# Every target makes what it needs; nothing but Python and make has to be there.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test test-matrix soak bench bench-full lint types docs clean

$(VENV)/made: requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip uv
	$(PY) -m uv pip install --quiet --python $(PY) -r requirements-dev.txt -e .
	touch $@

demo: $(VENV)/made
	$(PY) -m tests.demonstration

test: $(VENV)/made
	$(PY) -m pytest -m "not matrix and not soak" $(ARGS)

test-matrix: $(VENV)/made
	$(PY) -m pytest -m matrix $(ARGS)

soak: $(VENV)/made
	$(PY) -m pytest -m soak -n 0 -s $(ARGS)

# Within five minutes; `make bench-full` takes its time and is what a release quotes.
bench: $(VENV)/made
	$(PY) -m tests.benchmarks $(ARGS)

bench-full: $(VENV)/made
	$(PY) -m tests.benchmarks --full $(ARGS)

lint: $(VENV)/made
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/made
	$(PY) -m mypy

docs: $(VENV)/made
	$(PY) -m mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) .cache dist
