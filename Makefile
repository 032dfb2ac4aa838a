CARGO_FLAGS := --ignore-rust-version

check:
	cargo fmt --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings

test:
	cargo test $(CARGO_FLAGS)
