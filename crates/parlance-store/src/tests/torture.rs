//! Fault injection in simulated time: each test in a short form, and in a long form by `cargo xtask torture NAME`.

mod guesses;
