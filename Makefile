# Everything a fresh machine needs is Python 3.11, make and gcc (for packages without a wheel).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= results/cover-letter
BASELINE := tests/data/baseline

.PHONY: demo test test-kvm test-cron chaos baseline drift lint bench clean

demo: $(VENV)/installed
	$(BIN)/splitsweep run examples/cover_letter.toml --results $(RESULTS)
	$(BIN)/splitsweep table $(RESULTS) --published

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 4 --dist worksteal

# Minutes, with QEMU and Debian's archive: the kernel's own test, in an emulated machine.
test-kvm: $(VENV)/installed-test
	$(BIN)/python -m pytest -m kvm tests/kvm

# Two minutes, with Debian's package cron, as root: a real cron daemon starts a job.
test-cron: $(VENV)/installed-test
	$(BIN)/python -m pytest -m cron tests/sweep/schedule

# A quarter of an hour, best as root with iproute2: processes are killed and hosts cut off while a sweep runs over them.
chaos: $(VENV)/installed-test
	$(BIN)/python -m pytest -m chaos tests/chaos tests/cluster tests/core/sim tests/sweep/dataset tests/sweep/test_broken_cluster.py

# After a change that is meant to change predictions: commit what this leaves, with the reason.
baseline: $(VENV)/installed
	$(BIN)/splitsweep run examples/cover_letter.toml --results $(BASELINE) --fresh --address inline
	$(BIN)/splitsweep compact $(BASELINE)
	rm -rf $(BASELINE)/.lock $(BASELINE)/specs

# Which of the published sweep's predictions differ from the committed ones, and why.
drift: $(VENV)/installed
	$(BIN)/splitsweep run examples/cover_letter.toml --results $(RESULTS)
	$(BIN)/splitsweep compare $(BASELINE) $(RESULTS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $(VENV)/installed $@

$(VENV)/installed-bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $(VENV)/installed $@
