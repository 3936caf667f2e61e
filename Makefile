# The variables DATABASE_URL, REDIS_URL, AMQP_URL, SEED_USERS, RATE_LIMITS, ADMIN_EMAIL, ADMIN_PASSWORD, DEV_PORTS and every service's own
# may be given to `make run`, for example `make run SEED_USERS=100`. `target/debug/dev-stack run --help` explains those of the stack.
CARGO ?= cargo
TEST_ARGS ?=
BENCH_ARGS ?=

SERVICES := auth-api session-service mailer audit-service
BINARIES := $(addprefix -p ,$(SERVICES) dev-stack) --bins
PROGRAMS := $(or $(CARGO_TARGET_DIR),target)/debug
# One set for everything that is measured: with another set Cargo compiles the dependencies again.
RELEASE := --release $(BINARIES) -p load
# Each compares what is checked in with what the code says, and with REGENERATE=1 writes it.
DRIFT_TESTS := auth-proto/generated auth-events/schemas auth-api/openapi auth-api/errors threats/mapping

.DEFAULT_GOAL := help
.PHONY: help run stop test soak chaos bench fuzz-api lint fmt deps-check generate check-generated clean $(DRIFT_TESTS)

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target what; do printf '  %-16s %s\n' "$$target" "$$what"; done

run: ## Build and run everything with private servers until Ctrl-C
	$(CARGO) build $(BINARIES)
	@$(PROGRAMS)/dev-stack run

stop: ## Stop this checkout's running stack
	@if [ -x $(PROGRAMS)/dev-stack ]; then $(PROGRAMS)/dev-stack stop; else echo 'Nothing was ever started here.'; fi

test: ## Run all tests with throw-away servers (TEST_ARGS is handed to cargo test)
	$(CARGO) build $(BINARIES)
	$(CARGO) build -p session-verifier --examples --all-features
	$(PROGRAMS)/dev-stack with-servers -- $(CARGO) test --workspace --exclude soak $(TEST_ARGS)

soak: ## Run the tests that take minutes, one after another; they are not part of `test`
	$(CARGO) test -p threats --test mapping
	$(CARGO) build $(RELEASE)
	$(dir $(PROGRAMS))release/dev-stack with-servers -- timeout 55m $(CARGO) test --release -p soak --no-fail-fast $(TEST_ARGS) -- --test-threads=1 --nocapture
	SCHEDULES=100000 $(dir $(PROGRAMS))release/dev-stack with-servers -- timeout 20m $(CARGO) test --release -p session-service --test service -- schedules --nocapture

chaos: ## Drill what fails in production at full length, for about an hour: broker, mail servers, mailer and audit log
	$(CARGO) build $(RELEASE)
	BROKER_AWAY_SECONDS=600 BROKER_KILLS=20 BROKER_RESETS=1000 MAILS=10000 MAIL_RESETS=200 MAILER_KILLS=20 AUDIT_KILLS=20 \
		$(dir $(PROGRAMS))release/dev-stack with-servers -- $(CARGO) test --release -p soak --no-fail-fast \
		--test broker_faults --test mail_faults --test audit_faults $(TEST_ARGS) -- --test-threads=1 --nocapture

bench: ## Measure a release build against its budgets and write docs/BENCHMARKS.md (BENCH_ARGS is handed to `load bench`)
	$(CARGO) build $(RELEASE)
	@$(dir $(PROGRAMS))release/load bench $(BENCH_ARGS)

fuzz-api: ## Send generated requests to a private stack and compare its answers with its OpenAPI document
	$(CARGO) build $(BINARIES)
	@scripts/fuzz-api

lint: ## Check formatting, lints, documentation and, where cargo-deny is installed, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	@scripts/deny-check

fmt: ## Format the code
	$(CARGO) fmt --all

deps-check: ## Prove that the crates depend on each other only as they should
	@scripts/deps-check

generate: export REGENERATE = 1
generate: check-generated ## Write generated files anew: gRPC code, event schemas, OpenAPI, list of errors

check-generated: $(DRIFT_TESTS) ## Check that generated files are up to date

$(DRIFT_TESTS):
	$(CARGO) test -p $(firstword $(subst /, ,$@)) --test $(lastword $(subst /, ,$@))

clean: stop ## Stop the stack and remove the build and all local data
	$(CARGO) clean
	rm -rf .dev
