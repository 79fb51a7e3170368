# All that these targets write lies in .venv and .local. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced-with-lock

# Byte code halves Airflow's start.
unexport PYTHONDONTWRITEBYTECODE

# The machine's certificates, as pip uses them: company networks have their own authority.
UV := $(BIN)/uv --system-certs

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 30

.PHONY: venv
venv: $(STAMP) ## the environment of the lock file, in .venv

# uv comes at the version that the lock file pins, checked by its hash, into a bootstrap environment; then it syncs the rest.
$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    || { echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	@echo "» environment" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@sed -n '/^uv==/,/^[^ ]*==/{/^uv==/p;/^    --hash/p}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock
	@VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	@touch $@

.PHONY: lock
lock: $(STAMP) ## renew requirements.lock from requirements*.txt
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	    requirements-dev.txt --output-file requirements.lock

.PHONY: demo
demo: $(STAMP) ## run the batches on demo data and print what came out
	@$(BIN)/python -m local_stack demo

.PHONY: up
up: $(STAMP) ## Airflow's UI on http://localhost:8080 (Ctrl-C ends it)
	@$(BIN)/python -m local_stack up

.PHONY: down
down: $(STAMP) ## end what `make up` runs, and the database
	@$(BIN)/python -m local_stack down

.PHONY: env
env: $(STAMP) ## exports for a shell: eval "$(make -s env)"
	@$(BIN)/python -m local_stack env

.PHONY: psql
psql: $(STAMP) ## open the skill report database
	@$(BIN)/python -m local_stack psql

.PHONY: db-start db-stop db-reset
db-start db-stop db-reset: $(STAMP) ## start, stop or delete the embedded database
	@$(BIN)/python -m local_stack $@

# One process more than cores: the exclusive tests mostly wait for Airflow.
PYTEST := $(BIN)/python -m pytest --numprocesses $$(( $$($(BIN)/python -c 'import os; print(min(os.cpu_count(), 4))') + 1 )) --dist worksteal

.PHONY: test
test: $(STAMP) ## all tests but the long ones, in several processes
	@$(PYTEST) -m "not long"

.PHONY: test-long
test-long: $(STAMP) ## the tests that take minutes: deadlines, outages of Airflow itself
	@$(BIN)/python -m pytest -m "long and not browser" --ignore tests/messaging/test_kills.py

.PHONY: test-kills
test-kills: $(STAMP) ## kill a sending worker at each of its statements (about ten minutes)
	@$(BIN)/python -m pytest -m long tests/messaging/test_kills.py

.PHONY: test-browser
test-browser: $(STAMP) ## drive the operators' board in Chromium (Debian's package chromium); screenshots in .local/browser
	@$(BIN)/python -m pytest -m browser tests/browser

.PHONY: test-durations
test-durations: $(STAMP) ## as `make test`, and list the slowest tests
	@$(PYTEST) -m "not long" --durations 40

.PHONY: lint
lint: $(STAMP) ## format, lint, types, import rules, SQL, Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=.:plugins $(BIN)/lint-imports --no-cache
	$(BIN)/sqlfluff lint --processes 1 include plugins local_stack benchmarks
	$(BIN)/hadolint Dockerfile

.PHONY: lock-check
lock-check: $(STAMP) ## fail if requirements.lock is not what requirements*.txt say
	@cp requirements.lock $(VENV)/requirements.lock.expected
	@$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	    requirements-dev.txt --output-file $(VENV)/requirements.lock.expected
	@diff -u requirements.lock $(VENV)/requirements.lock.expected

.PHONY: bench
bench: $(STAMP) ## measure the batches at scale, and the import of the DAG files
	@$(BIN)/python -m benchmarks.dag_import
	@$(BIN)/python -m benchmarks.usage
	@$(BIN)/python -m benchmarks.billing
	@$(BIN)/python -m benchmarks.statistics
	@$(BIN)/python -m benchmarks.monthly_reports
	@$(BIN)/python -m benchmarks.inactive_tenants
	@$(BIN)/python -m benchmarks.settings_sync
	@$(BIN)/python -m benchmarks.tenant_monitoring
	@$(BIN)/python -m benchmarks.notifications
	@$(BIN)/python -m benchmarks.throttling
	@$(BIN)/python -m benchmarks.external_sync
	@$(BIN)/python -m benchmarks.log_cleanup
	@$(BIN)/python -m benchmarks.backup
	@$(BIN)/python -m benchmarks.log_deletion
	@$(BIN)/python -m benchmarks.host_indexes
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks.board

.PHONY: bench-scale
bench-scale: $(STAMP) ## measure the growth: history, tenants, one large tenant, years, 20 workers, 100,000 tenants through Airflow
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks.scale
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks.years
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks.workers
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks.airflow_scale

.PHONY: clean
clean: ## delete .venv and .local (stop the database first)
	rm -rf $(VENV) .local
