# Builds and installs bulkhead. The work is done by hack/build.sh and hack/manual.sh.
#
#   make                            build the program, the man pages and the completions
#   sudo make install               install them below /usr/local
#   sudo make uninstall             remove what install has written
#   make test                       run every check and test (hack/test.sh)
#   make release                    build the release files in target/release-files (hack/release.sh)
#
# PREFIX is where the program will be used, DESTDIR is a directory to put in front of it while a
# package is being built: make install PREFIX=/usr DESTDIR=/tmp/package

PREFIX ?= /usr/local
DESTDIR ?=

bindir ?= $(PREFIX)/bin
sbindir ?= $(PREFIX)/sbin
datadir ?= $(PREFIX)/share
mandir ?= $(datadir)/man
docdir ?= $(datadir)/doc/bulkhead
bashdir ?= $(datadir)/bash-completion/completions
zshdir ?= $(datadir)/zsh/site-functions
fishdir ?= $(datadir)/fish/vendor_completions.d
profiledir ?= $(datadir)/bulkhead/seccomp-profiles

# What is built: the programs of packaging/programs, and their manual. With other values, install takes
# directories that exist already.
built := $(or $(CARGO_TARGET_DIR),target)/install
PROGRAMS ?= $(built)/programs
MANUAL ?= $(built)/manual
# NAME:DIRECTORY for each program; the directory is bin or sbin.
programs := $(shell sed -n 's|^\([^\#][^ ]*\) \([^ ]*\).*|\1:\2|p' packaging/programs)
name = $(firstword $(subst :, ,$1))
place = $(DESTDIR)$($(lastword $(subst :, ,$1))dir)/$(call name,$1)

INSTALL ?= install
# With their directories, so that the links between the pages resolve. The directory that integration/README.md
# links to as config is a link to the examples.
documents := README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md LICENSE SECURITY.md \
	$(wildcard docs/*.md docs/*.svg docs/*.json) examples/run.rs fuzz/README.md integration/README.md \
	seccomp-profiles/README.md
documentdirs := $(patsubst %/,$(docdir)/%,$(sort $(filter-out ./,$(dir $(documents)))))
profiles := $(wildcard seccomp-profiles/*.json)
examples := $(wildcard integration/config/*)
sources := $(shell find src hack/manual hack/build.ld hack/build.sh hack/lib.sh hack/manual.rs hack/manual.sh \
	packaging/programs Cargo.toml Cargo.lock -type f)

.PHONY: all install uninstall test release clean

all: $(built)/programs $(built)/manual

$(built)/programs: $(sources)
	@mkdir -p $@
	@set -e; for program in $(foreach each,$(programs),$(call name,$(each))); do \
		binary=$$(hack/build.sh "$$program" | tail -n 1); \
		cp "$$binary" $@; \
	done
	@touch $@

$(built)/manual: $(sources)
	hack/manual.sh $@
	@touch $@

install: $(PROGRAMS) $(MANUAL)
	$(INSTALL) -d $(addprefix $(DESTDIR),$(mandir)/man8 $(bashdir) $(zshdir) $(fishdir) \
		$(profiledir) $(documentdirs))
	$(foreach each,$(programs),$(INSTALL) -D -m 755 $(PROGRAMS)/$(call name,$(each)) $(call place,$(each)) &&) true
	$(INSTALL) -m 644 $(MANUAL)/man/*.8 $(DESTDIR)$(mandir)/man8
	$(INSTALL) -m 644 $(MANUAL)/completions/bulkhead.bash $(DESTDIR)$(bashdir)/bulkhead
	$(INSTALL) -m 644 $(MANUAL)/completions/_bulkhead $(DESTDIR)$(zshdir)/_bulkhead
	$(INSTALL) -m 644 $(MANUAL)/completions/bulkhead.fish $(DESTDIR)$(fishdir)/bulkhead.fish
	$(INSTALL) -m 644 $(profiles) $(DESTDIR)$(profiledir)
	$(foreach each,$(documents),$(INSTALL) -m 644 $(each) $(DESTDIR)$(docdir)/$(each) &&) true
	ln -sfn ../examples $(DESTDIR)$(docdir)/integration/config
	$(INSTALL) -m 644 $(examples) $(DESTDIR)$(docdir)/examples
	@# The examples name the program where it is now.
	cd $(DESTDIR)$(docdir)/examples && \
		sed -i 's|/usr/local/sbin/bulkhead|$(sbindir)/bulkhead|g' $(notdir $(examples))

uninstall:
	rm -f $(foreach each,$(programs),$(call place,$(each))) $(DESTDIR)$(mandir)/man8/bulkhead.8 \
		$(DESTDIR)$(mandir)/man8/bulkhead-*.8 $(DESTDIR)$(bashdir)/bulkhead \
		$(DESTDIR)$(zshdir)/_bulkhead $(DESTDIR)$(fishdir)/bulkhead.fish
	rm -f $(addprefix $(DESTDIR)$(profiledir)/,$(notdir $(profiles)))
	rm -f $(addprefix $(DESTDIR)$(docdir)/examples/,$(notdir $(examples)))
	rm -f $(addprefix $(DESTDIR)$(docdir)/,$(documents) integration/config)
	@# Those that install may have made; a directory that holds a file of somebody else stays.
	for directory in $(profiledir) $(datadir)/bulkhead $(documentdirs) $(docdir) $(mandir)/man8 \
		$(foreach each,$(docdir) $(bashdir) $(zshdir) $(fishdir),$(each) $(patsubst %/,%,$(dir $(each)))); do \
		[ ! -d "$(DESTDIR)$$directory" ] || \
			rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$directory"; \
	done

test:
	hack/test.sh

release:
	hack/release.sh $(or $(CARGO_TARGET_DIR),target)/release-files

clean:
	rm -rf $(built)
