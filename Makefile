.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X fairlane/cmd/internal/app.version=$(VERSION)

PKG ?= ./...
BENCH ?= .
FUZZTIME ?= 30s

.PHONY: help
help: ## show what make can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/fairlane
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/fairlane ./cmd/fairlane

.PHONY: run
run: ## serve on :9000, in front of VLLM_URL or of an emulated vLLM (ARGS: more flags of serve)
	go run -ldflags '$(LDFLAGS)' ./cmd/fairlane serve $(ARGS)

.PHONY: demo
demo: ## show in the terminal how a VIP overtakes a flood (a minute)
	go run ./cmd/loadtest overtake

.PHONY: article
article: ## show how a small GPU crashes without limits, and not behind fairlane (a quarter of a minute)
	go run ./cmd/loadtest article

.PHONY: agree
agree: ## hold the simulator against the running system with an emulated GPU (a minute and a half, on an idle machine)
	go run ./cmd/loadtest agree

.PHONY: test
test: ## run the tests (PKG=./proxy/...)
	go test $(PKG)

.PHONY: ci
ci: build vet lint race ## run what CI runs: build, vet, lint, tests with the race detector

.PHONY: vet
vet: ## run go vet
	go vet ./...

# One of the tests breaks the walls and runs the linter.
.PHONY: race
race: bin/golangci-lint ## run the tests with the race detector
	go test -race -timeout 10m $(PKG)

.PHONY: lint
lint: bin/golangci-lint ## check style and the walls between the packages
	bin/golangci-lint config verify
	bin/golangci-lint run

.PHONY: fmt
fmt: bin/golangci-lint ## format the code as lint wants it
	bin/golangci-lint fmt

.PHONY: bench
bench: ## run the benchmarks and print their figures (BENCH=regexp PKG=./scheduler/...)
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG) | grep -v 'no test files'

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	@for pkg in $$(go list $(PKG)); do \
		for target in $$(go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$pkg"; \
		done; \
	done

.PHONY: vuln
vuln: bin/govulncheck ## look for known vulnerabilities in what the binary calls (asks the Go vulnerability database)
	bin/govulncheck ./...

.PHONY: tools
tools: bin/golangci-lint bin/govulncheck ## build the pinned tools of deploy/tools into bin/

# The tools have a module of their own, so that the product's go.mod names only what the product needs.
bin/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
bin/govulncheck: PACKAGE := golang.org/x/vuln/cmd/govulncheck
bin/%: deploy/tools/go.mod deploy/tools/go.sum
	cd deploy/tools && go build -o ../../$@ $(PACKAGE)
	@touch $@
