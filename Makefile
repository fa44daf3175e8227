# Everything here is safe to repeat. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
ARGS ?=
NAME ?=
CODE := core tenants clients jobs scheduling aggregation gateway frontend propius_site sdk/propius demo

.PHONY: help setup setup-test lock up demo test lint audit sdk-pythons programs-on bench clean

help: ## list what make can do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | \
	  while IFS=$$'\t' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: ## install the runtime packages into .venv
	@.ci/setup requirements.txt

setup-test: ## install the test and lint tools too
	@.ci/setup requirements.txt requirements-dev.txt

lock: setup ## write the locks anew after a change of requirements (ARGS=--upgrade for all of it)
	@.ci/lock $(ARGS)

up: setup ## run the platform until Ctrl-C
	@exec $(PYTHON) manage.py up $(ARGS)

demo: setup ## two tenants train three models on 40 devices (ARGS=--exit ends when they are done)
	@exec $(PYTHON) manage.py demo $(ARGS)

test: setup-test ## run every test (ARGS="tests/unit -k name" narrows it down)
	@exec $(PYTHON) -m pytest $(or $(ARGS),-n 2)

lint: setup-test ## ruff, mypy, import-linter, bandit
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/bandit -q -c pyproject.toml -r $(CODE) manage.py

sdk-pythons: setup ## try the SDK on each Python from 3.11 to 3.14 that is here (ARGS=3.13: on that one)
	@.ci/sdk-pythons $(ARGS)

programs-on: setup-test ## run and export programs with another torch: make programs-on TORCH=2.10.0
	@.ci/programs-on $(TORCH)

audit: setup ## look every locked package up among known vulnerabilities (asks pypi.org)
	@.ci/audit

bench: setup ## run one benchmark: make bench NAME=bind
	@test -n "$(NAME)" || { echo "Which one? make bench NAME=... of:"; \
	  ls benchmarks/*.py 2>/dev/null | sed -E 's|.*/(.*)\.py|  \1|' | grep -v __init__; exit 2; }
	@exec $(PYTHON) -m benchmarks.$(NAME) $(ARGS)

clean: ## delete .venv, caches and the local platform's data (stop it first)
	@if [ -x $(PYTHON) ] && [ -d .propius ]; then $(PYTHON) manage.py forget; fi
	rm -rf .propius $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
