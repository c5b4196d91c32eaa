# Two commands: `make demo` and `make test`. Each sets up what it needs (scripts/setup says how) and is quick the second time.
#
#   make test RESTIC=/path/to/restic     tests with another restic than the system's
#   make demo PYTHON=/path/to/python3    with another Python than the first that fits
#   make test PYTEST="-k vaults -x"      only some of the tests

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check bench lock demo-clean clean

python := .venv/bin/python
# Half of the tests' time is waiting: for servers, for moments that come.
workers := $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) * 3 / 2 )))
compile = uv pip compile --quiet --universal --python-version 3.11 --group build --generate-hashes --no-emit-index-url \
          --no-header --no-annotate $(UPGRADE)

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 20

demo: ## back up, copy, prove and report the data of two tenants, in var/demo (two minutes)
	@scripts/setup demo
	@$(python) main.py demo

test: check ## lint, types, contracts and all tests, with the real tools (ten minutes)
	@$(python) -m pytest --numprocesses $(workers) --dist worksteal $(PYTEST)

check: ## lint, types and contracts only
	@scripts/setup test
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@$(python) -m mypy
	@.venv/bin/lint-imports --no-logo

bench: ## how fast, as ratios against the tools one would use instead
	@scripts/setup test
	@$(python) -m bench

lock: ## make the lock files again after a change in pyproject.toml; UPGRADE=--upgrade takes newer versions
	@command -v uv >/dev/null || { echo "make lock needs uv: install the package 'uv' with pip first." >&2; exit 1; }
	@$(compile) --output-file requirements.lock pyproject.toml
	@$(compile) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

demo-clean: ## remove what the demo made
	@rm -rf var/demo

clean: ## remove what the set-up made; var/ stays
	@rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
