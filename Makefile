# All targets but `lock`, `pictures`, `docs` and `wheel` write only to .venv, .local, mutants and the caches of Python and its tools.
# `make` without a target lists them. GNU make 3.81 (macOS) and a POSIX shell are enough. Besides Python the recipes use only cp, diff, mkdir, mv
# and rm, and test-services npm.
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced-with-lock

# With cached byte code Airflow starts in half the time.
unexport PYTHONDONTWRITEBYTECODE

# `make up PORT_OFFSET=1000` moves all ports of the local stack.
ifdef PORT_OFFSET
export SKILL_BATCH_PORT_OFFSET := $(PORT_OFFSET)
endif

# Use the certificates of the system, like pip, because company networks have their own certificate authority.
UV := $(BIN)/uv --system-certs

FIND_PYTHON = command -v $(PYTHON) >/dev/null || { \
    echo "There is no $(PYTHON): install Python, or name another interpreter, for example: make PYTHON=python3.12 demo" >&2; exit 1; }

.PHONY: help
help: ## list the targets
	@$(FIND_PYTHON)
	@$(PYTHON) -c 'import re, sys; text = open(sys.argv[1], encoding="utf-8").read(); \
	    [print(name.ljust(29), says) for name, says in re.findall("^([a-z -]+):.*## (.*)", text, re.M)]' $(firstword $(MAKEFILE_LIST))

.PHONY: venv
venv: $(STAMP) ## create the environment of the lock file in .venv
	@$(BIN)/python -c 'import os, sys; print("» .venv has Python", "%d.%d.%d" % sys.version_info[:3], os.path.realpath(sys.executable))'

$(STAMP): requirements.lock
	@$(FIND_PYTHON)
	@$(PYTHON) local_stack/bootstrap.py $(VENV)

# Each package has one version for all Pythons, with markers where needed. Production has the same versions as the tests.
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
PRODUCTION := requirements.txt requirements-airflow.txt

.PHONY: lock
lock: $(STAMP) ## update the lock files from requirements*.txt
	$(COMPILE) --upgrade requirements-dev.txt --output-file requirements.lock
	$(COMPILE) --upgrade --constraints requirements.lock $(PRODUCTION) --output-file requirements-production.lock
	$(COMPILE) --upgrade --constraints requirements.lock deploy/requirements.txt --output-file deploy/requirements.lock
	$(COMPILE) --upgrade --constraints requirements.lock requirements-supply.txt --output-file requirements-supply.lock

.PHONY: wheel
wheel: docs ## build the wheel of production with the help of the board into .local/dist
	@rm -f .local/dist/*.whl
	@$(BIN)/python -m hatchling build --target wheel --directory .local/dist

SUPPLY = $(UV) venv --quiet --clear --python $(BIN)/python .local/supply \
    && $(UV) pip sync --quiet --python .local/supply --require-hashes requirements-supply.lock
WITH_SUPPLY = PYTHONPATH=$$(echo $(CURDIR)/.local/supply/lib/python*/site-packages)

.PHONY: sbom
sbom: $(STAMP) ## list the packages of production (CycloneDX 1.6, JSON) in .local/dist, without and with those of deploy/
	@mkdir -p .local/dist
	@$(SUPPLY)
	@$(call LIST_PACKAGES,requirements-production.lock,sbom)
	@$(call LIST_PACKAGES,deploy/requirements.lock,sbom-deploy)

LIST_PACKAGES = $(UV) venv --quiet --clear --python $(BIN)/python .local/production \
    && $(UV) pip sync --quiet --python .local/production --require-hashes $(1) \
    && .local/supply/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-file .local/$(2).cdx.json .local/production \
    && mv .local/$(2).cdx.json .local/dist/$(2).cdx.json

.PHONY: audit
audit: $(STAMP) ## look up known vulnerabilities of the packages of production (needs a network)
	@$(SUPPLY)
	@.local/supply/bin/pip-audit --vulnerability-service osv --disable-pip --require-hashes --requirement deploy/requirements.lock

.PHONY: demo
demo: $(STAMP) ## run the batches on demo data, and show the results on a page
	@$(BIN)/python -m local_stack demo

.PHONY: up
up: $(STAMP) ## start Airflow's UI on http://localhost:8080 (Ctrl-C stops it); PORT_OFFSET=1000 moves all ports
	@$(BIN)/python -m local_stack up

.PHONY: down
down: $(STAMP) ## stop the processes of `make up` and the database
	@$(BIN)/python -m local_stack down

.PHONY: env
env: $(STAMP) ## print exports for a shell: eval "$(make -s env)"
	@$(BIN)/python -m local_stack env

.PHONY: env-own
env-own: $(STAMP) ## print exports for a shell on your own database, SKILL_BATCH_ADMIN_DSN (docs/try.md): eval "$(make -s env-own)"
	@$(BIN)/python -m local_stack env-own

.PHONY: psql
psql: $(STAMP) ## open the skill report database
	@$(BIN)/python -m local_stack psql

