//! The real binary with real clients, databases and faults. All of it is one test binary: `tests/e2e/main.rs`.
