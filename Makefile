# make test   everything that must hold, as continuous integration runs it
# make demo   a Linux guest boots from a qcow2 of ours, under BIOS and under UEFI, before your eyes
# make lint   style, lints, documentation, dependencies
# make loaders  rebuilds the boot loaders into boot/prebuilt
# make bench  measures against other tools
# make setup  installs what all of these need; they call it themselves

.PHONY: test demo lint loaders bench setup
export PATH := $(CURDIR)/.cache/tools/bin:$(PATH):/usr/sbin:/sbin
export CARGO_TERM_COLOR ?= auto

musl := x86_64-unknown-linux-musl

test: setup lint
	boot/build --check
	cd boot && cargo test --locked
	cargo test --locked --workspace --lib --bins --target $(musl)
	cargo test --locked --workspace

demo: setup
	cargo test --locked --release --test demo

lint: setup
	cargo fmt --all --check
	cd boot && cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cd boot && cargo clippy --locked --all-targets -- -D warnings
	cd boot && cargo clippy --locked --package moby-bios --target x86_64-unknown-none -- -D warnings
	cd boot && cargo clippy --locked --package moby-testkernel --bin testkernel-bios --target x86_64-unknown-none -- -D warnings
	cd boot && cargo clippy --locked --package moby-boot-efi --package moby-testkernel --target x86_64-unknown-uefi -- -D warnings
	cd boot && cargo clippy --locked --package moby-boot-efi --target aarch64-unknown-uefi -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo deny --all-features --locked check bans licenses sources
	cargo deny --config deny.toml --manifest-path boot/Cargo.toml --locked check bans licenses sources

loaders: setup
	boot/build

bench: setup
	cargo bench --locked --bench ratios

setup:
	@tests/setup.sh
