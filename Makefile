# What people and CI type. s3s names Rust 1.96 and builds on 1.95, hence the flag; nothing needs it from 1.96 on.
CARGO       := cargo
FLAGS       := --ignore-rust-version --locked
VENV_PYTHON := .tools/py/bin/python
BINARY      := $(abspath $(or $(CARGO_TARGET_DIR),target)/release/anybucket)
# Crash cycles: `make crash N=500`; histories: `make sim N=20000 FROM=1`.
N           ?= $(if $(filter sim,$(MAKECMDGOALS)),1000,25)
# Faults of `make chaos`; a few of them in `make test`.
FAULTS      ?= $(if $(filter chaos,$(MAKECMDGOALS)),60,10)
# Histories run optimised: the first build takes minutes, and pays from some thousand histories on.
SIM_FLAGS   := $(FLAGS) --profile sim --lib -- --ignored --nocapture
# The first seed of `make sim` and `make faults`.
FROM        ?= 1
# Rules of `make faults`, by commas: `make faults ONLY=PurgeBeatsHold,MarkerUntold`.
ONLY        ?=
# What of the compat suites runs over stores that are services in `make test`.
ON_STORES   := -k "awscli or boto3 or rclone or races"
# Further arguments: `make compat ARGS="-k copy"`, `make bench ARGS="--rss"`, `make run ARGS="--data /tmp/x"`.
ARGS        ?=

export ANYBUCKET_BIN := $(BINARY)

.PHONY: help run demo build check test unit conformance compat-stores compat-all sim faults crashes compat crash chaos bench bench-sites bench-proxy clients minio

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

run: ## serve S3 on 127.0.0.1:9000, data in ./anybucket-data (the same as cargo serve)
	$(CARGO) run --release $(FLAGS) --bin anybucket -- serve $(ARGS)

demo: build clients ## two sites on this machine that follow each other: what is put at one is seen arriving at the other; Ctrl-C ends it
	$(VENV_PYTHON) compat-tests/demo.py $(ARGS)

build: ## the release binary
	$(CARGO) build --release $(FLAGS)

check: ## formatting, clippy, the house rules; licences where cargo-deny is installed
	$(CARGO) fmt --check
	$(CARGO) clippy $(FLAGS) --all-targets -- -D warnings
	$(CARGO) test $(FLAGS) --lib tidy:: -- --nocapture
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; fi

test: unit conformance compat compat-stores crash chaos ## everything: unit and simulation tests, another S3 server as the store, real clients, 25 crashes, 10 faults among three sites; installs what it needs into .tools

unit: ## cargo test
	$(CARGO) test $(FLAGS)

conformance: clients ## what is promised of every store, over services that are not ours: versitygw, S3Proxy, Azurite, fake-gcs-server
	PATH=$$($(VENV_PYTHON) compat-tests/stores.py path):$$PATH ANYBUCKET_VERSITYGW=$(abspath .tools/bin/versitygw) \
	ANYBUCKET_S3PROXY=$$(echo $(abspath .tools/s3proxy)/*.jar) \
	ANYBUCKET_AZURITE=$(abspath .tools/azurite/node_modules/azurite/dist/src/blob/main.js) \
	ANYBUCKET_FAKE_GCS=$(abspath .tools/bin/fake-gcs-server) $(CARGO) test $(FLAGS) --lib -- --ignored \
	backend::s3::tests::versitygw backend::s3::tests::versioned backend::s3::tests::s3proxy backend::azure::tests::azurite backend::gcs::tests::emulator

minio: ## the same over MinIO, which takes minutes to build and is no part of `make test`
	compat-tests/setup.sh minio
	ANYBUCKET_MINIO=$(abspath .tools/bin/minio) $(CARGO) test $(FLAGS) --lib -- --ignored backend::s3::tests::minio

compat-stores: build clients ## aws-cli, boto3, rclone and races with each of those services holding the objects
	for store in versitygw azurite gcs; do COMPAT_STORE=$$store $(VENV_PYTHON) compat-tests/run.py $(ON_STORES) $(ARGS) || exit 1; done

compat-all: build ## every compat suite with each of a directory, versitygw, S3Proxy, MinIO, Azurite and our fake of Google's store: hours
	compat-tests/setup.sh minio
	for store in fs versitygw s3proxy minio azurite gcs; do COMPAT_STORE=$$store $(VENV_PYTHON) compat-tests/run.py $(ARGS) || exit 1; done

sim: ## N histories of several sites from the seed FROM on, every promise checked; a failure prints the seed that replays it
	ANYBUCKET_SIM_FROM=$(FROM) ANYBUCKET_SIM_N=$(N) $(CARGO) test $(SIM_FLAGS) histories_by_the_seed

faults: ## how many such histories it takes to find each rule that tests switch off, or those that ONLY names
	ANYBUCKET_SIM_FROM=$(FROM) ANYBUCKET_SIM_ONLY=$(ONLY) $(CARGO) test $(SIM_FLAGS) every_planted_fault

crashes: ## every crash, failing call and hang-up of the scripted histories, not a sample: some 20 minutes
	$(CARGO) test $(FLAGS) --lib -- --ignored --nocapture --test-threads 2 --skip sim::sites --skip backend:: sim:: s3::tests::model

compat: build clients ## seventeen real clients (compat-tests/COMPATIBILITY.md) and raw requests against the release binary
	$(VENV_PYTHON) compat-tests/run.py $(ARGS)

crash: build clients ## N times: load, kill -9, start, compare with what was acknowledged; COMPAT_STORE=versitygw, s3proxy, minio, azurite or gcs: over that service
	$(VENV_PYTHON) compat-tests/crash.py --cycles $(N) $(ARGS)

chaos: build clients ## three sites and a NATS that are killed, cut off and slowed down under load, FAULTS times; then all must be equal
	$(VENV_PYTHON) compat-tests/chaos.py --faults $(FAULTS) $(ARGS)

bench-sites: build clients ## how far a second site is behind, how fast it catches up, how one that lost everything comes back, what one that is away costs
	$(VENV_PYTHON) compat-tests/bench_sites.py $(ARGS)

bench-proxy: build clients ## what versitygw costs through anybucket, beside itself and rclone over it; ARGS="azurite gcs", "--limit-mib-s 200", "--rss"
	$(VENV_PYTHON) compat-tests/bench_proxy.py $(ARGS)

bench: build clients ## beside nginx, rclone and versitygw on this disk; let nothing else run meanwhile
	$(VENV_PYTHON) compat-tests/bench.py $(ARGS)

clients: ## the clients that tests drive, into .tools
	compat-tests/setup.sh
