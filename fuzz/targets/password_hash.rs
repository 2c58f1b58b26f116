//! `password_hash` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (parlance_fuzz::target("password_hash").run)(data));
