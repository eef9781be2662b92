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
# `make check` looks at what differs from this branch.
BASE ?= main
PREFIX ?= /usr/local
# How `make dist` and `make install` build: cargo's profile dist takes its time over the fastest binary, dev is for a quick look.
PROFILE ?= dist
BUILT = $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/trialog
DIST := $(CURDIR)/dist
# Parts that release builds and tests have, and a laptop does without.
RELEASE := postgres,kafka,kafka-tls,s3
FEATURES := --features trialog/postgres,trialog/kafka,trialog/kafka-tls,trialog/s3,trialog-testkit/postgres
# Faults of the log itself, for the test that the check of histories sees them: no binary has them.
FAIL_POINTS := $(FEATURES),trialog-eventlog/fail-points
# What must not be skipped in tests; the others say what they miss.
export TRIALOG_REQUIRE ?= python,promtool

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: tools
tools:
	@command -v cargo >/dev/null || { echo "missing: a Rust toolchain. Install it: apt-get install rustup && rustup default stable"; exit 1; }
	@command -v cc >/dev/null || { echo "missing: a C compiler. Install it: apt-get install build-essential"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "missing: Python 3. Install it: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv. Install it: apt-get install python3-venv"; exit 1; }

# What the parts of releases are built with.
.PHONY: libraries
libraries: tools
	@echo '#include <openssl/ssl.h>' | cc -E - >/dev/null 2>&1 || { echo "missing: OpenSSL's headers, for TLS to Kafka. Install them: apt-get install libssl-dev"; exit 1; }

.PHONY: build
build: tools ## the binary, unoptimised
	cargo build -p trialog

$(DEMO)/venv/ready: examples/digits/requirements.txt shared/testkit/requirements.txt | tools
	mkdir -p $(DEMO)
	$(PYTHON) -m venv $(DEMO)/venv
	$(DEMO)/venv/bin/python -m pip install --quiet --disable-pip-version-check -r examples/digits/requirements.txt -r shared/testkit/requirements.txt
	touch $@

# Prometheus's own checker: the one that is installed, else that of Debian's package, unpacked here and not installed.
$(DEMO)/bin/promtool: | tools
	mkdir -p $(DEMO)/bin
	@if command -v promtool >/dev/null; then ln -sf "$$(command -v promtool)" $@; \
	else cd $(DEMO)/bin && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } 2>/dev/null \
		&& dpkg -x prometheus_*.deb unpacked && rm prometheus_*.deb && mv unpacked/usr/bin/promtool $@ && rm -r unpacked \
		|| { echo "missing: promtool, which checks /metrics. Install it: apt-get install prometheus"; exit 1; }; fi

.PHONY: demo
demo: build $(DEMO)/venv/ready ## a sweep from submission to served answers (DEMO_KEEP=0 ends by itself)
	rm -rf $(DEMO_DATA)
	TRIALOG=$(TARGET)/debug/trialog DEMO_DATA=$(DEMO_DATA) DEMO_KEEP=$(DEMO_KEEP) $(DEMO)/venv/bin/python examples/digits/demo.py

SCALED := $(DEMO)/scaled
.PHONY: up-scaled
up-scaled: libraries $(DEMO)/venv/ready ## every service as its own process, over TCP, on PostgreSQL, Kafka and S3, and the demo's sweep on it (DEMO_KEEP=0 ends by itself, KILLS=1 kills everything once meanwhile)
	cargo build -p trialog --features $(RELEASE)
	rm -rf $(SCALED)
	mkdir -p $(SCALED)
	deploy/scaled/scaled $(SCALED) --trialog $(TARGET)/debug/trialog --listen $(or $(DEMO_LISTEN),127.0.0.1:8080) --replicas runs=2,sweeps=2,models=2 \
	  > $(SCALED)/scaled.log & \
	scaled=$$!; trap 'kill -TERM '$$scaled' 2>/dev/null; wait '$$scaled'; cat $(SCALED)/scaled.log' EXIT; \
	until grep -q 'trialog at' $(SCALED)/scaled.log; do kill -0 $$scaled; sleep 0.2; done; \
	url=$$(sed -nE 's/^trialog at ([^,]+),.*/\1/p' $(SCALED)/scaled.log); \
	export TRIALOG=$(TARGET)/debug/trialog DEMO_URL=$$url TRIALOG_API_URL=$$url TRIALOG_TOKEN=$$(cat $(SCALED)/workspaces/admin.token); \
	if [ -n "$(KILLS)" ]; then deploy/scaled/kill-in-turn $(SCALED) digits & kills=$$!; fi; \
	DEMO_KEEP=0 $(DEMO)/venv/bin/python examples/digits/demo.py; \
	if [ -n "$(KILLS)" ]; then wait $$kills; fi; \
	if [ $(DEMO_KEEP) != 0 ]; then echo "Trialog stays up at $$url (token in $(SCALED)/workspaces/admin.token); Ctrl-C ends it"; wait $$scaled; fi

