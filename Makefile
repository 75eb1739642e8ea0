# penstock -- `make help` lists the targets; docs/HACKING.md explains them
MODE    ?= release
B       := build/$(MODE)
# One name for one object, however the directory was given: what it depends on is noted under that name.
override B := $(patsubst $(CURDIR)/%,%,$(B))
PREFIX  ?= /usr/local
DESTDIR ?=
PEN_SECS ?= 2
export PEN_SECS

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all
# V=1 shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-7s %s\n' $(1) $(or $(2),$(patsubst $(CURDIR)/%,%,$@)))
.DELETE_ON_ERROR:

# ---- compilers and flags -------------------------------------------------------------------------
# Nothing here may need more than make and a C compiler: `make deps` installs the rest.
ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(MODE)),clang,cc)
endif
CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
ifeq ($(origin CXX),default)
CXX := $(if $(CLANG),clang++,g++)
endif
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)

# A variable whose shell command runs on first use, and once.
once = $(eval $(1) := $(shell $(2)))$($(1))
SIMDJSON_CFLAGS = $(call once,SIMDJSON_CFLAGS,pkg-config --cflags simdjson)
SIMDJSON_LIBS   = $(call once,SIMDJSON_LIBS,pkg-config --libs simdjson)

WARN_ALL := -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Werror
WARN_C   := $(WARN_ALL) -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wno-sign-conversion \
            -Werror=implicit-function-declaration
BASE     := -D_GNU_SOURCE -I. -g -fno-omit-frame-pointer -fPIC -fno-semantic-interposition -pthread
HARDEN   := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fno-strict-overflow \
            -fno-delete-null-pointer-checks -ftrivial-auto-var-init=$(if $(CLANG),pattern,zero) \
            $(if $(filter x86_64%,$(MACHINE)),-fcf-protection=full)
RELRO    := -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code

OPT_release := -O2 $(HARDEN)
OPT_debug   := -O0 -DPEN_DEBUG
OPT_asan    := -O1 -DPEN_DEBUG
OPT_tsan    := -O1 -DPEN_DEBUG
OPT_cov     := -O0 -DPEN_DEBUG
OPT_fuzz    := -O1 -DPEN_DEBUG
SAN_asan    := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN_tsan    := -fsanitize=thread
SAN_cov     := --coverage
SAN_fuzz    := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
ifeq ($(filter $(MODE),release debug asan tsan cov fuzz),)
$(error MODE=$(MODE): choose release, debug, asan, tsan, cov or fuzz)
endif

C_FLAGS  = -std=c17 $(BASE) $(WARN_C) $(OPT_$(MODE)) $(SAN_$(MODE)) $(CFLAGS) $(MORE)
CC_FLAGS = -std=c++17 $(BASE) $(WARN_ALL) $(OPT_$(MODE)) $(SAN_$(MODE)) $(SIMDJSON_CFLAGS) $(CXXFLAGS) $(MORE)
LD_FLAGS = $(SAN_$(MODE)) $(RELRO) -Wl,--as-needed -pthread $(LDFLAGS)
LIBS     = -lck -luring -llmdb -lxxhash -lisal -lzstd -larchive $(SIMDJSON_LIBS) -lcrypto -lstdc++ -ldl
# The full screen of `watch`; the command's alone.
SCREEN   = -lncursesw -ltinfo
# The allocator belongs to programs: a library that brings it cannot be loaded by a running process.
JEMALLOC_release := -Wl,--no-as-needed -ljemalloc -Wl,--as-needed

