PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all fuzz lint bench

demo: .venv/installed
	$(BIN)/babyllama run demo

test: .venv/compared
	$(BIN)/python -m pytest -q -n 2

test-all: .venv/compared
	$(BIN)/python -m pytest -q -n 2 -m "slow or not slow"

# Many random inputs a test, for half an hour; docs/reliability.md says what came of it.
fuzz: .venv/installed
	FUZZ_INPUTS=$${FUZZ_INPUTS:-5000} $(BIN)/python -m pytest -q tests/fuzzing --hypothesis-show-statistics

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/compared
	$(BIN)/python benchmarks/loss.py
	$(BIN)/python benchmarks/training_step.py mini
	$(BIN)/python benchmarks/growth.py mini
	$(BIN)/python benchmarks/scoring.py

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "babyllama needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch .venv/installed

# What the tests compare scores with: 400 MB that running babyllama does not need.
.venv/compared: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[eval-parity]'
	touch .venv/compared
