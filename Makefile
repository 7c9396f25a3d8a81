# Each target does its own set-up: a fresh Debian machine with Rust, gcc, make and git is enough.
CARGO ?= cargo

.PHONY: help demo test test-slow test-loaders test-kernel-tls compare compare-gateway build fmt lint setup

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Store a real dataset on a one-machine network, prove it, fetch it back (a minute after the build; two more the first time)
	@scripts/demo.sh

test: setup ## Format, lints, all tests, and the demo: what CI runs
	@scripts/test.sh

test-slow: setup ## The tests that take minutes: large sectors
	$(CARGO) test --locked --release --workspace -- --ignored

test-loaders: build ## The tests of the Python package that need torch: DataLoader, MDS, litdata, lance, wids (2.8 GB from PyPI)
	@scripts/test-loaders.sh

test-kernel-tls: setup ## The tests of TLS in a virtual machine whose kernel encrypts (Debian's, with qemu; half a minute)
	@scripts/test-kernel-tls.sh

# Where the comparison keeps parameters (6 GB), and more of its arguments: COMPARE_ARGS=--help lists them.
COMPARE_DIR ?= .compare
COMPARE_ARGS ?=

compare: ## Ours beside the reference implementation: seconds, memory, agreement both ways (the first time half an hour)
	@scripts/compare.sh $(COMPARE_DIR) $(COMPARE_ARGS)

compare-gateway: build ## Our gateway beside nginx (Debian's nginx-light, installed by you): CPU per GB, throughput, small ranges, idle connections
	@python3 scripts/compare_gateway.py $(COMPARE_ARGS)

build: setup ## Build the binary: target/release/cairn
	$(CARGO) build --locked --release -p cairn

fmt: ## Format the sources
	$(CARGO) fmt --all

lint: setup ## Lints alone
	$(CARGO) clippy --locked --release --workspace --all-targets -- -D warnings

setup: ## Install or name the missing system packages
	@scripts/setup.sh
