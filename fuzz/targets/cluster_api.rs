//! `cluster_api` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (parlance_fuzz::target("cluster_api").run)(data));
