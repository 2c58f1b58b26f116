//! `cookie_1010` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (parlance_fuzz::target("cookie_1010").run)(data));
