//! The real binary with real clients, databases and faults. All tests are one test binary: `tests/e2e/main.rs`.
