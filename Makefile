# Every target makes what it needs; nothing but Python and make has to be there.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements-dev.txt
SLOWEST := --durations=10 --durations-min=1

.PHONY: help
help: ## say what there is (this)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

$(VENV)/made: $(LOCK) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet "$$(grep '^uv==' $(LOCK))"
	$(PY) -m uv pip sync --quiet --python $(PY) $(LOCK)
	$(PY) -m uv pip install --quiet --python $(PY) --no-deps -e .
	touch $@

.PHONY: test
test: $(VENV)/made ## a proof of every promise: five minutes on two cores
	$(PY) -m pytest -m "not thorough and not matrix and not soak" $(SLOWEST) $(ARGS)

.PHONY: test-quick
test-quick: $(VENV)/made ## the tests that need no Poetry process: twenty seconds
	$(PY) -m pytest tests/unit -m "not thorough and not soak" $(ARGS)

.PHONY: test-thorough
test-thorough: $(VENV)/made ## more cases of what `make test` proves: twenty minutes
	$(PY) -m pytest -m "thorough and not matrix and not soak" $(SLOWEST) $(ARGS)

.PHONY: test-matrix
test-matrix: $(VENV)/made ## the core scenarios on every supported Poetry
	$(PY) -m pytest -m matrix $(SLOWEST) $(ARGS)

.PHONY: soak
soak: $(VENV)/made ## hours of what chance decides, to find flakes and races
	$(PY) -m tests.soak $(ARGS)

.PHONY: lint
lint: $(VENV)/made ## code, its format, and the workflows
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.ci/lint-workflows

.PHONY: types
types: $(VENV)/made ## mypy
	$(PY) -m mypy

.PHONY: docs
docs: $(VENV)/made ## the pages, into site/
	$(PY) -m mkdocs build --strict --quiet

.PHONY: demo
demo: $(VENV)/made ## several Poetrys at once, unprotected and protected
	$(PY) -m tests.demonstration

.PHONY: bench
bench: $(VENV)/made ## what the protection costs, within five minutes
	$(PY) -m tests.benchmarks $(ARGS)

.PHONY: bench-full
bench-full: $(VENV)/made ## the same, as a release quotes it
	$(PY) -m tests.benchmarks --full $(ARGS)

.PHONY: compare
compare: $(VENV)/made ## kill Poetry, uv and pip while they install: half an hour
	$(PY) -m tests.comparison $(ARGS)

.PHONY: dist
dist: $(VENV)/made ## build what is released, and check it
	rm -rf dist
	$(PY) -m build
	$(PY) -m twine check --strict dist/*

.PHONY: test-dist
test-dist: $(VENV)/made ## test the very files that are in dist/
	DIST=dist $(PY) -m pytest tests/commands/test_packaging.py $(ARGS)

.PHONY: urls
urls: ## have all links name the owner that Homepage in pyproject.toml names
	.ci/urls

.PHONY: lock
lock: $(VENV)/made ## take new releases of the development tools
	$(PY) -m uv pip compile --quiet --universal --python-version 3.10 --upgrade \
		--group dev pyproject.toml \
		--custom-compile-command "make lock" --output-file $(LOCK)

.PHONY: clean
clean: ## remove what these targets have made
	rm -rf $(VENV) .cache dist site
