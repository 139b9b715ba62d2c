# Bare `make` lists the tasks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := src tests tools bench

.DEFAULT_GOAL := help
.PHONY: help up down install dev-install check format-check lint types imports test unit sim fuzz fix bench clean

help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

up: install compile ## Start a cluster on this machine (root); installs what is missing first
	@$(BIN)/kutter up

# As pip does with what it installs: an environment may forbid writing bytecode while importing,
# and without it a start takes twice as long. Only what changed is compiled.
.PHONY: compile
compile:
	@$(BIN)/python -m compileall -q src/kutter

down: ## Stop the cluster; state is kept (kutter down --purge forgets it)
	@$(BIN)/kutter down

install: $(VENV)/.installed ## Distribution packages and the virtual environment for running
$(VENV)/.installed: pyproject.toml tools/install.sh
	@tools/install.sh run
	@touch $@; chown --reference=. $@ 2>/dev/null || true

dev-install: $(VENV)/.dev ## ... and what tests and checks need
$(VENV)/.dev: pyproject.toml tools/install.sh
	@tools/install.sh test
	@touch $@ $(VENV)/.installed; chown --reference=. $@ $(VENV)/.installed 2>/dev/null || true

check: dev-install format-check lint types imports ## Formatter, linter, types, import direction, house rules
	@$(BIN)/python -m pytest -q tests/house

format-check:
	@$(BIN)/ruff format --check $(wildcard $(PACKAGES))

lint:
	@$(BIN)/ruff check $(wildcard $(PACKAGES))

types:
	@$(BIN)/mypy

imports:
	@$(BIN)/lint-imports

test: dev-install compile ## Run every test (root for those that need the kernel)
	@tools/run-tests.sh

unit: dev-install ## Run the tests that need no root
	@$(BIN)/python -m pytest -q -m "not root and not e2e"

sim: dev-install ## Crash the store and the server many times (SEEDS=200, or SEED=x to repeat one)
	@SEEDS=$(or $(SEEDS),50) SEED=$(SEED) $(BIN)/python -m pytest -q -m "" tests/sim

fuzz: dev-install ## Send odd requests to a cluster (MINUTES=60, or SEED=x to repeat)
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))

fix: dev-install ## Repair what can be repaired by itself
	@$(BIN)/ruff format $(wildcard $(PACKAGES))
	@$(BIN)/ruff check --fix $(wildcard $(PACKAGES))

bench: dev-install compile ## Measure (WHAT=api to choose, QUICK=1 for less of it); figures go to build/bench.json too
	@$(BIN)/python -m bench $(WHAT) $(if $(QUICK),--quick) --json build/bench.json

clean: ## Remove what was built here
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist src/*.egg-info