.PHONY: test
test: libraries lint $(DEMO)/venv/ready $(DEMO)/bin/promtool ## everything that must hold
	cargo build -p trialog --features $(RELEASE)
	postgres=$$(mktemp -d /tmp/trialog-postgres-XXXXXX); \
	kafka=$$(mktemp -d /tmp/trialog-kafka-XXXXXX); \
	s3=$$(mktemp -d /tmp/trialog-s3-XXXXXX); \
	trap 'deploy/postgres-dev/postgres-dev down '$$postgres'; deploy/kafka-dev/kafka-dev down '$$kafka'; deploy/s3-dev/s3-dev down '$$s3'; rm -rf '$$postgres' '$$kafka' '$$s3 EXIT; \
	export TRIALOG_TEST_POSTGRES=$$(FSYNC=off deploy/postgres-dev/postgres-dev up $$postgres); \
	export TRIALOG_TEST_KAFKA=$$(deploy/kafka-dev/kafka-dev up $$kafka); \
	export TRIALOG_TEST_S3=$$(deploy/s3-dev/s3-dev up $$s3); \
	export TRIALOG=$(TARGET)/debug/trialog TRIALOG_TEST_PYTHON=$(DEMO)/venv/bin/python TRIALOG_TEST_PROMTOOL=$(DEMO)/bin/promtool; \
	cargo test --workspace $(FEATURES); \
	cargo test --workspace $(FAIL_POINTS) --test fail_points; \
	if [ -n "$$TRIALOG_TEST_POSTGRES" ]; then TRIALOG_TEST_STORE=postgres cargo test --workspace $(FEATURES) --lib -- api:: scenarios serving_tests; fi
	$(PYTHON) -m unittest discover -s services/agent/python -p 'test_*.py'
	$(MAKE) --no-print-directory install PROFILE=dev DESTDIR=$(DEMO)/installed PREFIX=/usr
	$(DEMO)/installed/usr/bin/trialog --version
	rm -rf $(DEMO)/test-data
	TRIALOG=$(TARGET)/debug/trialog DEMO_DATA=$(DEMO)/test-data DEMO_KEEP=0 DEMO_LISTEN=127.0.0.1:0 $(DEMO)/venv/bin/python examples/digits/demo.py

.PHONY: lint
lint: libraries ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(FEATURES) -- -D warnings
	cargo clippy --workspace --test fail_points $(FAIL_POINTS) -- -D warnings

