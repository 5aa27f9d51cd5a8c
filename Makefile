# The doors of this project: `make help` lists them. The work is done by cargo and the scripts of lab/.
PREFIX  ?= /usr/local
PORT    ?= 4787
TARGET  := $(or $(CARGO_TARGET_DIR),target)
export PORT SKIP
# so that a toolchain is found where the environment is empty
export PATH := $(or $(PATH),/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin):$(or $(HOME),/root)/.cargo/bin

.PHONY: help run demo test test-unit test-kernel bench fmt lint build openapi install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

run: ## ipvsd on this machine's kernel if that has IPVS, else in the lab (PORT=4787)
	@lab/run

demo: ## ipvsd in the lab with real servers and traffic, whatever the kernel here has
	@lab/run demo

test: ## everything: lints, host tests, real kernels, outside conformance (SKIP=kernel,conformance,...)
	@lab/test

test-unit: ## the tests that need no kernel and no root
	cargo test --locked

test-kernel: ## the kernel tests on every kernel of the lab
	@SKIP=fmt,lint,lab,host,conformance lab/test

bench: ## measures everything, writes docs/benchmarks.md (ONLY=uml,tcg,transport,memory,micro)
	@lab/bench

fmt: ## formats the sources
	cargo fmt

lint: ## what CI refuses: format, clippy, shellcheck
	@SKIP=lab,host,kernel,conformance lab/test

# A command of ipvsctl is a process: to load libraries and to relocate takes longer than all it does.
build: ## the release binaries, in target/release
	cargo build --release --locked --bin ipvsd
	cargo rustc --release --locked --bin ipvsctl -- -C target-feature=+crt-static -C relocation-model=static

openapi: ## writes openapi/ anew from the code
	mkdir -p openapi
	for f in json yaml; do \
	    cargo run --locked --quiet --bin ipvsd -- openapi --format $$f >openapi/new && \
	    mv openapi/new openapi/ipvsd.v1.$$f || { rm openapi/new; exit 1; }; \
	done

install: build ## the binaries, manual page and completions into $(DESTDIR)$(PREFIX)
	install -D -m 755 $(TARGET)/release/ipvsd $(DESTDIR)$(PREFIX)/sbin/ipvsd
	install -D -m 755 $(TARGET)/release/ipvsctl $(DESTDIR)$(PREFIX)/bin/ipvsctl
	$(TARGET)/release/ipvsctl man >$(TARGET)/ipvsctl.1
	$(TARGET)/release/ipvsctl completion bash >$(TARGET)/ipvsctl.bash
	$(TARGET)/release/ipvsctl completion zsh >$(TARGET)/ipvsctl.zsh
	$(TARGET)/release/ipvsctl completion fish >$(TARGET)/ipvsctl.fish
	install -D -m 644 $(TARGET)/ipvsctl.1 $(DESTDIR)$(PREFIX)/share/man/man1/ipvsctl.1
	install -D -m 644 $(TARGET)/ipvsctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ipvsctl
	install -D -m 644 $(TARGET)/ipvsctl.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ipvsctl
	install -D -m 644 $(TARGET)/ipvsctl.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ipvsctl.fish

clean: ## removes what was built and fetched
	cargo clean
	rm -rf .cache
