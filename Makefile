# Entry points; `make help` lists them. cargo and the scripts of lab/ do the work.
PREFIX  ?= /usr/local
PORT    ?= 4787
TARGET  := $(or $(CARGO_TARGET_DIR),target)
export PORT SKIP TEST KERNEL SUITE PART CHECK ONLY WORKS ROUNDS LONG_ROUNDS SIZES OUT
# Finds the toolchain where the environment is empty.
export PATH := $(or $(PATH),/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin):$(or $(HOME),/root)/.cargo/bin
export RUSTUP_TOOLCHAIN := $(or $(RUSTUP_TOOLCHAIN),$(shell lab/toolchain))

.PHONY: help run demo test test-unit test-kernel test-boot bench fmt lint build build-static deb rpm tarball release image openapi install uninstall clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

run: ## ipvsd on the IPVS of this machine's kernel, else in the lab (PORT=4787)
	@lab/run

demo: ## ipvsd in the lab, with real servers and traffic (PORT=4787)
	@lab/run demo

test: ## everything: lint, tests on the host, on real kernels and on booted systems, packages, conformance, dashboard (SKIP=kernel,conformance)
	@lab/test

test-unit: ## the tests that need neither root nor a kernel with IPVS
	cargo test --locked --features kernel-tests --lib --test host

test-kernel: ## the tests on real kernels; one by TEST=suite::name KERNEL=installed,trixie,sid
	@lab/install build kernel tests
	@lab/test-kernel

test-boot: ## the package and docs/install.md on booted Debian 12 and 13 (SUITE=bookworm,trixie PART=package,document BINARIES=target/release)
	@lab/install build kernel packages boot
	@[ -n "$(BINARIES)" ] || cargo build --locked --bins
	@tests/boot $(BINARIES)

bench: ## measure everything, write docs/benchmarks.md (ONLY=uml,tcg,transport,memory,micro WORKS=fill,table,changes,apply,large,connections,contended)
	@lab/bench

fmt: ## format the sources
	cargo fmt

lint: ## all static checks of lab/lint (CHECK='clippy words' for some)
	@lab/install build lint
	@lab/lint $(CHECK)

build: ## build the release binaries, in target/release
	@lab/build

build-static: ## build release binaries that need no file of a system, in target/static
	@lab/build static

tarball: build-static ## the static programs in one file, into dist/
	@lab/tarball

deb: build ## make the package for Debian, in dist/
	@lab/install packages
	@lab/package deb "$(TARGET)/release"

rpm: build ## make the package for distributions with rpm, in dist/
	@lab/install packages
	@lab/package rpm "$(TARGET)/release"

release: ## build all packages, with checksums and bills of materials, into dist/
	@lab/install build release
	@lab/release

image: build-static ## the container image, into dist/ (docs/container.md)
	@SOURCE_DATE_EPOCH=$$(lab/version epoch) deploy/image "$(TARGET)/static" \
	    "dist/ipvsd-$$(lab/version)-image-amd64.tar" "$$(lab/version)" "$$(lab/version commit)" $$((16 << 20))

openapi: ## regenerate openapi/ from the code
	mkdir -p openapi
	for f in json yaml; do \
	    cargo run --locked --quiet --bin ipvsd -- openapi --format $$f >openapi/new && \
	    mv openapi/new openapi/ipvsd.v1.$$f || { rm openapi/new; exit 1; }; \
	done
	IPVSD_WRITE_OPENAPI=1 cargo test --locked --quiet --test host table_schema::the_committed_schema

install: build ## install programs, units, configuration, manual pages and completions into $(DESTDIR)$(PREFIX)
	deploy/install "$(TARGET)/release" "$(DESTDIR)" "$(PREFIX)"

uninstall: ## remove them from $(DESTDIR)$(PREFIX), but neither configuration nor state
	deploy/install --uninstall "$(DESTDIR)" "$(PREFIX)"

clean: ## remove everything that was built or fetched
	cargo clean
	rm -rf .cache dist web/node_modules
