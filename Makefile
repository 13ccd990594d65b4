# Everything a person or CI does here, by name. Needs Linux, Python 3.11 or newer, make, sh and the coreutils; takes uv
# where it finds it, else pip.

PYTHON ?= python3
# More for pytest: make test ARGS='tests/store -k claim'
ARGS ?=

bin := .venv/bin
python := $(bin)/python
local := .venv/installed-local
dev := .venv/installed-dev

# Both stamps name the folder they were made in: a virtual environment that was moved, or whose Python is gone, is
# made again.
ifneq ($(shell $(python) -c 'print(open("$(local)").read())' 2>/dev/null),$(CURDIR))
again := again
endif

# An install must not run twice at once.
.NOTPARALLEL:
.PHONY: help demo test test-all faults soak check format format-check lint types imports bench bench-peers outdated clean again
.DEFAULT_GOAL := help

help:
	@echo 'make demo      run a command through a local broker, show its output and its state, leave nothing running'
	@echo 'make test      run the tests, those of the store on every Redis found (ARGS="..." goes to pytest)'
	@echo 'make test-all  run every test that needs a server on every Redis found'
	@echo 'make faults    make faults happen and prove what holds under them, the long tests included'
	@echo 'make soak      random faults for SOAK_S=600 seconds, drawn from SEED; prints what held'
	@echo 'make check     all that CI checks: format, lint, types, import walls, tests'
	@echo 'make format    format the code and sort its imports'
	@echo 'make lint | types | imports    one of these checks alone'
	@echo 'make bench     measure speed and memory'
	@echo 'make bench-peers    measure the same work through eleven other systems, which it installs apart'
	@echo 'make outdated  list newer releases of the pinned packages, and known advisories'
	@echo 'make clean     remove what make made'

demo: $(local)
	@PATH="$(CURDIR)/$(bin):$$PATH" sh examples/demo.sh

test: $(dev)
	$(python) -m pytest -n auto $(ARGS)

test-all: $(dev)
	$(python) -m pytest -n auto --all-servers $(ARGS)

faults: $(dev)
	$(python) -m pytest -m '' -n 4 tests/faults $(ARGS)

soak: $(dev)
	$(python) -m tests.faults.soak

check: format-check lint types imports test

format: $(dev)
	$(bin)/ruff check --select I --fix --quiet
	$(bin)/ruff format

format-check: $(dev)
	$(bin)/ruff format --check

lint: $(dev)
	$(bin)/ruff check

types: $(dev)
	$(bin)/mypy

imports: $(dev)
	$(bin)/lint-imports --no-logo

bench: $(dev)
	$(python) -m tests.bench $(ARGS)

bench-peers: $(dev)
	$(python) -m tests.bench.peers $(ARGS)

outdated: $(dev)
	@sh .ci/outdated

clean:
	rm -rf .venv .bench-venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf $(foreach package,oneshot_queue workers tests,$(package)/__pycache__ $(package)/*/__pycache__)

$(local): requirements.txt pyproject.toml .ci/install $(again)
	@PYTHON='$(PYTHON)' sh .ci/install local '$(CURDIR)'

$(dev): requirements.txt pyproject.toml .ci/install $(again)
	@PYTHON='$(PYTHON)' sh .ci/install dev '$(CURDIR)'
