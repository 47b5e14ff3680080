# `make demo` and `make test` need Python 3.11, pip and make; they set up the rest in $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests run in so many processes; JOBS=0 is this one, for a debugger. Each gets tests that lie
# beside each other, so that what they share is made once, and takes of the other's when it is done.
JOBS ?= 2
TORCH ?= torch==2.13.0+cpu
# They go together, and not with the build above.
VISION ?= torchvision==0.29.1 torch==2.14.1
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Some machines forbid it; the tests start hundreds of processes that would compile all anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo quick test slow frameworks test-all lint types format reference bench chaos mutants scale judge distribution surgery ci clean

help: ## Show the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	# The build for CPUs, where it is offered: the tests' range alone would fetch gigabytes of CUDA.
	$(BIN)/python -m pip install --quiet --no-compile '$(TORCH)' && more=,dev-torch \
		|| echo "no $(TORCH) here: its tests are skipped, and those of what builds on it"; \
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[dev$$more]"
	@touch $@

demo: $(READY) ## Search a Keras model with ASHA on two workers of this machine.
	$(BIN)/dotrain run configs/digits-asha.yaml

quick: $(READY) ## Run the tests of the rooms that decide; they answer in a minute.
	$(PYTEST) -m "not slow" @tests/quick.txt

test: $(READY) ## Run the tests that a change needs.
	$(PYTEST) -m "not slow"

slow: $(READY) ## Run the tests that `make test` leaves out: whole trainings, killed processes.
	$(PYTEST) -m slow

frameworks: $(READY) ## Run what frameworks are promised: templates, exact groups, continued trainings, callbacks, surgery.
	$(PYTEST) tests/frameworks tests/distribution tests/test_init.py tests/recipes

test-all: test slow ## Run all tests.

lint: $(READY) ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types strictly.
	$(BIN)/mypy

format: $(READY) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(READY) ## Bring the tables of docs/config.md up to date.
	$(BIN)/python -m dotrain.config.reference docs/config.md

bench: $(READY) ## Measure the overhead, each row beside its reference in the same run.
	$(BIN)/python benchmarks/overhead.py

chaos: $(READY) ## Kill drivers and workers at random, resume, and compare.
	$(BIN)/python benchmarks/chaos.py

mutants: $(READY) ## Break single lines of the rooms that decide, and look which breaks no quick test notices.
	$(BIN)/python benchmarks/mutants.py

scale: $(READY) ## Measure how costs grow to 100,000 trials.
	$(BIN)/python benchmarks/scale.py

judge: $(READY) ## Judge the searchers, beside optuna's own: on tables, and with DATA=DIR on LCBench too (docs/searchers.md).
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[judge]'
	$(BIN)/python benchmarks/judge.py $(if $(DATA),--data $(DATA)) --page judge.html

distribution: $(READY) ## Measure training by two workers, against ranks started by hand in the same run.
	$(BIN)/python benchmarks/distribution.py
	$(BIN)/python benchmarks/distribution_torch.py

surgery: ## Leave layers out of torchvision's networks, in an environment of its own, which takes gigabytes.
	$(PYTHON) -m venv $(VENV)/vision
	$(VENV)/vision/bin/python -m pip install --quiet --no-compile $(VISION) --editable .
	$(VENV)/vision/bin/python benchmarks/surgery.py

ci: lint types test-all ## What continuous integration runs.

clean: ## Remove the environment.
	rm -rf $(VENV)
