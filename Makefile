# Every target makes what it needs; nothing but Python and make has to be there.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test test-matrix soak bench lint types docs clean

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

lint: $(VENV)/made
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/made
	$(PY) -m mypy

clean:
	rm -rf $(VENV) .cache dist
