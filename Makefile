# Two commands do all the set-up: `make demo` runs the main job, `make test` runs the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
DEMO_HOME ?= $(CURDIR)/.bcd/$(if $(DATA),demo-data,demo)
LOCK := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11
INSTALL := $(UV) pip install --quiet --python $(BIN)/python

# Processes import the same modules: compiled for each anew, those of TensorFlow, MLflow and Prefect take 19 s more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test exactly-once faults deployed backends simulations docs check format lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(VENV)/.run ## set up .venv with what bcd needs to run

demo: $(VENV)/.run ## play a hospital end to end; DATA=PATH uses a real archive or folder of deliveries, PROTOCOL=NAME fixes their splits
	$(BIN)/bcd --home "$(DEMO_HOME)" demo $(if $(DATA),--data "$(DATA)") $(if $(PROTOCOL),--protocol $(PROTOCOL))

test: $(VENV)/.dev ## run all tests in up to four processes, a file at a time in each (ARGS=… goes to pytest)
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

exactly-once: $(VENV)/.dev ## fifty kills on each database, eight processes, every step on a full disk (about 8 min)
	BCD_TEST_FULL=1 $(BIN)/pytest --log-cli-level=INFO --durations=10 tests/exactly_once $(ARGS)

faults: $(VENV)/.dev ## kill each part of a hospital at every stage; fills docs/explanation/reliability.md, goes on where it stopped (hours)
	BCD_TEST_FULL=1 $(BIN)/pytest tests/faults $(ARGS)

deployed: $(VENV)/.dev ## all of tests/integration at full size: the compose file, two machines, a cluster that loses processes, a week with two retrainings (about 30 min)
	BCD_TEST_FULL=1 $(BIN)/pytest tests/integration tests/flows/test_mapping.py $(ARGS)

backends: $(VENV)/.dev ## the tests of networks and training on TensorFlow, then on JAX (about 5 min)
	KERAS_BACKEND=tensorflow $(BIN)/pytest tests/networks tests/training $(ARGS)
	BCD_TEST_FULL=1 KERAS_BACKEND=jax $(BIN)/pytest tests/networks tests/training $(ARGS)

simulations: $(VENV)/.dev ## simulate whether the statistics hold, and put the tables into docs/explanation/statistics.md
	$(BIN)/python benchmarks/simulations.py $(ARGS)

docs: $(VENV)/.docs ## build the documentation, with the Python interface, into site/; a broken link fails it
	$(BIN)/mkdocs build --strict

check: $(VENV)/.dev ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV) ## resolve the locks again from pyproject.toml
	$(LOCK) --extra dev pyproject.toml -o requirements-dev.lock
	$(LOCK) -c requirements-dev.lock pyproject.toml -o requirements.lock
	$(LOCK) -c requirements-dev.lock --extra docs pyproject.toml -o requirements-docs.lock
	$(LOCK) -c requirements-dev.lock --extra gpu pyproject.toml -o requirements-gpu.lock
	printf 'uv\nhatchling\neditables\n' | $(LOCK) -c requirements-dev.lock - -o requirements-build.lock

clean: ## remove the virtual environment (never BCD_HOME)
	rm -rf $(VENV)

# A stamp is newer than its lock exactly when the lock is installed, so a second call installs nothing.
$(UV): requirements-build.lock
	@test -n "$(PYTHON)" || { echo "No python3.11 found: install Python 3.11 or name one with PYTHON=PATH."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13: name one with PYTHON=PATH."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	touch $@

$(VENV)/.run: $(UV) requirements.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@

$(VENV)/.docs: $(VENV)/.dev requirements-docs.lock
	$(INSTALL) --require-hashes -r requirements-docs.lock
	touch $@