.PHONY: check
check: tools ## formatting, lints and unit tests of the crates that differ from main (BASE=...), in a few minutes
	cargo fmt --all --check
	base=$$(git merge-base $(BASE) HEAD); \
	changed=$$({ git diff --name-only "$$base"; git ls-files --others --exclude-standard; } | sort -u); \
	crates=$$(sed -nE 's#^(shared|services)/([^/]+)/.*#\1/\2#p' <<<"$$changed" | sort -u); \
	if grep -qE '^(proto/.*\.proto|Cargo\.(toml|lock))$$' <<<"$$changed"; then crates="$$crates shared/contracts"; fi; \
	libraries=(); programs=(); \
	for crate in $$crates; do \
	  if [ ! -f $$crate/Cargo.toml ]; then continue; fi; \
	  package=$$(sed -nE 's/^name = "(.*)"/\1/p' $$crate/Cargo.toml | head -1); \
	  if [ -f $$crate/src/lib.rs ]; then libraries+=(-p $$package); else programs+=(-p $$package); fi; \
	done; \
	echo "changed since $(BASE): $${libraries[*]} $${programs[*]}"; \
	if [ $${#libraries[@]} -gt 0 ]; then cargo test "$${libraries[@]}" --lib; fi; \
	if [ $${#programs[@]} -gt 0 ]; then cargo test "$${programs[@]}" --bins; fi; \
	if [ $$(($${#libraries[@]} + $${#programs[@]})) -gt 0 ]; then \
	  cargo clippy "$${libraries[@]}" "$${programs[@]}" --all-targets -- -D warnings; \
	fi
	cargo test -p trialog-testkit --test tidy

.PHONY: stage
stage: libraries
	cargo build -p trialog --profile $(PROFILE) --features $(RELEASE)
	rm -rf $(DIST)/stage
	install -D -m 755 $(BUILT) $(DIST)/stage/bin/trialog
	cd $(DIST)/stage && mkdir -p share/bash-completion/completions share/zsh/site-functions share/fish/vendor_completions.d share/doc/trialog \
	  && bin/trialog completions bash > share/bash-completion/completions/trialog \
	  && bin/trialog completions zsh > share/zsh/site-functions/_trialog \
	  && bin/trialog completions fish > share/fish/vendor_completions.d/trialog.fish \
	  && bin/trialog man share/man/man1
	install -m 644 LICENSE README.md CHANGELOG.md $(DIST)/stage/share/doc/trialog

.PHONY: dist
dist: stage ## an archive of the binary, its manual pages and completions, with checksums, in dist/ (PROFILE=dev for a quick look)
	name=$$($(DIST)/stage/bin/trialog --version | awk 'NR == 1 {version = $$2} NR == 2 {print "trialog-" version "-" $$3}'); \
	if git rev-parse HEAD >/dev/null 2>&1 && ! git diff --quiet HEAD; then name=$$name-changed; fi; \
	rm -rf "$(DIST)/$$name"* && mv $(DIST)/stage "$(DIST)/$$name" && cd $(DIST) \
	  && tar --sort=name --owner=0 --group=0 --numeric-owner -czf "$$name.tar.gz" "$$name" \
	  && sha256sum "$$name.tar.gz" "$$name/bin/trialog" > SHA256SUMS && cat SHA256SUMS

.PHONY: install
install: PROFILE = release
install: stage ## the same on this machine, built in less time (PREFIX=/usr/local, DESTDIR= for packages)
	mkdir -p $(DESTDIR)$(PREFIX)
	cp -R $(DIST)/stage/. $(DESTDIR)$(PREFIX)
	rm -rf $(DIST)/stage
	@echo "installed $(PREFIX)/bin/trialog"

.PHONY: torture
torture: tools ## everything is killed, stopped and cut at random, for about an hour (SEED=n repeats a run), and property tests from fresh seeds
	cargo build -p trialog --features postgres,kafka
	seed="$(SEED)"; seed=$${seed:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; echo "property tests: TRIALOG_PROPERTY_SEED=$$seed"; \
	TRIALOG_PROPERTY_SEED=$$seed cargo test $(PROPERTIES)
	postgres=$$(mktemp -d /tmp/trialog-postgres-XXXXXX); \
	kafka=$$(mktemp -d /tmp/trialog-kafka-XXXXXX); \
	trap 'deploy/postgres-dev/postgres-dev down '$$postgres'; deploy/kafka-dev/kafka-dev down '$$kafka'; rm -rf '$$postgres' '$$kafka EXIT; \
	export TRIALOG_TEST_POSTGRES=$$(deploy/postgres-dev/postgres-dev up $$postgres); \
	export TRIALOG_TEST_KAFKA=$$(deploy/kafka-dev/kafka-dev up $$kafka); \
	export TRIALOG=$(TARGET)/debug/trialog TRIALOG_TORTURE_SEED=$(SEED) TRIALOG_HISTORY_SEED=$(SEED); \
	TRIALOG_TORTURE_KILLS=30 TRIALOG_TORTURE_SCALED_KILLS=200 cargo test --workspace $(FEATURES) --test torture -- --nocapture; \
	TRIALOG_HISTORY_SECONDS=600 cargo test --workspace $(FEATURES) --test history -- --nocapture

.PHONY: bench
bench: tools ## one line of JSON a figure, with the machine's floor of the same run
	cargo bench -p trialog-eventlog --bench append
	cargo build --release -p trialog
	TRIALOG=$(TARGET)/release/trialog cargo run --release --manifest-path loadtests/Cargo.toml --target-dir $(TARGET)/loadtests

# Figures of a fleet need time: each is taken for so many seconds, beside so many rows.
BENCH_SECONDS ?= 30
BENCH_ROWS ?= 2000000
.PHONY: bench-spine
bench-spine: libraries ## the log on PostgreSQL, facts through Kafka, the scaled form: each beside its floor (needs PostgreSQL, Java and Maven)
	cargo build --release -p trialog --features $(RELEASE)
	cargo bench -p trialog-eventlog -p trialog-feed --features trialog-eventlog/postgres,trialog-feed/kafka --no-run
	postgres=$$(mktemp -d $${TMPDIR:-/tmp}/trialog-postgres-XXXXXX); kafka=$$(mktemp -d $${TMPDIR:-/tmp}/trialog-kafka-XXXXXX); \
	trap 'deploy/postgres-dev/postgres-dev down '$$postgres'; deploy/kafka-dev/kafka-dev down '$$kafka'; rm -rf '$$postgres' '$$kafka EXIT; \
	export TRIALOG_BENCH_SECONDS=$(BENCH_SECONDS) TRIALOG_BENCH_ROWS=$(BENCH_ROWS); \
	TRIALOG_BENCH_POSTGRES=$$(deploy/postgres-dev/postgres-dev up $$postgres) cargo bench -p trialog-eventlog --features postgres --bench spine; \
	deploy/postgres-dev/postgres-dev down $$postgres; \
	cargo bench -p trialog-eventlog --features postgres --bench append -- append_256 append_32 append_1; \
	TRIALOG_BENCH_KAFKA=$$(deploy/kafka-dev/kafka-dev up $$kafka) cargo bench -p trialog-feed --features kafka --bench spine; \
	deploy/kafka-dev/kafka-dev down $$kafka; \
	TRIALOG=$(TARGET)/release/trialog cargo run --release --manifest-path loadtests/Cargo.toml --target-dir $(TARGET)/loadtests -- scaled_trials fail_over_killed

.PHONY: bench-tuning
bench-tuning: tools ## what suggestions, fits and verdicts cost
	cargo bench -p trialog-tuning --bench tuning