# ---- what there is -------------------------------------------------------------------------------
src       = $(sort $(wildcard $(foreach d,$(1),$(d)/*.c $(d)/*.cc)))
objects   = $(patsubst %,$(B)/%.o,$(basename $(1)))
with_main = $(shell grep -lE '^int main\b' $(1) /dev/null 2>/dev/null)
programs  = $(patsubst %,$(B)/%,$(basename $(1)))

RING_OBJ   := $(call objects,$(call src,ring))
STORE_OBJ  := $(call objects,$(call src,store))
ENGINE_OBJ := $(call objects,$(call src,engine engine/*))
LIB_OBJ    := $(RING_OBJ) $(STORE_OBJ) $(ENGINE_OBJ)
TOOLS_OBJ  := $(call objects,$(call src,tools))
TESTLIB_OBJ := $(call objects,$(call src,tests/lib))

STRESS_SRC  := $(call src,tests/stress)
BENCH_SRC   := $(call src,bench)
EXAMPLE_SRC := $(call src,docs/examples)
TORTURE_SRC := $(call src,tests/torture)
READERS_SRC := $(call src,tests/readers)
HOSTILE_SRC := $(call src,tests/hostile)
FUZZ_SRC    := $(filter-out tests/fuzz/replay.c,$(call src,tests/fuzz))

STRESS_MAIN  := $(call with_main,$(STRESS_SRC))
BENCH_MAIN   := $(call with_main,$(BENCH_SRC))
TORTURE_MAIN := $(filter-out %_preload.c,$(call with_main,$(TORTURE_SRC)))
TORTURE_SO   := $(patsubst %.c,$(B)/%.so,$(filter %_preload.c,$(TORTURE_SRC)))
STRESS   := $(call programs,$(STRESS_MAIN))
BENCH    := $(call programs,$(BENCH_MAIN))
TORTURE  := $(call programs,$(TORTURE_MAIN)) $(TORTURE_SO) $(B)/tests/torture/penstock_early $(B)/tests/torture/penstock_charge
READERS  := $(call programs,$(READERS_SRC))
HOSTILE  := $(call programs,$(HOSTILE_SRC))
READER_FILES := tools/readers/penstock_progress.py tools/readers/penstock_progress.mjs
EXAMPLES := $(call programs,$(filter-out %_plugin.c,$(EXAMPLE_SRC)))
PLUGINS  := $(patsubst %.c,$(B)/%.so,$(filter %_plugin.c,$(EXAMPLE_SRC)))
FUZZERS  := $(call programs,$(FUZZ_SRC))
# Files beside the programs that have no main of their own are linked into each of them.
STRESS_OBJ  := $(call objects,$(filter-out $(STRESS_MAIN),$(STRESS_SRC)))
BENCH_OBJ   := $(call objects,$(filter-out $(BENCH_MAIN),$(BENCH_SRC)))
TORTURE_OBJ := $(call objects,$(filter-out $(TORTURE_MAIN) %_preload.c,$(TORTURE_SRC)))

rooms_with_tests := $(foreach r,ring store engine tools,$(if $(call src,tests/$(r)),$(r)))
# Criterion does not start under the race checker.
UNITS    := $(if $(filter tsan,$(MODE)),,$(foreach r,$(rooms_with_tests),$(B)/unit-$(r)))
BINARY   := $(if $(call with_main,$(call src,tools)),$(B)/penstock)
LIBRARY  := $(if $(LIB_OBJ),$(B)/libpenstock.a $(B)/libpenstock.so)
HEADERS  := $(sort $(wildcard include/*.h ring/*.h store/*.h engine/*.h engine/*/*.h tools/*.h bench/*.h))

VERSION = $(shell sed -nE 's/^.define PEN_VERSION "(.*)"/\1/p' include/penstock.h)
# What was said on the command line, for a script that calls make itself.
given = $(foreach v,B CC CXX CFLAGS CXXFLAGS LDFLAGS,$(if $(filter command,$(firstword $(origin $(v)))),'$(v)=$($(v))'))
# Another mode, beside this one.
in_mode = $(MAKE) MODE=$(1) B=$(if $(filter command,$(firstword $(origin B))),$(B)/$(1),build/$(1))

# ---- targets -------------------------------------------------------------------------------------
all: $(BINARY) $(LIBRARY) ## build command and libraries (MODE=release|debug|asan|tsan, B=DIR, V=1 shows commands)

deps: ## install the Debian packages that are missing (apt-get, as root or with sudo)
	@tools/dev/deps.sh build
demo: deps ## fresh machine to a filled store: build, ingest real input, show status, read a record back
	@$(MAKE) --no-print-directory all
	@tools/dev/demo.sh $(B)/penstock $(B)/demo
test: deps ## everything that must hold: units, commands, examples, rules; again under ASan+UBSan; races under TSan
	@tests/run $(given)

unit: $(UNITS) ## build and run the unit tests of every room (also: unit-ring, unit-store, unit-engine, unit-tools)
	@set -e; for u in $(UNITS); do echo "== $$u"; $$u; done
unit-ring unit-store unit-engine unit-tools: unit-%: $(B)/run-unit-%
$(B)/run-unit-%: FORCE
	@$(if $(filter $*,$(rooms_with_tests)),$(MAKE) --no-print-directory $(B)/unit-$* && $(B)/unit-$*,echo "tests/$*: no tests")
readers: $(READERS) $(BINARY) ## test the readers of the progress ring: C, Python, and Node where there is one
	@/usr/bin/python3 tests/readers/run.py $(B)
integration: $(BINARY) $(PLUGINS) ## run the tests of the command alone (tests/cli)
	@set -e; for t in run formats plan trees ring terminal watch processors export clean completion jobs jobs_edges queues flags limits views context metrics log bulk; do /usr/bin/python3 tests/cli/$$t.py $(B)/penstock; done
stress: $(STRESS) ## build and run the race programs (MODE=tsan for the race checker; PEN_SECS each)
	@set -e; for t in $(STRESS); do echo "== $$t"; rc=0; $$t || rc=$$?; \
	  case $$rc in 0) ;; 77) echo "skipped: $$t";; *) echo "FAIL $$rc $$t"; exit 1;; esac; done
models: ## the lock-free protocols through every interleaving, and mutations that must be noticed (tests/models)
	@tools/dev/deps.sh build
	@CXX='$(CXX)' tests/models/run.sh || [ $$? -eq 77 ]
torture: ## kill, cut, starve and refuse a real run, many times over (tests/torture)
	@tools/dev/deps.sh build torture
	@$(MAKE) --no-print-directory all torture-programs
	@$(if $(wildcard tests/torture/run.sh),B=$(B) PENSTOCK=$(B)/penstock tests/torture/run.sh $(B)/penstock,echo "tests/torture: no run.sh")
fuzz: ## feed each parser what libFuzzer comes up with, PEN_SECS each (needs clang)
	@tools/dev/deps.sh build lint
	@+$(call in_mode,fuzz) --no-print-directory fuzz-here
bench: ## measure: builds and runs bench/run.sh (release, quiet machine)
	@tools/dev/deps.sh build bench || echo "bench: what is missing will be skipped"
	@$(MAKE) --no-print-directory all bench-programs
	@$(if $(wildcard bench/run.sh),B=$(B) PENSTOCK=$(B)/penstock bench/run.sh,echo "bench: no run.sh")
bench-smoke: ## do the benchmarks run at all: smallest inputs, no numbers worth keeping
	@$(MAKE) --no-print-directory all bench-programs
	@$(if $(wildcard bench/run.sh),B=$(B) PENSTOCK=$(B)/penstock PEN_SMOKE=1 bench/run.sh --smoke,echo "bench: no run.sh")

tidy: ## house rules: headers stand alone, arrows, ordering pairs, bans, sizes, and a control for each
	@CC='$(CC)' CXX='$(CXX)' tools/dev/tidy.sh
lint: ## clang-format, clang-tidy, cppcheck
	@tools/dev/deps.sh build lint
	@tools/dev/lint.sh
format: ## let clang-format rewrite the sources
	@tools/dev/deps.sh lint
	@tools/dev/lint.sh --fix
cov: ## line coverage of the unit and command tests, a line a room
	@+$(call in_mode,cov) --no-print-directory cov-here
arm64-check: ## do the C rooms compile for aarch64 (needs the cross compiler; headers only)
	@tools/dev/arm64.sh

install: all ## install under DESTDIR/PREFIX: command, libraries, headers, penstock.pc, ring readers
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include \
	  $(DESTDIR)$(PREFIX)/share/penstock/readers
	install -m 755 $(B)/penstock $(DESTDIR)$(PREFIX)/bin/penstock
	install -m 644 $(B)/libpenstock.a $(DESTDIR)$(PREFIX)/lib/libpenstock.a
	install -m 755 $(B)/libpenstock.so.0 $(DESTDIR)$(PREFIX)/lib/libpenstock.so.0
	ln -sf libpenstock.so.0 $(DESTDIR)$(PREFIX)/lib/libpenstock.so
	install -m 644 include/penstock.h include/penstock_error.h include/penstock_progress.h \
	  include/penstock_plugin.h include/penstock_log.h $(DESTDIR)$(PREFIX)/include
	install -m 755 $(READER_FILES) $(DESTDIR)$(PREFIX)/share/penstock/readers
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' penstock.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/penstock.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/penstock.pc
uninstall: ## remove what install put there
	cd $(DESTDIR)$(PREFIX) && rm -f bin/penstock lib/libpenstock.a lib/libpenstock.so.0 lib/libpenstock.so \
	  lib/pkgconfig/penstock.pc include/penstock.h include/penstock_error.h include/penstock_progress.h include/penstock_plugin.h include/penstock_log.h \
	  $(addprefix share/penstock/readers/,$(notdir $(READER_FILES)))
	-rmdir $(DESTDIR)$(PREFIX)/share/penstock/readers $(DESTDIR)$(PREFIX)/share/penstock
clean: ## remove build/
	rm -rf build
help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## /\1\t/p' Makefile | expand -t14

examples: $(EXAMPLES) $(PLUGINS)
bench-programs: $(BENCH) $(HOSTILE)
torture-programs: $(TORTURE) $(READERS) $(B)/tests/stress/cast $(B)/tests/stress/cast_kill
reader-programs: $(READERS)
fuzz-programs: $(FUZZERS)
stress-programs: $(STRESS)
hostile-programs: $(HOSTILE)
test-programs: all $(UNITS) $(EXAMPLES) $(PLUGINS) $(FUZZERS) $(TORTURE) $(READERS) $(HOSTILE)
fuzz-here: $(FUZZERS)
	@tools/dev/fuzz.sh $(B) $(FUZZERS)
cov-here: $(UNITS) $(BINARY)
	@tools/dev/cov.sh $(B)
list-%:
	@echo $($*)
FORCE:
.PHONY: all deps demo test unit unit-ring unit-store unit-engine unit-tools integration stress models torture fuzz bench bench-smoke \
	tidy lint format cov arm64-check install uninstall clean help examples bench-programs torture-programs \
	readers reader-programs fuzz-programs stress-programs test-programs fuzz-here cov-here FORCE

# ---- rules ---------------------------------------------------------------------------------------
# Rewritten only when the flags change; every object depends on it.
FLAGS_NOW := $(CC) $(CXX) $(BASE) $(WARN_C) $(OPT_$(MODE)) $(SAN_$(MODE)) $(CFLAGS) $(CXXFLAGS) $(LDFLAGS)
$(B)/flags: FORCE
	@mkdir -p $(@D); echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' > $@

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(C_FLAGS) -MMD -MP -c -o $@ $<
$(B)/%.o: %.cc $(B)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(CC_FLAGS) -MMD -MP -c -o $@ $<

# The event count is inline assembly, which the race checker cannot see into.
$(B)/ring/park.o: SAN_tsan :=
$(B)/engine/simdjson.o: MORE := $(if $(filter release,$(MODE)),-O3)
# Criterion's and the benchmarks' macros mix widths on purpose.
$(B)/tests/%.o $(B)/bench/%.o: MORE := -Wno-conversion
# An example sees what a user sees.
$(B)/docs/examples/%.o: BASE := -D_GNU_SOURCE -Iinclude -g -fPIC -pthread

$(B)/libring.a: $(RING_OBJ)
$(B)/libstore.a: $(STORE_OBJ)
$(B)/libengine.a: $(ENGINE_OBJ)
$(B)/libpenstock.a: $(LIB_OBJ)
$(B)/lib%.a:
	$(call say,AR)
	$(Q)rm -f $@; mkdir -p $(@D); ar rcs $@ $^

$(B)/exports.map: include/penstock.h tools/dev/exports.sh
	@mkdir -p $(@D)
	@CC='$(CC)' tools/dev/exports.sh $< > $@
$(B)/libpenstock.so.0: $(LIB_OBJ) $(B)/exports.map
	$(call say,LINK)
	$(Q)$(CXX) -shared $(LD_FLAGS) -Wl,-soname,libpenstock.so.0 -Wl,--version-script=$(B)/exports.map \
	  $(if $(SAN_$(MODE)),,-Xlinker -zdefs) -o $@ $(LIB_OBJ) $(LIBS)
$(B)/libpenstock.so: $(B)/libpenstock.so.0
	@ln -sf libpenstock.so.0 $@

program = $(CXX) -pie $(LD_FLAGS) -o $@ $(filter %.o %.a,$^)
$(B)/penstock: $(TOOLS_OBJ) $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) $(JEMALLOC_$(MODE)) $(LIBS) $(SCREEN)

unit_objects = $(call objects,$(call src,tests/$(1))) $(TESTLIB_OBJ)
$(B)/unit-ring: $(call unit_objects,ring) $(B)/libring.a
$(B)/unit-store: $(call unit_objects,store) $(B)/libstore.a $(B)/libring.a
$(B)/unit-engine: $(call unit_objects,engine) $(B)/libengine.a $(B)/libstore.a $(B)/libring.a
$(B)/unit-tools: $(call unit_objects,tools) $(filter-out $(B)/tools/penstock.o,$(TOOLS_OBJ)) $(B)/libpenstock.a
$(B)/unit-ring $(B)/unit-store $(B)/unit-engine $(B)/unit-tools:
	$(call say,LINK)
	$(Q)$(program) -lcriterion $(LIBS) $(if $(filter %unit-tools,$@),$(SCREEN))

$(STRESS): %: %.o $(STRESS_OBJ) $(TESTLIB_OBJ) $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) $(LIBS)
$(BENCH): %: %.o $(BENCH_OBJ) $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) $(JEMALLOC_$(MODE)) $(LIBS)
$(READERS) $(HOSTILE): %: %.o $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) $(LIBS)
$(EXAMPLES): %: %.o $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) $(LIBS)
$(call programs,$(TORTURE_MAIN)): %: %.o $(TORTURE_OBJ) $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) -lseccomp $(LIBS)
# A plugin is linked with nothing of ours, as a user's is.
$(PLUGINS): %.so: %.o
	$(call say,LINK)
	$(Q)$(CC) -shared $(SAN_$(MODE)) -o $@ $<
$(TORTURE_SO): %.so: %.o
	$(call say,LINK)
	$(Q)$(CC) -shared -pthread -o $@ $< -ldl
# The command with a planted bug, which the suites `jobs` and `storm` must notice: a chunk passes before its results; what
# was no try is charged as one.
$(B)/tests/torture/planted_early.o: engine/foreman.c
$(B)/tests/torture/planted_early.o: MORE := -DPEN_PLANT_EARLY_PASS
$(B)/tests/torture/planted_charge.o: engine/errand.c
$(B)/tests/torture/planted_charge.o: MORE := -DPEN_PLANT_CHARGE
$(B)/tests/torture/planted_early.o $(B)/tests/torture/planted_charge.o: $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$(filter %.c,$^))
	$(Q)$(CC) $(C_FLAGS) -MMD -MP -c -o $@ $(firstword $(filter %.c,$^))
$(B)/tests/torture/penstock_%: $(TOOLS_OBJ) $(B)/tests/torture/planted_%.o $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) $(JEMALLOC_$(MODE)) $(LIBS) $(SCREEN)
# Its other opinion.
$(B)/tests/fuzz/fuzz_unpack: LIBS += -lz
$(FUZZERS): %: %.o $(if $(filter fuzz,$(MODE)),,$(B)/tests/fuzz/replay.o) $(B)/libpenstock.a
	$(call say,LINK)
	$(Q)$(program) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) $(LIBS)

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
