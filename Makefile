# One verb per habit. Every verb does its own set-up: Python 3.11+, a Rust toolchain, a C compiler and make are enough.
#
#   make run          build, and serve the demo application at http://127.0.0.1:8000/
#   make test         cargo tests and pytest
#   make lint         formatters, linters and type checkers of both languages
#   make fuzz         mutated samples for every parser, FUZZ_SECONDS each (20)
#   make conformance  h2spec and real clients of HTTP/2, against every carrier and interface, in one table
#   make bench        Ferrule beside its peers, CPU time per request (BENCH_ARGS=--quick: less than two minutes)
#
# Variables: PYTHON (interpreter), VENV (where its environment lives), BIND and APP (make run), PYTEST_ARGS,
# CONFORMANCE_ARGS and BENCH_ARGS (--help lists them), PYTHONS (make test-all: more interpreters, each with an environment
# of its own).

PYTHON ?= python3
VENV ?= .venv
BIND ?= 127.0.0.1:8000
APP ?= hello_asgi:app
PYTEST_ARGS ?=
CONFORMANCE_ARGS ?=
BENCH_ARGS ?=
PYTHONS ?=
FUZZ_SECONDS ?= 20

# One build directory for the extension, the cargo tests and clippy, so that dependencies are compiled once.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PYO3_PYTHON := $(CURDIR)/$(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := $(VENV)/bin
# The environment is keyed to the interpreter's version: another PYTHON in the same VENV makes it anew.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
VENV_STAMP := $(VENV)/.made-by-$(VERSION)
BUILD_STAMP := $(VENV)/.built
TEST_STAMP := $(VENV)/.test
DEV_STAMP := $(VENV)/.dev
BENCH_STAMP := $(VENV)/.bench

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)

.PHONY: run build test test-rust test-python test-all test-environment lint fuzz conformance bench bench-environment clean

run: $(BUILD_STAMP)
	@echo "Serving examples/$(APP) at http://$(BIND)/ (Ctrl-C stops it)"
	@exec $(BIN)/server --app-dir examples --bind $(BIND) $(APP)

build: $(BUILD_STAMP)

test: test-rust test-python

# The cargo tests run with overflow checks and debug assertions on: an overflow in a parser fails here
# instead of wrapping unseen. pytest then runs on the release build, the one that is shipped. The samples of both are
# the same in every run; `make fuzz` looks for new ones.
test-rust:
	PROPTEST_RNG_SEED=1 cargo test --locked -p ferrule-http

# What failed is kept by environment: two of them may run side by side.
test-python: $(TEST_STAMP)
	$(BIN)/python -m pytest -o cache_dir=$(VENV)/.pytest-cache $(PYTEST_ARGS)

# Everything that `make test-python` needs, for a run that has something else to do meanwhile.
test-environment: $(TEST_STAMP)

test-all: test
	@set -e; for python in $(PYTHONS); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		$(MAKE) test-python PYTHON=$$python VENV=.venv-$$version; \
	done

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml ferrule._core
	$(BIN)/python -m ferrule.config.docs --check docs/settings.md
	$(BIN)/python -m ferrule.servers.docs --check docs/servers.md
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --release --workspace --all-targets -- -D warnings
	cargo clippy --locked --release --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings

# On a stable toolchain; fuzz/README.md says how to run the same targets guided by coverage.
fuzz:
	FERRULE_FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --locked --release --manifest-path fuzz/Cargo.toml -- --nocapture

# Says what is missing and how to install it; docs/conformance.md has the table. Logs are in .conformance.
conformance: $(TEST_STAMP)
	$(BIN)/python -m tests.conformance $(CONFORMANCE_ARGS)

bench:
	$(PYTHON) -m benchmarks run $(BENCH_ARGS)

# What the harness asks for, with the interpreter that it chose.
bench-environment: $(BENCH_STAMP)

clean:
	rm -rf .venv .venv-* target

$(VENV_STAMP):
	@test -n "$(VERSION)" || { echo "make: $(PYTHON) does not run; set PYTHON to a Python of 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is Python $(VERSION); Ferrule needs 3.11 or newer" >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "maturin>=1.9,<2"
	@touch $@

$(BUILD_STAMP): $(VENV_STAMP) pyproject.toml $(RUST_SOURCES)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) PIP_QUIET=1 $(BIN)/maturin develop --release --locked
	@touch $@

# The project is installed by now, so pip takes the extras from its metadata and nothing of it from an index. What is
# never imported need not be compiled.
$(TEST_STAMP): pyproject.toml | $(BUILD_STAMP)
	$(BIN)/python -m pip install -q --no-compile "ferrule[test]"
	@touch $@

# The extra `dev` has all of `test`.
$(DEV_STAMP): pyproject.toml | $(BUILD_STAMP)
	$(BIN)/python -m pip install -q --no-compile "ferrule[dev]"
	@touch $@ $(TEST_STAMP)

$(BENCH_STAMP): pyproject.toml | $(BUILD_STAMP)
	$(BIN)/python -m pip install -q --no-compile "ferrule[bench]"
	@touch $@
