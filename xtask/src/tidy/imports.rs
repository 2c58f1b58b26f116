//! The imports that each crate may have. Normal dependencies only: tests may use any.

use cargo_metadata::{DependencyKind, Metadata};

use super::dialects;

/// The permitted imports from outside the workspace; `*` at the end matches any suffix.
enum External {
    /// Nothing but these.
    Only(&'static [&'static str]),
    /// Anything but these.
    AllBut(&'static [&'static str]),
}

/// The permitted imports of one crate.
struct Rule {
    workspace: &'static [&'static str],
    external: External,
}

const DATABASE: &str = "diesel*";
/// The libraries of gRPC, which one crate names.
const PROST: &str = "prost*";
const TONIC: &str = "tonic*";

/// The rule of a crate; `None` for a crate without one.
fn rule(name: &str, dialects: &[String]) -> Option<Rule> {
    const CORE: &str = "parlance-core";
    const DIALECT: &str = "parlance-dialect";
    const AXXON_GRPC: &str = "parlance-axxon-grpc";
    Some(match name {
        // The rules: nothing that knows a format, a network, a database, a clock or randomness.
        CORE => Rule {
            workspace: &[],
            external: External::Only(&[
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
            workspace: &[CORE],
            external: External::Only(&[
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
            workspace: &[CORE],
            external: External::AllBut(&[
                "actix*",
                "serde*",
                "tokio",
                "chrono*",
                "getrandom",
                "rand",
            ]),
        },
        "parlance-actix" => Rule {
            workspace: &[CORE, DIALECT],
            external: External::AllBut(&[
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
        // The library that apps use: sees every dialect, each behind its feature.
        "parlance" => Rule {
            workspace: &[
                "parlance-actix",
                AXXON_GRPC,
                CORE,
                DIALECT,
                "parlance-store",
                "a dialect",
            ],
            external: External::AllBut(&[
                PROST,
                TONIC,
                "actix*",
                DATABASE,
                "r2d2",
                "libsqlite3-sys",
                // The crate signs and publishes JSON (RFC 7515, 7517), and parses no other format.
                "serde_urlencoded",
                "toml",
                // Maintenance returns its errors; logging them is the choice of the program.
                "tracing-*",
                "rand",
            ]),
        },
        "parlance-conformance" => Rule {
            workspace: &[CORE, DIALECT],
            external: External::AllBut(&["actix*", DATABASE, "r2d2", "libsqlite3-sys", "tokio"]),
        },
        // No SQL, no wire.
        "parlance-server" => Rule {
            workspace: &["parlance", "parlance-conformance"],
            external: External::AllBut(&[
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
        // Must start in seconds.
        "xtask" => Rule {
            workspace: &["parlance-conformance"],
            external: External::AllBut(&[
                "actix*",
                DATABASE,
                "tokio",
                "ureq",
                "rustls*",
                "aws-lc-rs",
            ]),
        },
        // A second transport of one dialect: encodes the dialect's decisions, and names the gRPC libraries.
        AXXON_GRPC => Rule {
            workspace: &[CORE, DIALECT, "a dialect"],
            external: External::Only(&["futures-util", PROST, "thiserror", "tokio", TONIC]),
        },
        "parlance-axxon-jsonrpc" => Rule {
            workspace: &[CORE, DIALECT],
            external: External::Only(&[
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
            workspace: &[CORE, DIALECT],
            external: External::Only(&[
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
            // The packages of tests/ drive the real program, with any imports.
            if !package.manifest_path.starts_with(metadata.workspace_root.join("tests")) {
                wrong.push(format!("{name} has no rule in xtask/src/tidy/imports.rs"));
            }
            continue;
        };
        for import in imports {
            let is_dialect = dialects.iter().any(|dialect| dialects::package(dialect) == import);
            let allowed = if ours.iter().any(|own| own == import) {
                rule.workspace.contains(&if is_dialect { "a dialect" } else { import })
            } else {
                match rule.external {
                    External::Only(only) => matches(only, import),
                    External::AllBut(never) => !matches(never, import),
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
