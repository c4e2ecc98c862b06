# Every command there is.

_list:
    @just --list

# Name server and broker in one process, no configuration.
dev *ARGS:
    cargo run --release -- dev {{ARGS}}

# The fast tests.
test:
    cargo test

# Formatting, lints, documentation: warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Other people's clients: `just interop`, `just interop apache`. The Java scenarios go into docs/compatibility.md.
interop against="cometmq" *ARGS:
    cargo build --release
    interop/run --against {{against}} --table docs/compatibility.md {{ARGS}}
    interop/python/run --against {{against}}
    interop/node/run --against {{against}}
    interop/go/run --against {{against}}

# The example of a filter program, as tests and docs have it (`rustup target add wasm32-unknown-unknown`).
filter-example:
    cd examples/filter && cargo build --release --target wasm32-unknown-unknown
    cp examples/filter/target/wasm32-unknown-unknown/release/filter.wasm examples/filter/filter.wasm

# Random SQL92 expressions, judged by CometMQ and by Apache's filter.
filter-cases cases="100000" *ARGS:
    interop/filter/run {{cases}} {{ARGS}}

# Stores of Apache's brokers 4.4.0, 4.9.7, 5.5.0 and of CometMQ change hands, after clean stops and kills: a quarter of an hour.
store-exchange *ARGS:
    cargo build --release
    interop/run --store-exchange {{ARGS}}

# Kill -9 under load, many times.
crash times="1000":
    CRASH_TIMES={{times}} cargo test --release -p cometmq --test crash -- --nocapture

# The power fails, many times: what the drive may hold then opens, and keeps what was promised. POWER_LOSS_SEED repeats a run.
power-loss images="2000":
    POWER_LOSS_IMAGES={{images}} cargo test --release -p cometmq-store --test power_loss -- --nocapture

# Clients that misbehave, by the thousand.
hostile:
    HOSTILE=1 cargo test --release -p cometmq-remoting -p cometmq --test hostile_peers --test hostile_clients --test tls -- --test-threads=1

# Fuzzers on every format (`cargo install cargo-fuzz` and a nightly compiler are needed), for so many seconds each.
fuzz seconds="600":
    cargo test -p cometmq --test properties -- --ignored seeds_for_fuzzers
    for target in $(basename -s .rs fuzz/targets/*.rs); do \
        cargo +nightly fuzz run --fuzz-dir fuzz $target -- -max_total_time={{seconds}} -timeout=30 || exit 1; \
    done

# CometMQ, Apache's broker and the bare limits in one run; writes docs/benchmarks.md.
bench *ARGS:
    benches/run {{ARGS}}

# Exactly what CI runs.
ci:
    bash .ci/run
