# The commands a person types. `make demo` and `make test` need a Rust toolchain, a C compiler, make and Python 3.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
DEMO := $(CURDIR)/.demo
DEMO_DATA ?= $(DEMO)/data
DEMO_KEEP ?= 1
# Where property tests are; the tidy test compares.
PROPERTIES := -p trialog-tuning -p trialog-eventlog -p trialog-documents -p trialog-sweeps -p trialog-runs -p trialog-compute
PYTHON ?= python3

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: tools
tools:
	@command -v cargo >/dev/null || { echo "missing: a Rust toolchain. Install it: apt-get install rustup && rustup default stable"; exit 1; }
	@command -v cc >/dev/null || { echo "missing: a C compiler. Install it: apt-get install build-essential"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "missing: Python 3. Install it: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv. Install it: apt-get install python3-venv"; exit 1; }

.PHONY: build
build: tools ## the binary, unoptimised
	cargo build -p trialog

$(DEMO)/venv/ready: examples/digits/requirements.txt shared/testkit/requirements.txt | tools
	mkdir -p $(DEMO)
	$(PYTHON) -m venv $(DEMO)/venv
	$(DEMO)/venv/bin/python -m pip install --quiet --disable-pip-version-check -r examples/digits/requirements.txt -r shared/testkit/requirements.txt
	touch $@

.PHONY: demo
demo: build $(DEMO)/venv/ready ## a sweep from submission to served answers (DEMO_KEEP=0 ends by itself)
	rm -rf $(DEMO_DATA)
	TRIALOG=$(TARGET)/debug/trialog DEMO_DATA=$(DEMO_DATA) DEMO_KEEP=$(DEMO_KEEP) $(DEMO)/venv/bin/python examples/digits/demo.py

.PHONY: test
test: tools lint build $(DEMO)/venv/ready ## everything that must hold
	TRIALOG=$(TARGET)/debug/trialog TRIALOG_REQUIRE=1 TRIALOG_TEST_PYTHON=$(DEMO)/venv/bin/python cargo test --workspace
	$(PYTHON) -m unittest discover -s services/agent/python -p 'test_*.py'
	rm -rf $(DEMO)/test-data
	TRIALOG=$(TARGET)/debug/trialog DEMO_DATA=$(DEMO)/test-data DEMO_KEEP=0 DEMO_LISTEN=127.0.0.1:0 $(DEMO)/venv/bin/python examples/digits/demo.py

.PHONY: lint
lint: tools ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: torture
torture: build ## forty trials while everything is killed at random (SEED=n repeats a run), and property tests from fresh seeds
	seed="$(SEED)"; seed=$${seed:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; echo "property tests: TRIALOG_PROPERTY_SEED=$$seed"; \
	TRIALOG_PROPERTY_SEED=$$seed cargo test $(PROPERTIES)
	TRIALOG=$(TARGET)/debug/trialog TRIALOG_TORTURE_KILLS=30 TRIALOG_TORTURE_SEED=$(SEED) cargo test -p trialog-testkit --test torture -- --nocapture

.PHONY: bench
bench: tools ## one line of JSON a figure, with the machine's floor of the same run
	cargo bench -p trialog-eventlog --bench append
	cargo build --release -p trialog
	TRIALOG=$(TARGET)/release/trialog cargo run --release --manifest-path loadtests/Cargo.toml --target-dir $(TARGET)/loadtests

.PHONY: bench-tuning
bench-tuning: tools ## what suggestions, fits and verdicts cost
	cargo bench -p trialog-tuning --bench tuning
