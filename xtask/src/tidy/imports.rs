//! Who may import whom. Normal dependencies only: tests may use what they like.

use cargo_metadata::{DependencyKind, Metadata};

use super::dialects;

/// What a crate may import from outside the workspace; `*` at the end stands for anything.
enum Outside {
    /// Nothing but these.
    Only(&'static [&'static str]),
    /// Anything but these.
    Never(&'static [&'static str]),
}

/// What one crate may import.
struct Rule {
    ours: &'static [&'static str],
    outside: Outside,
}

const DATABASE: &str = "diesel*";
/// The libraries of gRPC, which one crate names.
const PROST: &str = "prost*";
const TONIC: &str = "tonic*";

/// The rule of a crate; `None` if nobody has thought of one.
fn rule(name: &str, dialects: &[String]) -> Option<Rule> {
    const CORE: &str = "parlance-core";
    const DIALECT: &str = "parlance-dialect";
    const AXXON_GRPC: &str = "parlance-axxon-grpc";
    Some(match name {
        // The rules: nothing that knows a format, a network, a database, a clock or randomness.
        CORE => Rule {
            ours: &[],
            outside: Outside::Only(&[
                "argon2",
                "futures-channel",
                "sha2",
                "subtle",
                "thiserror",
                "unicode-normalization",
                "uuid",
                "zeroize",
            ]),
        },
        DIALECT => Rule {
            ours: &[CORE],
            outside: Outside::Only(&[
                "base64",
                "chrono",
                "chrono-tz",
                "futures-executor",
                "percent-encoding",
                "serde",
                "serde_json",
                "serde_urlencoded",
                "uuid",
            ]),
        },
        "parlance-store" => Rule {
            ours: &[CORE],
            outside: Outside::Never(&["actix*", "serde*", "tokio", "chrono*", "getrandom", "rand"]),
        },
        "parlance-actix" => Rule {
            ours: &[CORE, DIALECT],
            outside: Outside::Never(&[
                PROST,
                TONIC,
                DATABASE,
                "r2d2",
                "libsqlite3-sys",
                "serde*",
                "toml",
                "getrandom",
                "rand",
            ]),
        },
        // The door, which sees every dialect, each behind its feature.
        "parlance" => Rule {
            ours: &["parlance-actix", AXXON_GRPC, CORE, DIALECT, "parlance-store", "a dialect"],
            outside: Outside::Never(&[
                PROST,
                TONIC,
                "actix*",
                DATABASE,
                "r2d2",
                "libsqlite3-sys",
                // What it signs and publishes is JSON (RFC 7515, 7517); it reads no format.
                "serde_urlencoded",
                "toml",
                // Its maintenance says what it could not do; who writes that down is the program's choice.
                "tracing-*",
                "rand",
            ]),
        },
        "parlance-conformance" => Rule {
            ours: &[CORE, DIALECT],
            outside: Outside::Never(&["actix*", DATABASE, "r2d2", "libsqlite3-sys", "tokio"]),
        },
        // No SQL, no wire.
        "parlance-server" => Rule {
            ours: &["parlance", "parlance-conformance"],
            outside: Outside::Never(&[
                PROST,
                TONIC,
                DATABASE,
                "r2d2",
                "libsqlite3-sys",
                "argon2",
                "sha2",
                "base64",
                "jsonwebtoken",
                "serde_urlencoded",
                "rand",
                "getrandom",
            ]),
        },
        // It must start in seconds.
        "xtask" => Rule {
            ours: &["parlance-conformance"],
            outside: Outside::Never(&["actix*", DATABASE, "tokio", "ureq", "rustls*", "aws-lc-rs"]),
        },
        // Another door to one dialect: it words what that decides, and names what speaks gRPC.
        AXXON_GRPC => Rule {
            ours: &[CORE, DIALECT, "a dialect"],
            outside: Outside::Only(&["futures-util", PROST, "thiserror", "tokio", TONIC]),
        },
        "parlance-axxon-jsonrpc" => Rule {
            ours: &[CORE, DIALECT],
            outside: Outside::Only(&[
                "aws-lc-rs",
                "base64",
                "chrono",
                "jsonwebtoken",
                "serde",
                "serde_json",
                "sha2",
                "uuid",
                "zeroize",
            ]),
        },
        _ if dialects.iter().any(|dialect| dialects::package(dialect) == name) => Rule {
            ours: &[CORE, DIALECT],
            outside: Outside::Only(&[
                "base64",
                "chrono",
                "chrono-tz",
                "percent-encoding",
                "serde",
                "serde_json",
                "serde_urlencoded",
                "uuid",
            ]),
        },
        _ => return None,
    })
}

/// Every import that the rules do not allow.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let dialects = dialects::features(metadata, "parlance");
    let ours: Vec<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let imports =
            package.dependencies.iter().filter(|import| import.kind == DependencyKind::Normal);
        let imports: Vec<_> = imports.map(|import| import.name.as_str()).collect();
        let Some(rule) = rule(name, &dialects) else {
            // The packages of tests/ drive the real thing with whatever it takes.
            if !package.manifest_path.starts_with(metadata.workspace_root.join("tests")) {
                wrong.push(format!("{name} has no rule in xtask/src/tidy/imports.rs"));
            }
            continue;
        };
        for import in imports {
            let is_dialect = dialects.iter().any(|dialect| dialects::package(dialect) == import);
            let allowed = if ours.iter().any(|own| own == import) {
                rule.ours.contains(&if is_dialect { "a dialect" } else { import })
            } else {
                match rule.outside {
                    Outside::Only(only) => matches(only, import),
                    Outside::Never(never) => !matches(never, import),
                }
            };
            if !allowed {
                wrong.push(format!("{name} may not import {import}"));
            }
        }
    }
    wrong
}

fn matches(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| {
        pattern.strip_suffix('*').map_or(*pattern == name, |prefix| name.starts_with(prefix))
    })
}
