# make generate    the code and the page of spec/layout.json; the schemas of what -o json prints
# make test        everything that runs in minutes, as any user
# make explore     every order of steps and kills of locks and waits, all that is bounded
# make test-root   what only root may do: huge page pools, mount options, sysctls
# make test-linux-6.1  tests under the oldest Linux that is supported, in a virtual machine; half an hour if emulated
# make test-mcap   recordings are exchanged with the npm package @mcap/core; needs Node and npm
# make test-arm64  the arm64 build under qemu-user, as far as that emulates Linux
# make prove-msync what msync promises, by shutting file systems down; root, minutes
# make prove-locks what the locks promise when processes are killed; minutes
# make prove-topics what topics promise when publishers and subscribers are killed; minutes
# make prove-churn  a thousand participants and topics that come, go, are stopped and killed; ten minutes
# make prove-step  the same, after every machine instruction of every operation; half an hour
# make models      every state of the locks' models, with Spin; minutes
# make prove-message  the same of topics; half an hour
# make prove-joins  topics again, at every store and system call from joining to leaving; a quarter of an hour
# make prove-litmus  the order of what processes store and load, many million times
# make prove-hostile  processes that mean harm among honest ones; as long as it is told
# make prove-explore  by lot through what is too large for make explore
# make prove-fuzz  what peers say and have in memory, many million times
# make prove       short pieces of all of these, and explore, models, mutants; an hour
# make bench-sync  the locks beside pthread, sem_t, flock; two minutes, on a quiet machine
# make bench-joins what it costs to take part, by participants and topics; a minute, on a quiet machine
# make bench       messages beside floors and sockets; four minutes, on a quiet machine
# make bench-peers messages beside iceoryx2, Aeron, ZeroMQ, Boost; four minutes, on a quiet machine
# make mutants     plants bugs and wants the tests to find each; minutes
# make lint        formatting, vet on both architectures, staticcheck
# make rename TO=example.com/name   another module path, everywhere
SHELL := /bin/bash -o pipefail
export GOTOOLCHAIN := local

MODULES := . export/prometheus cmd/memlane test bench
PACKAGES := ./... ./export/prometheus/... ./cmd/memlane/... ./test/... ./bench/...

.PHONY: all build generate test explore mutants test-root test-linux-6.1 test-mcap test-arm64 prove prove-msync prove-locks prove-topics prove-churn prove-litmus prove-hostile prove-fuzz prove-explore prove-step prove-message prove-joins models bench-sync bench-joins bench bench-peers lint rename

all: build

build:
	go build -o bin/memlane ./cmd/memlane

generate:
	go run ./spec/generate
	cd cmd/memlane && go test -run TestSchemas . -update

# Twice: as a program without cgo is built, and under the race detector.
test:
	./test/install-deps
	@# Each module builds without the others beside it, and for the other architecture.
	for m in $(MODULES); do (cd $$m && GOWORK=off go build -o /dev/null ./... && GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./...) || exit 1; done
	go build -o bin/report ./test/report
	{ CGO_ENABLED=0 go test -count=1 -json $(PACKAGES); a=$$?; \
	  CGO_ENABLED=0 go test -count=1 -tags explore -run '^TestExplore' -json $(EXPLORED); b=$$?; \
	  CGO_ENABLED=0 go test -count=1 -tags stores -json ./test/prove/joins; s=$$?; \
	  CGO_ENABLED=1 go test -count=1 -race -json $(PACKAGES) && [ $$a$$b$$s = 000 ]; } | bin/report \
		-not-run 'make test-root: tests that change the machine (huge page pools); needs root' \
		-not-run 'make test-linux-6.1: what matters under Linux 6.1, which is booted in QEMU' \
		-not-run 'make test-mcap: recordings read and written by the npm package @mcap/core; files that it wrote are read here' \
		-not-run 'make test-arm64: the arm64 build under qemu-user; it is built and vetted here, not run' \
		-not-run 'make prove-msync: campaigns on loop devices; needs root and minutes' \
		-not-run 'make prove-locks: kills by the ten thousand, in minutes; 200 of them are here' \
		-not-run 'make prove-topics: kills of publishers and subscribers by the ten thousand, in minutes; 100 of them are here' \
		-not-run 'make prove-churn: a thousand participants and topics, in minutes; 30 of them are here' \
		-not-run 'make prove-step: a kill after every instruction of every operation; of three it is here' \
		-not-run 'make prove-message: the same of topics; of some it is here' \
		-not-run 'make prove-joins: a kill at every store and system call from joining to leaving; every hundredth is here' \
		-not-run 'make prove-litmus: the order between processes, many million times; seconds of it are here' \
		-not-run 'make prove-explore: walks by lot; 300 of each configuration are here' \
		-not-run 'make prove-hostile: processes that mean harm, for as long as is told' \
		-not-run 'make prove-fuzz: many million inputs; the seeds are here' \
		-not-run 'make models: all states of the models in spec/models, in minutes; needs Spin' \
		-not-run 'make lint: formatting, vet for both architectures, staticcheck'

