# The two commands of a newcomer are `go run ./examples/server` and `make test`. The rest is for working on the code.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: test bits browser clients schemathesis faults plants syncs lint vulnerabilities docs fuzz bench

# Modules of their own, for what the module itself must not depend on: every go.mod below the root.
NESTED = $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod | sort))

# Everything, under the race detector, on real PostgreSQL, Redis and Kafka where they can be had.
test:
	bash internal/testserver/with-servers.sh go test -race -timeout 20m ./...
	@set -e; for dir in $(NESTED); do echo "in $$dir:"; (cd $$dir && go vet ./... && go test -race ./...); done

# The pages of the bundled server, in a headless Chromium. With SCREENSHOTS=folder it leaves a picture of each page there.
browser:
	@$(if $(SCREENSHOTS),mkdir -p '$(abspath $(SCREENSHOTS))',:)
	bash internal/testserver/with-browser.sh go test -count=1 -tags browser -run '^TestBrowser' ./examples/server $(if $(SCREENSHOTS),-screenshots '$(abspath $(SCREENSHOTS))')

# Clients that others' generators make of the schema: they must compile.
clients:
	bash internal/schemacheck/clients.sh

# The bundled server against its own schema, tried by a tool that does not know how it was made.
schemathesis:
	bash internal/schemacheck/schemathesis.sh

# The bundled server with everything failing around it; internal/faultlab/README.md says how to read it. SEED=0 draws one.
STACK   ?= embedded
SEED    ?= 0
SECONDS ?= 60
LAB      = cd internal/faultlab && go run .

faults:
	$(LAB) -stack $(STACK) -seed $(SEED) -seconds $(SECONDS)

# Builds with a bug on purpose, which the lab must find.
plants:
	$(LAB) -plants -stack $(STACK) -seed $(SEED)

# Every commit that the embedded server acknowledges is synced, counted by strace.
syncs:
	$(LAB) -syncs

lint:
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi
	go vet ./...
	go vet -tags browser ./examples/server
	go run $(STATICCHECK) -tags browser ./...
	go vet -tags planted ./...
	GOARCH=386 go build ./... # an int has 32 bits there
	go run $(GOLANGCI) run --build-tags browser ./...
	@set -e; for dir in $(NESTED); do echo "in $$dir:"; (cd $$dir && go vet ./... && go run $(STATICCHECK) ./... && \
		go run $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...); done

# What is known of the dependencies; only a notice where the database cannot be reached.
vulnerabilities:
	bash .ci/vulnerabilities

# The generated sections of SECURITY.md, written anew; the tests compare them.
docs:
	go test -p 1 -count=1 -run Documented ./auth ./httpapi ./examples/server -update

# The scores have the same bits when the compiler fuses multiply and add, as far as this processor can.
bits:
	@if grep -qw fma /proc/cpuinfo && grep -qw avx2 /proc/cpuinfo && grep -qw bmi2 /proc/cpuinfo; \
	then GOAMD64=v3 go test -count=1 -run 'Compute|Histories|AttackTable' ./rating/...; \
	else echo "this processor has no GOAMD64=v3"; fi

FUZZTIME ?= 20s

# Every fuzz target for FUZZTIME, one after the other.
fuzz:
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench:
	bash internal/testserver/with-servers.sh go test -run '^$$' -bench . -benchtime 2s ./...
