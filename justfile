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

# A store goes from CometMQ to Apache's broker 5.5.0 and back.
store-exchange:
    cargo build --release
    interop/run --store-exchange

# Kill -9 under load, many times.
crash times="1000":
    CRASH_TIMES={{times}} cargo test --release -p cometmq --test crash -- --nocapture

# The power fails, many times: what the drive may hold then opens, and keeps what was promised. POWER_LOSS_SEED repeats a run.
power-loss images="2000":
    POWER_LOSS_IMAGES={{images}} cargo test --release -p cometmq-store --test power_loss -- --nocapture

# CometMQ, Apache's broker and the bare limits in one run; writes docs/benchmarks.md.
bench *ARGS:
    benches/run {{ARGS}}

# Exactly what CI runs.
ci:
    bash .ci/run