# Minutes, and some GiB of memory; make test has the smaller ones.
EXPLORED := ./internal/explore ./internal/wait ./shmsync ./internal/ring
explore:
	CGO_ENABLED=0 go test -count=1 -tags explore -run '^TestExplore' -v -timeout 3h ./shmsync -args -all
	CGO_ENABLED=0 go test -count=1 -tags explore -run '^TestExplore' -v ./internal/explore ./internal/wait
	CGO_ENABLED=0 go test -count=1 -tags explore -run '^TestExplore' -v -timeout 3h ./internal/ring -args -all

# ARGS="-only 'semaphore'" for some.
mutants:
	go build -o bin/mutants ./test/mutants && bin/mutants $(ARGS)

test-root:
	@[ "$$(id -u)" = 0 ] || { echo "make test-root needs root" >&2; exit 1; }
	go build -o bin/report ./test/report
	CGO_ENABLED=0 go test -count=1 -json -tags root -run '^TestRoot' $(PACKAGES) | bin/report

# Those of the build tag root too: all that is there is the tests'. What is left out reads the
# source, which is not there.
LINUX_61 := ./internal/sys ./internal/wait ./internal/life ./internal/region ./internal/memory ./internal/ring ./mmap ./segment ./shmsync ./internal/meet . ./pubsub ./inspect
LINUX_61_SKIP := ^Test(GuaranteesNameTheirTests|SeedRowsNameTheirTests|Readme.*|Layers.*|Surface.*|ConstantsSayTheirNumbers)$$

# ARGS='-kernel FILE' for another kernel. Where the processor is emulated, because /dev/kvm is
# missing or the processor has no such means, all is many times as slow.
test-linux-6.1:
	./test/boot/install-deps bin/linux-6.1/vmlinuz
	go build -o bin/report ./test/report && CGO_ENABLED=0 go build -o bin/boot ./test/boot
	bin/boot -kernel bin/linux-6.1/vmlinuz -skip '$(LINUX_61_SKIP)' $(ARGS) $(LINUX_61) | bin/report \
		-not-run 'tests that compare with the source or the documentation, which are not in the machine' \
		-not-run 'packages of the tools, the campaigns and the scripts: make test has them'

# What npm installs is pinned: testdata/package.json.
MCAP := cmd/memlane/internal/mcap
test-mcap:
	@command -v npm >/dev/null || { echo "make test-mcap needs Node and npm (apt-get install nodejs npm)" >&2; exit 1; }
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cp $(MCAP)/testdata/package.json "$$dir" && \
		(cd "$$dir" && npm install --no-audit --no-fund --loglevel error) && \
		CGO_ENABLED=0 go test -count=1 -v -tags npm -run '^TestNPM' ./cmd/memlane ./$(MCAP) -args -npm "$$dir"

# ARGS='-cycles 2000' for more; results add up in docs/PROOF.md.
prove-msync:
	./test/prove/msync/install-deps
	go build -o bin/prove-msync ./test/prove/msync && bin/prove-msync $(ARGS)

