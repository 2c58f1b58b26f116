//! Whatever reads what strangers send, as functions of bytes that must not fail.
//!
//! A [`Target`] takes any bytes and panics where a promise breaks: nothing panics, no answer is a 5xx but a deliberate 503, no session is
//! opened without its password, nothing is let in that was not handed out, nothing grows. The tests of this crate replay the kept corpus
//! and break its members ([`mutate`]): some 2,000 cases a target, 100,000 with `PARLANCE_TORTURE=long` (`cargo xtask fuzz`). `fuzz/` at
//! the root of the repository gives the same functions to libFuzzer.
//!
//! What is read and not reached from here: the configuration and the admin listener's paths and queries belong to the binary, whose own
//! tests and `tests/e2e` break them. Password hashes of other programs are not imported, so that argon2id's is the only reader there is.

mod booth;
mod grpc;
pub mod mutate;
mod readers;
mod seeds;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;

/// Something that reads bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: the folder of its corpus, and the binary in `fuzz/`.
    pub name: &'static str,
    /// Reads the bytes.
    ///
    /// # Panics
    /// A promise is broken.
    pub run: fn(&[u8]),
    /// What is worth breaking, beside the kept corpus.
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

/// The target of this name.
///
/// # Panics
/// There is none.
#[must_use]
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    #[expect(clippy::expect_used, reason = "who asks knows the list")]
    found.expect("no such target")
}
