# Two commands matter: `make demo` shows what poller does, `make test` proves it. Both set up .venv by themselves.

PYTHON ?= python3
DURATION ?=
WORKERS ?= 3
BIN := .venv/bin
STAMP := .venv/installed
REPORT := .cache/tests.xml
# One more than two cores, since tests wait a lot. A file stays with one worker: what its tests share is made once. tests/support/worker_order.py says which file comes first.
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint crash chaos soak bench instructions docs dist image-locks environment clean
.SILENT:

help:
	echo "make demo       simulated phone systems, the daemon and Kafka, live; DURATION=30 ends after 30 seconds"
	echo "make test       everything: lint, types, import contracts, all tests, the real broker included; WORKERS=4 runs four at a time, not three"
	echo "make quick      the tests that take seconds"
	echo "make lint       lint, formatting, types, import contracts"
	echo "make crash      the program killed and disturbed at every step, by a model of time, disk and network; SEEDS=10000 FROM=1, or SEED=7 with its trace"
	echo "make chaos      real replicas, broker and database, and everything that can happen to them; MINUTES=30, SEED=7, FAULT='broker killed'"
	echo "make soak       does anything grow? two simulated weeks, then a real hour; DAYS=12 MINUTES=20"
	echo "make instructions  whether a record takes over 10 % more instructions than recorded; RECORD=1 records them; needs valgrind"
	echo "make bench      the benchmarks; PEERS=1 instead: poller beside others on the same feed"
	echo "make docs       generates docs/configuration.md, docs/events.md, docs/licences.md, the schemas, the dashboards and the chart's schema, README and golden renders"
	echo "make dist       wheel and sdist in dist/, built by what requirements-build.lock names"
	echo "make image-locks  pins what the image installs as requirements.lock has it; needs uv"
	echo "make clean      removes .venv and the caches in this folder"

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "poller needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	echo "Setting up .venv (once; about a minute)"
	$(BIN)/python -c '' 2>/dev/null || rm -rf .venv
	$(PYTHON) -m venv .venv || { echo "python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

environment: $(STAMP)

demo: $(STAMP)
	$(BIN)/poller demo $(if $(DURATION),--duration $(DURATION))

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The closing line of pytest is the last thing printed.
test: lint
	mkdir -p $(dir $(REPORT))
	$(PYTEST) --junitxml=$(REPORT)

quick: $(STAMP)
	$(PYTEST) -m "not kafka and not slow"

# Hashes that are the same each time, so that a seed is.
crash: $(STAMP)
	PYTHONHASHSEED=0 PYTHONPATH=.:tests/support $(BIN)/python tests/support/crash_main.py $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FROM),--from $(FROM)) --workers $(WORKERS)

chaos: $(STAMP)
	PYTHONUNBUFFERED=1 PYTHONPATH=.:tests/support $(BIN)/python tests/support/chaos_main.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(FAULT),--fault "$(FAULT)")

soak: $(STAMP)
	code=0; export PYTHONPATH=.:tests/support; \
	PYTHONHASHSEED=0 $(BIN)/python tests/support/soak_main.py $(if $(DAYS),--days $(DAYS)) || code=1; \
	$(BIN)/python tests/support/soak_hour.py $(if $(MINUTES),--minutes $(MINUTES)) || code=1; exit $$code

bench: $(STAMP)
	set -e; for file in $(if $(PEERS),benchmarks/compare.py,benchmarks/bench_*.py); do echo "== $$file"; $(BIN)/python $$file; done

# Counted, not timed: the same on a busy machine.
instructions: $(STAMP)
	PYTHONPATH=.:tests/support $(BIN)/python tests/support/instruction_check.py $(if $(RECORD),--record)

docs: $(STAMP)
	mkdir -p docs
	$(BIN)/python -m poller.reference > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md
	$(BIN)/python -m poller.contract
	$(BIN)/python tests/support/events_page.py > docs/events.md.new
	mv docs/events.md.new docs/events.md
	$(BIN)/python tests/support/licences_page.py
	$(BIN)/python tests/support/grafana_dashboards.py
	$(BIN)/python tests/support/chart_schema.py
	$(BIN)/python tests/support/chart_readme.py
	$(BIN)/python tests/support/helm_renders.py

dist:
	rm -rf dist .cache/build
	$(PYTHON) -m venv .cache/build
	.cache/build/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	.cache/build/bin/python -m hatchling build -d dist

# What the image installs: the versions of requirements.lock, without what only tests need. Needs uv.
UV ?= $(firstword $(wildcard $(BIN)/uv) uv)
LOCK = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-emit-find-links -c requirements.lock
image-locks: $(STAMP)
	$(LOCK) pyproject.toml -o requirements-image.lock
	echo hatchling | $(LOCK) - -o requirements-build.lock

clean:
	rm -rf .venv .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