# ARGS='-kills 100000' for more; results add up in docs/PROOF.md.
prove-locks:
	go build -o bin/prove-locks ./test/prove/locks && bin/prove-locks $(ARGS)

# ARGS='-kills 100000' for more; results add up in docs/PROOF.md.
prove-topics:
	go build -o bin/prove-topics ./test/prove/topics && bin/prove-topics $(ARGS)

# ARGS='-kills 9000' for more, '-processes 1000 -participants 1' for as many processes; results
# add up in docs/PROOF.md.
prove-churn:
	go build -o bin/prove-churn ./test/prove/churn && bin/prove-churn $(ARGS)

# ARGS='-rounds 100000000' for more, "-only 'SB'" for some; results add up in docs/PROOF.md.
prove-litmus:
	go build -o bin/prove-litmus ./test/prove/litmus && bin/prove-litmus $(ARGS)

# ARGS='-executions 1000000000' for more; results add up in docs/PROOF.md.
prove-fuzz:
	go build -o bin/prove-fuzz ./test/prove/fuzz && bin/prove-fuzz $(ARGS)

# ARGS='-walks 1000000' for more; results add up in docs/PROOF.md.
prove-explore:
	go build -o bin/prove-explore ./test/prove/explore && bin/prove-explore $(ARGS)

# ARGS='-duration 1h' for more; results add up in docs/PROOF.md.
prove-hostile:
	go build -o bin/prove-hostile ./test/prove/hostile && bin/prove-hostile $(ARGS)

# ARGS="-only 'mutex'" for some, '-loops 0' for every round of every loop; results add up in
# docs/PROOF.md.
prove-step:
	go build -o bin/prove-step ./test/prove/everystep && bin/prove-step $(ARGS)

# Figures add up in docs/PROOF.md, but for those of the explorer and the mutants.
prove:
	CGO_ENABLED=0 go test -count=1 -tags explore -run '^TestExplore' $(EXPLORED)
	$(MAKE) models
	$(MAKE) mutants
	$(MAKE) prove-step ARGS='-every 20'
	$(MAKE) prove-message ARGS='-every 20'
	$(MAKE) prove-joins ARGS='-every 5'
	$(MAKE) prove-locks ARGS='-kills 10000'
	$(MAKE) prove-topics ARGS='-kills 20000'
	$(MAKE) prove-churn ARGS='-kills 300'
	$(MAKE) prove-litmus ARGS='-rounds 10000000'
	CGO_ENABLED=0 go test -count=1 -run Topic ./test/history -args -topics 1000
	$(MAKE) prove-hostile ARGS='-duration 5m'
	$(MAKE) prove-fuzz ARGS='-executions 100000000'
	$(MAKE) prove-explore ARGS='-walks 20000'

# The same of topics.
prove-message:
	go build -o bin/prove-message ./test/prove/everymessage && bin/prove-message $(ARGS)

# At every store and every system call from joining to leaving.
prove-joins:
	go build -tags stores -o bin/prove-joins ./test/prove/joins && bin/prove-joins $(ARGS)

# ARGS="-only 'mutex: mutant'" for some, -trail for the steps to what was found; the
# verdicts go into docs/PROOF.md.
models:
	./test/prove/models/install-deps
	go build -o bin/models ./test/prove/models && bin/models $(ARGS)

# ARGS='-quick', '-json', "-only 'handoff/same'"; docs/PERFORMANCE.md has what came of it.
bench-sync:
	go build -o bin/bench-sync ./bench/sync && bin/bench-sync $(ARGS)

# ARGS='-quick', "-only 'dead|mesh'"; docs/LIMITS.md has what came of it.
bench-joins:
	go build -o bin/bench-joins ./bench/joins && bin/bench-joins $(ARGS)

# ARGS='--rounds 9', '-o json'. For one part: bin/memlane bench latency.
bench: build
	for part in latency throughput fanout park observed; do bin/memlane bench $$part $(ARGS) || exit 1; done
	bin/memlane bench compare

