# The commands of this repository. `make` alone lists them.

GO ?= go
# How long each fuzz target runs.
FUZZTIME ?= 20s
# A directory with a copy of the Go vulnerability database; empty means the public one.
VULNDB ?=

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.1
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
# The last four ask for well-formed doc comments; internal/lint asks that there is one.
CHECKS := inherit,ST1000,ST1020,ST1021,ST1022

# find(1) without what npm installs: some of its packages carry Go files.
FIND := find . -name node_modules -prune -o
MODULES := $(sort $(patsubst %/go.mod,%,$(shell $(FIND) -name go.mod -print)))

# $(call each,COMMAND) runs COMMAND in every module and fails in the end if it failed in one.
define each
	@rc=0; for module in $(MODULES); do \
		echo "--- $$module: $(1)"; (cd $$module && $(1)) || rc=1; \
	done; exit $$rc
endef

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: test race stress fuzz e2e bench caches fleet faults
test: ## Run the tests of every module; needs nothing but Go
	$(call each,$(GO) test ./...)

race: ## The same under the race detector; needs a C compiler
	$(call each,CGO_ENABLED=1 $(GO) test -race ./...)

# What several goroutines share, ROUNDS times BATCH times over, in twenty
# minutes or so. In batches, since the race detector never gives memory back.
ROUNDS ?= 50
BATCH ?= 20
SHARED := ReadersReadOn|FirstCallersShare|FloodAtOnce|NoReaderGets|NoMoreThan1024|CloseIsFine|TakesNobodys|CloseEnds|TimerFetchesOnce|NothingIsFetched|NobodyWaitsForAnyMore|WhoJoins|CloseWaits|RefreshIsNot|LoggerThatHangs|HangingIssuer|LeavesNothingBehind|EveryCallerSees|KeepsWhatItSays|BytesCounted|ComeAndGo|ResolvedOnceForAll|DoNotMissEachOther
stress: ## Run the tests of concurrency 1,000 times under the race detector
	for round in $$(seq $(ROUNDS)); do \
		CGO_ENABLED=1 $(GO) test -race -short -count $(BATCH) -run '$(SHARED)' ./jwks ./jwtverify ./jwtverify/revoke ./internal/cache || exit 1; \
	done

# `go test -list` prints the names of a package's targets and then an "ok" line with its path.
# Where the time ends at a bad moment Go 1.26 takes that for a failure (golang/go#75804): a
# target that found no input, and failed for nothing else, has another turn.
fuzz: ## Run every fuzz target for FUZZTIME (20s)
	@rc=0; found=0; for module in $(MODULES); do \
		list=$$(cd $$module && $(GO) test -list '^Fuzz' ./...) || { printf '%s\n' "$$list"; exit 1; }; \
		for target in $$(printf '%s\n' "$$list" | \
			awk '/^Fuzz/ { name[++n] = $$1 } /^ok/ { for (i = 1; i <= n; i++) print $$2 ":" name[i]; n = 0 }'); do \
			found=$$((found + 1)); echo "--- $$target"; \
			for turn in 1 2 3; do \
				out=$$(cd $$module && $(GO) test -run '^$$' -fuzz "^$${target##*:}$$" -fuzztime $(FUZZTIME) "$${target%:*}" 2>&1) && ok=0 || ok=1; \
				printf '%s\n' "$$out"; \
				test $$ok -ne 0 && test $$turn -lt 3 && printf '%s\n' "$$out" | grep -qx '    context deadline exceeded' && \
					! printf '%s\n' "$$out" | grep -q -e 'Failing input' -e '_test\.go:' || break; \
			done; \
			test $$ok -eq 0 || rc=1; \
		done; \
	done; \
	echo "$$found fuzz targets"; test $$found -gt 0 && exit $$rc

e2e: ## Run the tests against real servers; needs Node.js, npm and redis-server
	@command -v npm >/dev/null || { echo "make e2e: npm not found, install Node.js with npm" >&2; exit 1; }
	@command -v redis-server >/dev/null || { echo "make e2e: redis-server not found, install Redis 7" >&2; exit 1; }
	cd internal/e2e && $(GO) test -tags e2e -count 1 ./...
	cd jwtverify/revoke/redisrevoke && $(GO) test -tags e2e -count 1 -run Test ./...
	cd examples && $(GO) test -tags e2e -count 1 ./revocation

bench: ## Compare Verify with its peers and check it against our limits, with half as much again for other work of the machine
	cd internal/bench && $(GO) run . -check -slack 1.5

caches: ## Weigh caches for verified tokens
	cd internal/bench && $(GO) run ./caches

fleet: ## Simulate what 100,000 replicas do to their issuer, and draw it
	cd internal/bench && $(GO) run ./fleet -check

faults: ## Play nine faults of an issuer to us and to our peers, side by side
	cd internal/bench && $(GO) run ./faults -check

.PHONY: lint fmt vet staticcheck rules tidy vuln
lint: fmt vet staticcheck rules tidy vuln ## Run all of the checks below

fmt: ## Find files that gofmt would change
	@files=$$($(FIND) -name '*.go' -print | xargs "$$($(GO) env GOROOT)/bin/gofmt" -l) && \
		if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

vet: ## Run go vet
	$(call each,$(GO) vet -tags e2e ./...)

staticcheck: ## Run staticcheck
	$(call each,$(GO) run $(STATICCHECK) -tags e2e -checks $(CHECKS) ./...)

rules: ## Check the rules of this repository: imports, requirements, documentation
	$(GO) run ./internal/lint

tidy: ## Find go.mod and go.sum files that are not tidy
	$(call each,$(GO) mod tidy -diff)

vuln: ## Look for known vulnerabilities (VULNDB=directory uses a local copy of the database)
	$(call each,$(GO) run $(GOVULNCHECK) $(if $(VULNDB),-db file://$(abspath $(VULNDB))) -tags e2e -test ./...)

.PHONY: upgrade
upgrade: ## Take the newest release of every dependency (changes go.mod and go.sum)
	$(call each,$(GO) get -u -t ./... && $(GO) mod tidy)
