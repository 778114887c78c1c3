# moxie: one file, no recursion into rooms. `make help` lists the targets.
#
# Objects go to build/<config>/, where <config> is static (the default), dynamic, san or fuzz,
# followed by the compiler's name when that is not gcc; so configurations never mix. All objects
# but main.o form libmoxie.a; the program and the test programs link it.

PREFIX  := /usr/local
DESTDIR :=
CFLAGS  := -g

ifeq ($(origin CC),default)
CC := gcc
endif

# ---- configuration -------------------------------------------------------------------------------

CONFIG := static
LINK   := -static
PROG   := moxie
ifdef DYNAMIC
CONFIG := dynamic
LINK   :=
endif
ifdef SAN
CONFIG := san
LINK   :=
CODE   := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ifdef LIBFUZZER
CONFIG := fuzz
LINK   :=
CODE   := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
endif
ifneq ($(notdir $(firstword $(CC))),gcc)
CONFIG := $(CONFIG)-$(notdir $(firstword $(CC)))
endif
BUILD := build/$(CONFIG)
ifdef SAN
PROG := $(BUILD)/moxie
endif
ifdef WERROR
CODE += -Werror
endif

ARCH := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
DEFINES := -D_GNU_SOURCE -I. -Isrc
LIBS    := -lpcre2-8 -lutf8proc -ljansson -lz -ledit -ltinfo -lbsd -lmd -pthread -lm
COMPILE  = $(CC) -std=c11 $(OPT) $(CFLAGS) $(WARN) $(CODE) $(DEFINES) $(ISA) -pthread \
           -ffile-prefix-map=$(CURDIR)=. -MMD -MP

# One short line for each command; V=1 shows the command itself.
say = $(if $(V),,@printf '  %-4s %s\n' $1 $2;)

# ---- sources -------------------------------------------------------------------------------------

