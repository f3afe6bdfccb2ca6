# make quick  what can be judged at once: style, lints, unit tests, house rules; installs nothing
# make test   everything that must hold, as continuous integration runs it
# make demo   a Linux guest boots from a qcow2 of ours, under BIOS and under UEFI, before your eyes
# make lint   style, lints, documentation
# make fuzz   a minute of mutants, which is in `make test`, too
# make differential  files that no writer made, by the thousand, from another seed every day: GNU tar, bsdtar and qemu-img find in them what
#               we find, and Linux in the file systems what GNU tar extracts
# make nightly  what takes longer than anyone waits: more fuzzing, from another seed every day; guests on every bus and in every container;
#               what we release, built twice and run; the programs for other hosts, run; dependencies, judged by `cargo deny`
# make windows  the Windows program, run by Wine
# make dist   what we release, in target/dist: static programs with their documents, Debian packages, a container image
# make loaders  rebuilds the boot loaders into boot/prebuilt
# make bench  measures against other tools
# make setup  installs what all of these need; each of them installs its own part by itself

.PHONY: quick test demo lint fuzz differential nightly windows dist loaders bench setup
export PATH := $(CURDIR)/.cache/tools/bin:$(PATH):/usr/sbin:/sbin
export CARGO_TERM_COLOR ?= auto

# What we release, and so what is tested.
musl := x86_64-unknown-linux-musl
elsewhere := x86_64-pc-windows-gnu aarch64-apple-darwin
mutate := cargo run --locked --target $(musl) --package moby-formats-fuzz --bin mutate --

quick:
	cargo fmt --all --check
	cd boot && cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --lib --bins
	cargo test --locked --test all tidy::

# Most tests wait for other programs now and then, guests for each other. What they need is installed while our own code is looked at: the
# one waits for the network and the disk, the other computes.
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
test:
	@tests/setup.sh lint
	@tests/setup.sh test & $(MAKE) --no-print-directory lint; linted=$$?; wait $$! && exit $$linted
	boot/build --check
	cd boot && cargo test --locked
	cargo test --locked --workspace --target $(musl)

# The pinned compiler by name: by the file, rustup would fetch every target and component too.
demo: export RUSTUP_TOOLCHAIN := $(shell sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
demo:
	@tests/setup.sh demo
	cargo test --locked --profile demo --test demo

lint:
	@tests/setup.sh lint
	cargo fmt --all --check
	cd boot && cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	# All but the fuzzer, which asks for the default features: what others share is checked once.
	cargo clippy --locked --workspace --exclude moby-formats-fuzz --all-targets --no-default-features -- -D warnings
	cd boot && cargo clippy --locked --all-targets -- -D warnings
	cd boot && cargo clippy --locked --package moby-bios --target x86_64-unknown-none -- -D warnings
	cd boot && cargo clippy --locked --package moby-testkernel --bin testkernel-bios --target x86_64-unknown-none -- -D warnings
	cd boot && cargo clippy --locked --package moby-boot-efi --package moby-testkernel --target x86_64-unknown-uefi -- -D warnings
	cd boot && cargo clippy --locked --package moby-boot-efi --target aarch64-unknown-uefi -- -D warnings
	cargo clippy --locked --workspace --exclude moby-formats-fuzz $(addprefix --target ,$(elsewhere)) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

fuzz:
	@tests/setup.sh fuzz
	$(mutate) --executions 1000000000 --seconds 60

differential: export MOBY_MUTANTS ?= 25000
differential: export MOBY_SEED ?= $(shell echo $$(($$(date +%s) / 86400)))
differential:
	@tests/setup.sh test
	cargo test --locked --workspace --target $(musl) --test standards tar_mutants -- --nocapture
	tests/differential/qcow2-check 10000 $(MOBY_SEED)
	cargo build --locked --target $(musl)
	MOBY=target/$(musl)/debug/moby tests/differential/mounts 300 $(MOBY_SEED)

nightly: windows differential
	@tests/setup.sh nightly
	cargo deny --all-features --locked check bans licenses sources
	cargo deny --config deny.toml --manifest-path boot/Cargo.toml --locked check bans licenses sources
	$(mutate) --executions 1000000000 --seconds 600 --seed $$(($$(date +%s) / 86400))
	$(mutate) --against-qemu 5000 --seed $$(($$(date +%s) / 86400))
	cargo test --locked --workspace --target $(musl) --test nightly
	cargo package --locked --workspace --exclude moby-formats-fuzz
	tests/dist/build
	tests/dist/check --twice
	tests/hosts/aarch64

windows:
	@tests/setup.sh windows
	tests/hosts/windows

dist:
	@tests/setup.sh dist
	tests/dist/build
	tests/dist/check

loaders:
	@tests/setup.sh loaders
	boot/build

bench:
	@tests/setup.sh bench
	cargo bench --locked --bench ratios

setup:
	@tests/setup.sh