# ARGS='-quick', '-json', "-only 'latency/40'"; what cannot be installed is reported as missing.
bench-peers:
	./bench/peers/install-deps
	go build -o bin/bench-peers ./bench/peers && bin/bench-peers $(ARGS)

# qemu-user (package qemu-user) has no set_robust_list(2), so that nobody is a member of a
# file's table: of locks those on the heap are left. Nor has it ptrace(2), seccomp(2),
# futex_waitv(2), mseal(2), cachestat(2), namespaces in clone(2), most of madvise(2), the
# address in SIGBUS, MAP_FIXED_NOREPLACE, duplicating by mremap(2), a forked child that
# runs Go, an end to descriptors that are cut off a message, and in /proc/self/stat the
# time when the process started, but when the thread did. Of what needs one of these, or
# another user, who cannot search the folder that the test binary is in, nothing runs; of
# the rest all.
ARM64_MOST := ./internal/word ./internal/layout ./internal/region ./internal/memory ./internal/domain ./internal/observe ./internal/sys ./internal/wait ./internal/ring ./internal/meet ./segment ./pubsub ./inspect
ARM64_SKIP := ^(TestFaultsElsewhere.*|TestParkAnyAllocates|TestSandboxWithoutFutexWaitv|TestKilledAtEvery.*|TestCleaner(Killed|Stopped).*|TestNameNeverRefuses|TestForkedChild|TestSealedAgainst.*|TestSendAndReceive|TestReceiveRefuses|TestCreateAttachRemove|TestCreatorKilled.*|TestKillsFind.*|TestFullTmpfs|TestForkAndPinFlags|TestPrefault|TestMapping(Publisher|Subscriber)|TestAcrossNamespaces|TestContainers|TestOldKernel|TestWithoutProc|TestAsNobody|.*Architectures.*)$$|TestHostilePeer/253|TestHostilePidfd/200
ARM64_MMAP := ^(TestAnyOffset|TestCloseAmongCalls|TestExactlyOneOfAsync.*|TestFileKeeps.*|TestHugePagesReport.*|TestInvalidateOnly.*|TestMappingOutlives.*|TestPrivateChanges.*|TestProtectionsAre.*|TestRanges|TestReaderAtWriterAt|TestReserve|TestStoreIsSeen.*|TestTruncateGives.*|TestTwoProcesses.*|TestTypedViews.*|TestViewHolds.*|ExampleAt|ExampleMap)$$
ARM64_HEAP := ^(TestHeap.*|TestPlaceTaken.*|TestConstants.*|TestWrap|Example|ExampleOpen)$$
EMULATED := MEMLANE_TEST_EMULATOR=qemu-aarch64 GOARCH=arm64 CGO_ENABLED=0 go test -count=1 -exec qemu-aarch64

# Last, processes of both architectures that share memory: the test is this machine's.
test-arm64:
	$(EMULATED) -skip '$(ARM64_SKIP)' $(ARM64_MOST)
	$(EMULATED) -run '$(ARM64_MMAP)' ./mmap
	$(EMULATED) -run '$(ARM64_HEAP)' ./internal/life ./shmsync .
	go test -count=1 -run Architectures ./internal/region ./internal/wait ./pubsub
	$(EMULATED) ./test/prove/litmus -args -exec qemu-aarch64

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted" >&2; exit 1; }
	cd tools && go build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	for m in $(MODULES); do (cd $$m && go vet -tags root ./... && go vet -tags explore ./... && go vet -tags stores ./... && go vet -tags npm ./... && GOARCH=arm64 CGO_ENABLED=0 go vet ./... && $(CURDIR)/bin/staticcheck -tags root ./...) || exit 1; done

rename:
	@[ -n "$(TO)" ] || { echo "usage: make rename TO=example.com/name" >&2; exit 1; }
	from=$$(sed -n 's/^module //p' go.mod) && \
		git grep -lF "$$from" | xargs sed -i "s|$$from|$(TO)|g"
	gofmt -w $$(git ls-files '*.go')