SRC  := $(sort $(wildcard src/*.c src/*/*.c src/kern/*/*.c models/*.c models/demo/*.S quant/*.c \
                          offload/*.c net/*.c))
OBJ  := $(addprefix $(BUILD)/,$(addsuffix .o,$(basename $(SRC))))
MAIN := $(BUILD)/src/main.o
LIB  := $(BUILD)/libmoxie.a

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $1))

TIDY   := $(BUILD)/tools/tidy
MESSAGES := $(BUILD)/tools/messages
GOLDEN := $(BUILD)/tests/check_golden
UNIT   := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
FUZZ   := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
KERN   := $(patsubst %,$(BUILD)/tests/check_kern,$(firstword $(wildcard tests/kern/*.c)))
SHELL_TESTS := $(wildcard tests/cli/test_*.sh tests/fault/test_*.sh)

# The kernels and what they stand on need no package: this much is cross-compiled by check-arm.
KERN_LIB := $(filter $(addprefix $(BUILD)/,src/base/% src/tensor/% src/kern/% quant/%),$(OBJ))

# ---- flags by file -------------------------------------------------------------------------------

OPT := -O2
$(BUILD)/src/kern/% $(BUILD)/src/backend/% $(BUILD)/src/base/membw%: OPT := -O3

# Only these files may use instructions beyond the baseline; they run after cpu.c has seen them.
ifeq ($(ARCH),x86_64)
AVX2   := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
$(BUILD)/src/kern/x86/kern_sse%: ISA := -mssse3 -msse4.1
$(BUILD)/src/kern/x86/kern_avx2%: ISA := $(AVX2)
$(BUILD)/src/kern/x86/kern_avx512%: ISA := $(AVX512)
$(BUILD)/src/kern/x86/kern_vnni%: ISA := $(AVX512) -mavx512vnni
endif
ifeq ($(ARCH),aarch64)
# Loads that gcc moves ahead fill the registers, and sums go to the stack.
$(BUILD)/src/kern/arm/%: OPT += $(if $(findstring clang,$(CC)),,-fno-schedule-insns)
$(BUILD)/src/kern/arm/kern_dotprod%: ISA := -march=armv8.2-a+dotprod
$(BUILD)/src/kern/arm/kern_i8mm%: ISA := -march=armv8.2-a+dotprod+i8mm
endif
# The scalar truth is not contracted: the same bits from every compiler.
$(BUILD)/src/kern/kern_ref% $(BUILD)/src/kern/dequant_ref%: ISA := -ffp-contract=off

# ---- the program ---------------------------------------------------------------------------------

.DEFAULT_GOAL := all
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all demo install uninstall check check-san check-kern check-arm check-real check-chroot \
        tidy fuzz fuzz-run help clean

all: $(PROG) ## build ./moxie, one static file (DYNAMIC=1 shared, SAN=1 sanitizers, CC=clang)

$(BUILD)/moxie: $(MAIN) $(LIB)
	$(call say,LINK,$@)$(CC) $(CODE) $(LINK) -o $@ $(MAIN) $(LIB) $(LIBS)

ifndef SAN # ./moxie is a copy that changes when the configuration does
.PHONY: moxie
moxie: $(BUILD)/moxie
	@cmp -s $< $@ || { cp $< $@.new && mv $@.new $@; }
endif

$(LIB): $(filter-out $(MAIN),$(OBJ))
	@rm -f $@
	$(call say,AR,$@)$(AR) rcsD $@ $^

DEPS := $(BUILD)/deps-build.ok
$(BUILD)/deps-%.ok: tools/deps.sh
	@mkdir -p $(@D)
	@CC="$(CC)" LINK="$(LINK)" sh tools/deps.sh --test $*
	@touch $@

$(BUILD)/%.o: %.c Makefile | $(DEPS)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE) -c -o $@ $<

$(BUILD)/%.o: %.S Makefile | $(DEPS)
	@mkdir -p $(@D)
	$(call say,AS,$<)$(CC) -I. -MMD -MP -c -o $@ $<

$(BUILD)/models/demo/demo.o: models/demo/tinymoe-q8_0.gguf

# The program writes its manual page and the scripts that complete its words.
MADE := $(addprefix $(BUILD)/share/,moxie.1 moxie.bash moxie.zsh moxie.fish)
$(BUILD)/share/moxie.%: $(BUILD)/moxie
	@mkdir -p $(@D)
	$(call say,MAKE,$@)$< $(if $(filter 1,$*),man,completion $*) >$@

BIN   = $(DESTDIR)$(PREFIX)/bin/moxie
SHARE = $(DESTDIR)$(PREFIX)/share
MAN   = $(SHARE)/man/man1/moxie.1
BASH  = $(SHARE)/bash-completion/completions/moxie
ZSH   = $(SHARE)/zsh/site-functions/_moxie
FISH  = $(SHARE)/fish/vendor_completions.d/moxie.fish
DOC   = $(SHARE)/doc/moxie

install: $(PROG) $(MADE) ## install below PREFIX=/usr/local: program, manual page, docs, completions
	install -D -m 755 $(PROG) $(BIN)
	install -D -m 644 $(BUILD)/share/moxie.1 $(MAN)
	install -D -m 644 $(BUILD)/share/moxie.bash $(BASH)
	install -D -m 644 $(BUILD)/share/moxie.zsh $(ZSH)
	install -D -m 644 $(BUILD)/share/moxie.fish $(FISH)
	install -D -m 644 -t $(DOC) $(wildcard docs/*.md)

uninstall: ## remove what install has put there
	rm -f $(BIN) $(MAN) $(BASH) $(ZSH) $(FISH) $(patsubst docs/%,$(DOC)/%,$(wildcard docs/*.md))
	[ ! -d $(DOC) ] || rmdir --ignore-fail-on-non-empty $(DOC)

demo: $(PROG) ## build, then write a story with the embedded model
	@./$(PROG) run --seed 1 --temp 0.5 -n 200 -p "Once upon a time, there was a little dog who"
	@echo

# ---- tests ---------------------------------------------------------------------------------------

LINK_TEST = $(call say,LINK,$@)mkdir -p $(@D) && \
            $(CC) $(CODE) $(TEST_LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^)

$(UNIT): $(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(LIB)
	$(LINK_TEST) -lcmocka $(LIBS)
$(call objects,tests/unit/*.c): | $(BUILD)/deps-check.ok

$(BUILD)/tests/test_session $(BUILD)/tests/test_crew $(BUILD)/tests/test_stdio: \
    $(BUILD)/tests/golden/seed_model.o

$(FUZZ): $(BUILD)/tests/%: $(BUILD)/tests/fuzz/%.o $(LIB)
	$(LINK_TEST) $(LIBS)
ifdef LIBFUZZER
$(FUZZ): TEST_LINK := -fsanitize=fuzzer
else
$(FUZZ): $(BUILD)/tests/fuzz/driver.o
endif

$(KERN): $(call objects,tests/kern/*.c) $(KERN_LIB)
	$(LINK_TEST) -pthread -lm

$(GOLDEN): $(call objects,tests/golden/*.c)
	$(LINK_TEST) -ljansson -lm

$(TIDY) $(MESSAGES): %: %.o
	$(LINK_TEST)

# What `check` runs, two at a time; the longest come first.
JOBS := "$(GOLDEN) tests/golden" "$(GOLDEN) ../shared/golden" $(SHELL_TESTS:%="sh %") $(KERN) \
        $(UNIT) $(foreach t,$(FUZZ),"$t tests/fuzz/corpus/$(patsubst fuzz_%,%,$(notdir $t))") \
        $(TIDY) "sh tests/tidy_selftest.sh $(TIDY)" "sh tools/check_headers.sh" \
        "$(MESSAGES) docs/TROUBLESHOOTING.md src models quant offload net" \
        "sh tests/messages_selftest.sh $(MESSAGES)"

TESTS := $(GOLDEN) $(TIDY) $(MESSAGES) $(UNIT) $(FUZZ) $(KERN)
check: $(PROG) $(TESTS) ## every test that needs no real model; the last line is the count
	@MOXIE=./$(PROG) CC="$(CC)" sh tools/run_tests.sh $(BUILD)/log $(JOBS)

check-san: ## the same under AddressSanitizer and UndefinedBehaviorSanitizer
	@TEST_SECONDS=1200 $(MAKE) --no-print-directory SAN=1 check

check-kern: $(KERN) ## this CPU's kernels against the reference, in full
	$(EMULATOR) $(KERN)

ARM  := aarch64-linux-gnu
QEMU := qemu-aarch64-static
check-arm: ## the ARM kernels, cross-compiled and run by qemu
	@if command -v $(ARM)-gcc >/dev/null && command -v $(QEMU) >/dev/null; then \
	    for cpu in cortex-a53 cortex-a76 max; do \
	        $(MAKE) --no-print-directory CC=$(ARM)-gcc DEPS= TEST_LINK=-static \
	            EMULATOR="$(QEMU) -cpu $$cpu" check-kern || exit 1; \
	    done; \
	else \
	    echo "1..0 # SKIP needs the packages gcc-aarch64-linux-gnu and qemu-user-static"; \
	fi

check-real: $(PROG) ## two real models: fetched, ids and perplexities compared
	@MOXIE=./$(PROG) sh tests/real.sh

check-chroot: ## a fresh Debian 12 and the two commands of the README (root, debootstrap)
	@sh tests/check_chroot.sh

tidy: $(TIDY) ## style, include law, lengths
	@$(TIDY)

FUZZ_SECONDS := 60
fuzz: ## hunt with libFuzzer (clang), FUZZ_SECONDS=60 for each target
	@$(MAKE) --no-print-directory CC=clang LIBFUZZER=1 fuzz-run

fuzz-run: $(FUZZ)
	@for t in $(FUZZ); do \
	    name=$${t##*/fuzz_} && found=$(BUILD)/corpus/$$name && mkdir -p $$found && \
	    $$t -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/$$name- $$found \
	        tests/fuzz/corpus/$$name || exit 1; \
	done

# ---- the rest ------------------------------------------------------------------------------------

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.* ## /\1\t/p' Makefile | expand -t 14

clean: ## remove everything that was built
	rm -rf build moxie

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d $(BUILD)/*/*/*/*.d)
