# The two commands, `make demo` and `make test`. Each makes what it needs, from nothing.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint chaos model bench-hit bench-last-used bench-revocation bench-import screenshots clean

help:
	@echo "make demo           see the whole product work, on real parts"
	@echo "make demo SERVE=1   the same, and stay up to be tried with curl"
	@echo "make test           lint, types and all tests, on a real Redis and a real PostgreSQL"
	@echo "make coverage       all tests once more, and which lines and branches they reach"
	@echo "make chaos          revoked keys under every fault, many times (ROUNDS=10, a quarter of an hour)"
	@echo "make model          every order of steps and faults in the model of the protocol (some minutes)"
	@echo "make bench-hit      what a cache hit adds to a request"
	@echo "make bench-last-used  what noting a key's last use adds to a cache hit"
	@echo "make bench-revocation   how long a revoked key is still accepted"
	@echo "make bench-import   what an import of a million keys costs (some minutes)"
	@echo "make screenshots    the pictures of the console in docs/images, anew"

.venv/made:
	@test -n "$(PYTHON)" || { echo "keymw needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || $(PYTHON) -m virtualenv .venv || { \
		echo "This Python cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)" >&2; \
		rm -rf .venv; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

.venv/demo: .venv/made pyproject.toml
	@echo "Installing what the demo needs ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[redis,cli]" --group demo
	@touch $@

.venv/test: .venv/made pyproject.toml
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[redis,postgres,cli,console]" --group test
	@touch $@ .venv/demo

demo: .venv/demo
	@$(BIN)/python examples/demo.py $(if $(SERVE),--serve)

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	@sh .ci/servers
	$(BIN)/python -m pytest

coverage: .venv/test
	@sh .ci/servers
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest --cov --cov-report=term

chaos: .venv/test
	@sh .ci/servers
	@PYTHONPATH=tests $(BIN)/python -m chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(JSON),--json $(JSON))

model: .venv/test
	@PYTHONPATH=tests $(BIN)/python -m model

bench-hit: .venv/test
	$(BIN)/python benchmarks/hit.py

bench-last-used: .venv/test
	$(BIN)/python benchmarks/last_used.py

bench-revocation: .venv/test
	@sh .ci/servers
	$(BIN)/python benchmarks/revocation.py

bench-import: .venv/test
	@sh .ci/servers
	$(BIN)/python benchmarks/importing.py
	$(BIN)/python benchmarks/importing.py --sqlite

screenshots: .venv/test
	@sh .ci/servers
	@PYTHONPATH=tests $(BIN)/python -m console.screenshots

clean:
	rm -rf .venv .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
