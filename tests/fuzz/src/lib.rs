//! Fuzzing: each parser of untrusted bytes is a function that must not fail.
//!
//! A [`Target`] takes any bytes and panics where a promise breaks. The promises: nothing panics; no answer is a 5xx but
//! a deliberate 503; no session is opened without its password; no credential is accepted that was not issued; memory
//! does not grow.
//!
//! The tests of this crate replay the kept corpus and mutate its members ([`mutate`]): some 2,000 cases a target,
//! 100,000 with `PARLANCE_TORTURE=long` (`cargo xtask fuzz`). `fuzz/` at the root of the repository gives the same
//! functions to libFuzzer, which follows coverage and needs the nightly toolchain; everyday tests run on stable and are
//! the same on every machine. A target is one line of a table, one of the tests and one entry of `fuzz/`; a test
//! asserts that table and `fuzz/` agree.
//!
//! The corpus consists of the files in `corpus/TARGET/`, of the requests that the conformance vectors send, and of
//! requests with the credential of an active session. A dialect is driven bare, behind a guard, and with the store
//! unavailable. Proptest shrinks a failing case and keeps the case in the corpus. The long form runs without
//! optimisation, so that integer overflow panics. Bytes that only a socket can carry, such as broken framing, belong to
//! `tests/e2e`.
//!
//! Two kinds of input are out of reach from here. The configuration and the paths and queries of the admin listener
//! belong to the binary; its own tests and `tests/e2e` fuzz them. Imported password hashes are parsed by the argon2
//! crate alone.

mod fuzz_target;
mod grpc;
pub mod mutate;
mod readers;
mod seeds;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;

/// A parser of untrusted bytes under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name: the folder of its corpus, and the binary in `fuzz/`.
    pub name: &'static str,
    /// Parses the bytes.
    ///
    /// # Panics
    /// A promise is broken.
    pub run: fn(&[u8]),
    /// Seeds for the mutation, beside the kept corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 15] = [
    Target { name: "cluster_api", run: wire::cluster_api, seeds: wire::cluster_api_seeds },
    Target {
        name: "polish_longtoken",
        run: wire::polish_longtoken,
        seeds: wire::polish_longtoken_seeds,
    },
    Target {
        name: "flask_usertoken",
        run: wire::flask_usertoken,
        seeds: wire::flask_usertoken_seeds,
    },
    Target { name: "cookie_1010", run: wire::cookie_1010, seeds: wire::cookie_1010_seeds },
    Target { name: "axxon_jsonrpc", run: wire::axxon_jsonrpc, seeds: wire::axxon_jsonrpc_seeds },
    Target { name: "axxon_grpc", run: grpc::axxon_grpc, seeds: grpc::seeds },
    Target { name: "jwt", run: tokens::jwt, seeds: tokens::seeds },
    Target { name: "forwarded", run: readers::forwarded, seeds: readers::forwarded_seeds },
    Target { name: "form", run: readers::form, seeds: readers::form_seeds },
    Target { name: "multipart", run: readers::multipart, seeds: readers::multipart_seeds },
    Target { name: "json", run: readers::json, seeds: readers::json_seeds },
    Target { name: "basic", run: readers::basic, seeds: readers::basic_seeds },
    Target { name: "user_name", run: readers::user_name, seeds: readers::user_name_seeds },
    Target { name: "setting", run: readers::setting, seeds: readers::setting_seeds },
    Target {
        name: "password_hash",
        run: readers::password_hash,
        seeds: readers::password_hash_seeds,
    },
];

/// The target with this name.
///
/// # Panics
/// There is no such target.
#[must_use]
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    #[expect(clippy::expect_used, reason = "the caller knows the list")]
    found.expect("no such target")
}
