//! `axxon_jsonrpc` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (parlance_fuzz::target("axxon_jsonrpc").run)(data));