.PHONY: db-start db-stop db-reset
db-start db-stop db-reset: $(STAMP) ## start, stop or delete the embedded database
	@$(BIN)/python -m local_stack $@

# One more process than cores, because many tests wait for Airflow, sockets or locks.
PYTEST := $(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c 'import os; print(min(os.cpu_count(), 4) + 1)') --dist worksteal

# Like tests/selection.py.
RULES := tests/batches tests/billing tests/core tests/messaging tests/operations

TEST_ALL := $(PYTEST) -p tests.cpu_seconds -m "not long" --hypothesis-profile thorough

.PHONY: test-rules test test-all
test-rules: $(STAMP) ## run the tests of rules, which need neither the database nor Airflow (less than a minute)
	@$(PYTEST) -m "rule and not slow" $(RULES)

test: $(STAMP) ## run all tests but the slow ones of tests/slow_tests.txt and the long ones (five minutes)
	@$(PYTEST) -m "not slow and not long"

test-all: $(STAMP) ## run all tests but the long ones, as CI does (ten minutes)
	@$(TEST_ALL)

LONG := $(BIN)/python -m pytest --ignore tests/messaging/test_kills.py --ignore tests/cluster --ignore tests/packaging \
    --ignore tests/servers --ignore tests/mail_servers --ignore tests/services --ignore tests/recipes --ignore tests/contracts -m

# The tests that start Airflow mostly wait, so the others run beside them.
.PHONY: test-long test-long-airflow test-long-others
test-long: $(STAMP) ## run the tests that take minutes: deadlines, outages of Airflow
	@$(MAKE) -j2 test-long-airflow test-long-others

test-long-airflow: $(STAMP)
	@$(LONG) "long and exclusive and not browser"

test-long-others: $(STAMP)
	@$(LONG) "long and not exclusive and not browser"

.PHONY: test-recipes
test-recipes: $(STAMP) ## follow docs/develop/recipes.md in a copy, then check and test the copy (three quarters of an hour)
	@$(BIN)/python -m pytest tests/recipes

.PHONY: test-kills
test-kills: $(STAMP) ## kill a sending worker at each of its statements, and every run at each commit, file and connection (a quarter of an hour)
	@$(BIN)/python -m pytest -m long tests/messaging/test_kills.py tests/contracts

.PHONY: layouts
layouts: $(STAMP) ## test what platforms install: the packages of production with the folders, with include in dags, with the wheel
	@$(BIN)/python -m pytest -m long tests/packaging/test_layouts.py

.PHONY: matrix
matrix: $(STAMP) ## test all layouts and batches on each installed Python, Airflow and PostgreSQL (half an hour)
	@$(BIN)/python -m tests.packaging.matrix $(CELLS)

.PHONY: test-celery
test-celery: $(STAMP) ## run all batches on two Celery workers (needs Debian's package redis-server)
	@$(BIN)/python -m pytest -m long tests/cluster

.PHONY: test-servers
test-servers: $(STAMP) ## test backups, all batches and poolers on Debian's servers (needs its packages postgresql-15, postgresql-17, pgbouncer, locales, zstd and jq)
	@$(BIN)/python -m pytest -m long tests/servers

.PHONY: test-mail
test-mail: $(STAMP) ## test delivery through real mail servers, as root (needs Debian's packages postfix, dovecot-imapd, dovecot-lmtpd, dovecot-sieve, postgrey, opendkim and spamassassin)
	@$(BIN)/python -m pytest -m long tests/mail_servers

# Microsoft's emulator of Azure's storage. Later versions need Node.js 22; Debian 13 has 20.
AZURITE := azurite@3.35.0

.PHONY: test-services
test-services: $(STAMP) ## test our clients with servers and clients of others: object stores, logins by token, chats (needs npm, and as root Debian's packages dovecot-imapd, dovecot-lmtpd and dovecot-sieve)
	@$(SUPPLY)
	@if command -v npm >/dev/null; then npm install --silent --no-save --cache .local/npm/cache --prefix .local/npm $(AZURITE); fi
	@$(WITH_SUPPLY) $(BIN)/python -m pytest -m long -rs tests/services

# `make chaos SECONDS=600 SEED=7` runs trials for ten minutes; `make chaos SEED=7 TRIAL=12` repeats one of them. BATCH and KILL
# select the trials: `make chaos BATCH="BATCH-001 BATCH-002" KILL=backend`.
.PHONY: chaos
chaos: SECONDS ?= 600
chaos: SEED ?= 1
chaos: $(STAMP) ## kill parts of Airflow and PostgreSQL at random moments during all batches, and compare the end states
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED) $(if $(TRIAL),--trial $(TRIAL)) \
		$(BATCH:%=--batch %) $(KILL:%=--kill %)

.PHONY: test-browser
test-browser: $(STAMP) ## test the operators' board in Chromium (needs Debian's package chromium); screenshots in .local/browser
	@$(BIN)/python -m pytest -m browser tests/browser

.PHONY: pictures
pictures: $(STAMP) ## make the pictures of docs/images from today's demo (needs Debian's package chromium)
	@$(BIN)/python -m tests.browser.pictures

