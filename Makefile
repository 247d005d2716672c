# The commands for people and CI. `make VENV=/elsewhere …` uses another virtual environment,
# `make DATA=/elsewhere …` another directory for the data of demo, smoke and dev.
.DEFAULT_GOAL := help
.PHONY: help setup demo smoke dev check fix test fuzz long bench faults clean

VENV ?= .venv
BIN := $(VENV)/bin
DATA := .data
NEW_ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
# A distribution's own Python has optimizations that other builds often lack; deliveries take a fifth less CPU with it.
# (Not on macOS: its Python is too old and asks for developer tools.)
SYSTEMS := $(if $(filter Linux,$(shell uname)),/usr/bin/python3)
PYTHON ?= $(shell for python in $(SYSTEMS) python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
REQUIREMENTS := $(shell cat requirements*.txt | cksum | tr -d ' ')
INSTALLED := $(VENV)/.installed-$(REQUIREMENTS)

help: ## lists these commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 10

setup: $(INSTALLED) ## creates the virtual environment; does nothing when it is up to date

$(INSTALLED):
	@test -x $(BIN)/python || { python="$(PYTHON)"; \
		"$${python:-false}" -c '$(NEW_ENOUGH)' || { echo "Recart Hooks needs Python 3.11 or newer, with venv." \
		"Name it if you have one: make setup PYTHON=/path/to/python3" >&2; exit 1; }; \
		echo "installing into $(VENV) with $$python, about a minute …"; "$$python" -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@rm -f $(VENV)/.installed-* && touch $@

demo: setup ## the whole system on this machine with a shop and two partners, until Ctrl-C
	@$(BIN)/python -m recart_hooks.demo --data-dir $(DATA)

smoke: setup ## the demo once, as a test: ends with "smoke: delivered N of N events"
	@$(BIN)/python -m recart_hooks.demo --data-dir $(DATA) --smoke

dev: setup ## the whole system without the shop, restarted when the code changes, logs on the terminal
	@$(BIN)/python -m recart_hooks.dev --data-dir $(DATA)

check: setup ## style, types, layers, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	DEBUG=1 $(BIN)/mypy recart_hooks partners delivery tests bench
	$(BIN)/lint-imports
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run
	DEBUG=1 $(BIN)/python manage.py check

fix: setup ## fixes style errors that ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup ## all tests but the long ones, against real servers
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile

fuzz: setup ## fuzzes the running API with schemathesis, three minutes
	$(BIN)/pytest -m long tests/flow/test_api_fuzz.py

long: setup ## every long test that `make test` leaves out
	$(BIN)/pytest -m long

faults: setup ## the long fault tests: kills, cuts, full disks
	$(BIN)/pytest -m "long or not long" tests/faults

bench: setup ## throughput, broker and isolation, then tables and a plot (bench.servers, bench.dashboard: separate)
	$(BIN)/python -m bench

clean: ## removes the virtual environment and all data
	rm -rf .venv .data static-root .mypy_cache .ruff_cache .pytest_cache .import_linter_cache htmlcov .coverage
