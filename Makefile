# Every task for developers and CI, by name. Requires Linux, Python 3.11 or newer, make, sh and the coreutils. Uses uv if
# installed, otherwise pip.

# The interpreter. If it differs from that of .venv, .venv is created again: make test PYTHON=python3.13
PYTHON ?= python3
# Extra arguments for pytest: make test ARGS='tests/store -k claim'
ARGS ?=

bin := .venv/bin
python := $(bin)/python
local := .venv/installed-local
dev := .venv/installed-dev

interpreter := import os, sys; print(os.path.realpath(sys._base_executable))

# Both stamps name the folder they were created in: a virtual environment that was moved, or whose Python is gone, is
# created again.
ifneq ($(shell $(python) -c 'print(open("$(local)").read())' 2>/dev/null),$(CURDIR))
again := again
else ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -c '$(interpreter)' 2>/dev/null),$(shell $(python) -c '$(interpreter)' 2>/dev/null))
again := again
endif
endif

# Tests start thousands of processes. Without cached bytecode each would compile the library again.
unexport PYTHONDONTWRITEBYTECODE

# Two installs must not run at the same time.
.NOTPARALLEL:
.PHONY: help demo test thorough test-all faults soak check format format-check lint types imports bench bench-peers outdated clean again
.DEFAULT_GOAL := help

help:
	@echo 'make demo      run a command through a local broker, show its output and state, leave nothing running'
	@echo 'make test      run the fast tests; ARGS="..." is passed to pytest, PYTHON=... selects the interpreter'
	@echo 'make thorough  run the tests that make test leaves out because they take long'
	@echo 'make test-all  run every test on every Redis found, including the long tests'
	@echo 'make faults    run all fault-injection tests, including the long ones'
	@echo 'make soak      inject random faults for SOAK_S=600 seconds, chosen by SEED; print the invariants that held'
	@echo 'make check     run the checks: format, lint, types, import contracts, fast tests; CI adds make thorough'
	@echo 'make format    format the code and sort its imports'
	@echo 'make lint | types | imports    run one of these checks'
	@echo 'make bench     measure speed and memory'
	@echo 'make bench-peers    benchmark eleven other systems on the same work, in a separate environment'
	@echo 'make outdated  list newer releases of the pinned packages, and known advisories'
	@echo 'make clean     remove everything that make created'

demo: $(local)
	@PATH="$(CURDIR)/$(bin):$$PATH" sh examples/demo.sh

test: $(dev)
	$(python) -m pytest -n auto $(ARGS)

thorough: $(dev)
	$(python) -m pytest -m thorough -n 4 $(ARGS)

test-all: $(dev)
	$(python) -m pytest -m '' -n auto --all-servers $(ARGS)

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