# It keeps what it found in mutants/ and goes on from there after an interrupt.
MUTMUT = $(WITH_SUPPLY) $(BIN)/python -m mutmut

.PHONY: mutants
mutants: $(STAMP) ## change the rules of money and sending one by one, and list the changes that no test notices (hours); MUTANTS="*.sharding.*"
	@$(SUPPLY)
	@$(MUTMUT) run --max-children 2 $(MUTANTS)
	@$(MUTMUT) results

.PHONY: test-durations
test-durations: $(STAMP) ## run `make test-all` and list its CPU seconds by folder beside the budgets of `make test`, and the slowest tests
	@$(TEST_ALL) --by-folder

.PHONY: docs
docs: $(STAMP) ## build the site of docs/ into .local/site, and copy it into the board as its help; a broken link fails
	@$(SITE)
	@rm -rf $(HELP)
	@cp -R .local/site $(HELP)
	@echo "open .local/site/index.html"

SITE = PYTHONPATH=.:plugins $(BIN)/python -m tests.docs.site
HELP := plugins/skill_batch/board/site

.PHONY: lint lint-python lint-types lint-sql lint-text
lint: lint-python lint-types lint-sql lint-text ## check format, lint, types, import rules, SQL, Dockerfiles, text, workflows (`make -j2 lint` is faster)

lint-python: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/deptry --config deptry.toml include plugins dags
	PYTHONPATH=.:plugins $(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile deploy/helm/Dockerfile

lint-types: $(STAMP)
	$(BIN)/mypy

lint-sql: $(STAMP)
	$(BIN)/sqlfluff lint --processes 1 include plugins local_stack benchmarks

# Check spelling, links with their anchors, and GitHub's files. No check needs a network.
lint-text: $(STAMP)
	$(BIN)/typos
	$(BIN)/python -m tests.docs.words
	$(SITE)
	$(BIN)/lychee --offline --include-fragments --no-progress --quiet '*.md' '.github/**/*.md' '.local/site/**/*.html'
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/change.yml
	$(BIN)/zizmor --offline --quiet .github

.PHONY: lock-check
lock-check: $(STAMP) ## fail if the lock files do not match requirements*.txt
	@cp requirements.lock requirements-production.lock $(VENV)/
	@$(COMPILE) requirements-dev.txt --output-file $(VENV)/requirements.lock
	@$(COMPILE) --constraints requirements.lock $(PRODUCTION) --output-file $(VENV)/requirements-production.lock
	@cp deploy/requirements.lock $(VENV)/requirements-deploy.lock
	@$(COMPILE) --constraints requirements.lock deploy/requirements.txt --output-file $(VENV)/requirements-deploy.lock
	@cp requirements-supply.lock $(VENV)/
	@$(COMPILE) --constraints requirements.lock requirements-supply.txt --output-file $(VENV)/requirements-supply.lock
	@diff -u requirements.lock $(VENV)/requirements.lock
	@diff -u requirements-production.lock $(VENV)/requirements-production.lock
	@diff -u deploy/requirements.lock $(VENV)/requirements-deploy.lock
	@diff -u requirements-supply.lock $(VENV)/requirements-supply.lock

# `make constraints AIRFLOW=3.3.1 FOR_PYTHON=3.12`: what pip does with requirements.txt on a platform with this list of versions.
CONSTRAINTS = https://raw.githubusercontent.com/apache/airflow/constraints-$(AIRFLOW)/constraints-$(FOR_PYTHON).txt

.PHONY: constraints
constraints: AIRFLOW ?= 3.3.1
constraints: FOR_PYTHON ?= 3.12
constraints: $(STAMP) ## resolve requirements.txt under the versions that the Airflow project pins (needs a network)
	@mkdir -p .local
	@echo "apache-airflow==$(AIRFLOW)" | $(UV) pip compile --quiet --python-version $(FOR_PYTHON) --constraints $(CONSTRAINTS) \
	    --output-file .local/constraints.txt requirements.txt -

.PHONY: bench
bench: $(STAMP) ## measure each batch beside its floor, throttled services, payments, backups, one large tenant; NAME="batches people" SIZE=small
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks $(or $(NAME),speed) --size $(or $(SIZE),full)

.PHONY: bench-scale
bench-scale: $(STAMP) ## measure the effect of growth: history, tenants, one large tenant, years, 20 workers, 100,000 tenants through Airflow, the board
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks scale --size $(or $(SIZE),full)

.PHONY: bench-shocks
bench-shocks: $(STAMP) ## measure what a bad day brings; needs root (small file systems) and Debian's package faketime; NAME="clock deploy" SIZE=small
	@PYTHONPATH=.:plugins $(BIN)/python -m benchmarks $(or $(NAME),shocks) --size $(or $(SIZE),full)

.PHONY: clean
clean: ## delete .venv, .local, mutants and the help of the board (stop the database first)
	rm -rf $(VENV) .local mutants $(HELP)
