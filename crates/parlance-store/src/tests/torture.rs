//! Faults in simulated time, each in a short form and in a long one by `cargo xtask torture NAME`.

mod guesses;
