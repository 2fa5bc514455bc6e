# A convenience over the plain commands of README.md. Needs Python >= 3.11, nothing else.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
READY_TO_TEST := $(VENV)/.ready-to-test
READY_TO_LINT := $(VENV)/.ready-to-lint

.PHONY: train test test-heavy test-faults lint bench clean
train: $(READY)
	$(RUN) train.py --config ohem.yaml

test: $(READY_TO_TEST)
	$(RUN) -m pytest

# What `make test` leaves out because it takes long.
test-heavy: $(READY_TO_TEST)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[test,notebook]"
	$(RUN) -m pytest -m heavy

# 150 runs killed and resumed, and what people and machines do to runs, in an order drawn at random; ten minutes on two
# cores. SEGKIT_FAULT_SEED=1 draws another; the hour: python -m tests.faults.machine --seconds 3600
test-faults: $(READY_TO_TEST)
	$(RUN) -m pytest -m faults

# Mistakes, layout, and types; what is asked for is in pyproject.toml.
lint: $(READY_TO_LINT)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyrefly check --python-interpreter-path $(RUN)

# Speed and memory beside plain PyTorch; half an hour on two idle CPU cores. See docs/performance.md.
bench: $(READY)
	$(RUN) scripts/bench/run_all.py --output runs/bench

# Installed once; again only when requirements.txt changes.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segkit needs Python 3.11 or newer, found " + sys.version.split()[0] + "; name another with: make PYTHON=python3.11")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

# The checkout itself, editable, so that the tests find the command `segkit`; again only when its metadata change.
$(READY_TO_TEST): $(READY) pyproject.toml setup.py
	$(RUN) -m pip install --disable-pip-version-check -e ".[test]"
	@touch $@

$(READY_TO_LINT): $(READY) requirements-lint.txt
	$(RUN) -m pip install --disable-pip-version-check -r requirements-lint.txt
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
