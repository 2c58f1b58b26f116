//! Every configuration key there is: its name, what it takes, its default, what it means. The file, the environment, the flags, the
//! checks and the schema all read this one list.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use parlance::dialect::{Kind as DialectKind, Value};
use parlance::table::TABLE;

/// A configuration key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Its tables and itself, with dots between.
    pub(crate) path: String,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Its value where nothing says otherwise.
    pub(crate) default: String,
    /// What it means.
    pub(crate) about: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An IP address and a port.
    Address,
    /// The URL of a database.
    Database,
    /// A list of networks.
    Networks,
    /// The name of a time zone.
    Zone,
    /// A path in the file system.
    Path,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// The prefix of a dialect's paths.
    Prefix,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// What a dialect's own key takes.
    Dialect(DialectKind),
}

/// All keys, in the order of the documentation.
pub(crate) fn keys() -> Vec<Key> {
    let top = |path: &str, kind, default: &str, about| Key {
        path: path.to_owned(),
        kind,
        default: default.to_owned(),
        about,
    };
    let mut keys = vec![
        top(
            "listen",
            Kind::Address,
            "127.0.0.1:8080",
            "Where the dialects listen. Port 0 picks a free port.",
        ),
        top(
            "admin_listen",
            Kind::Address,
            "127.0.0.1:8081",
            "Where health, readiness and metrics listen.",
        ),
        top(
            "database",
            Kind::Database,
            "sqlite:parlance.db",
            "sqlite:PATH, or postgres://user:password@host/name.",
        ),
        top(
            "trusted_proxies",
            Kind::Networks,
            "",
            "Networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        ),
        top(
            "timezone",
            Kind::Zone,
            "UTC",
            "The zone of the dates that flask-usertoken and polish-longtoken write.",
        ),
        top(
            "key_file",
            Kind::Path,
            "parlance.key",
            "Encrypts the signing keys in the database. Made, with mode 0600, on first start.",
        ),
        top(
            "log_format",
            Kind::Choice(&["text", "json"]),
            "text",
            "How a log record is written: one line either way.",
        ),
        top(
            "log_level",
            Kind::Choice(&["error", "warn", "info", "debug"]),
            "info",
            "The least grave record that is written.",
        ),
        top(
            "password.memory_kib",
            Kind::Number,
            "19456",
            "argon2id: memory of one hash, in KiB, at most 262144.",
        ),
        top("password.iterations", Kind::Number, "2", "argon2id: passes over the memory, 1 to 10."),
        top("password.parallelism", Kind::Number, "1", "argon2id: lanes, 1 to 16."),
    ];
    for entry in TABLE {
        let path = |key: &str| format!("dialects.{}.{key}", entry.name);
        keys.push(top(&path("enabled"), Kind::Switch, "true", "Whether the dialect is served."));
        keys.push(top(
            &path("prefix"),
            Kind::Prefix,
            "",
            "What its paths begin with: empty, or such as \"/legacy\".",
        ));
        for setting in entry.settings {
            // An issuer is the host's name, which a dialect does not know (decision 0170).
            let unnamed = setting.key == "issuer" && setting.default.is_empty();
            let default = if unnamed { host_name() } else { setting.default.to_owned() };
            keys.push(top(
                &path(setting.key),
                Kind::Dialect(setting.kind),
                &default,
                setting.about,
            ));
        }
    }
    keys
}

/// The host's name, or `parlance` where it has none.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "parlance".to_owned() } else { name.to_owned() }
}

/// A value of the right kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    Address(SocketAddr),
    Text(String),
    Networks(Vec<IpNet>),
    Zone(chrono_tz::Tz),
    Path(PathBuf),
    Number(u32),
    Switch(bool),
    Dialect(Value),
}

impl Kind {
    /// Reads a value from its text; a list is separated by commas. The error says what the key takes.
    pub(crate) fn parse(self, text: &str) -> Result<Typed, String> {
        match self {
            Self::Address => text
                .parse()
                .map(Typed::Address)
                .map_err(|_| "an IP address and a port such as \"127.0.0.1:8080\"".to_owned()),
            Self::Database => {
                let known = ["sqlite:", "postgres://", "postgresql://"]
                    .iter()
                    .any(|scheme| text.starts_with(scheme));
                if known {
                    Ok(Typed::Text(text.to_owned()))
                } else {
                    Err("\"sqlite:PATH\" or \"postgres://user:password@host/name\"".to_owned())
                }
            }
            Self::Networks => {
                let parse = |network: &str| {
                    network.parse().or_else(|_| {
                        network.parse().map(|address: std::net::IpAddr| IpNet::from(address))
                    })
                };
                let networks: Result<Vec<_>, _> = text
                    .split(',')
                    .map(str::trim)
                    .filter(|network| !network.is_empty())
                    .map(parse)
                    .collect();
                networks
                    .map(Typed::Networks)
                    .map_err(|_| "a list of networks such as [\"10.0.0.0/8\", \"::1\"]".to_owned())
            }
            Self::Zone => text
                .parse()
                .map(Typed::Zone)
                .map_err(|_| "a time zone such as \"UTC\" or \"Europe/Warsaw\"".to_owned()),
            Self::Path if text.is_empty() => Err("a path".to_owned()),
            Self::Path => Ok(Typed::Path(PathBuf::from(text))),
            Self::Number => {
                text.parse().map(Typed::Number).map_err(|_| "a whole number".to_owned())
            }
            Self::Switch => text.parse().map(Typed::Switch).map_err(|_| "true or false".to_owned()),
            Self::Prefix => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
                let good = text.is_empty()
                    || (text.starts_with('/')
                        && !text.ends_with('/')
                        && !text.contains("//")
                        && text.bytes().all(plain));
                if good {
                    Ok(Typed::Text(text.to_owned()))
                } else {
                    Err("\"\", or a path such as \"/legacy\" with a leading slash and no trailing one".to_owned())
                }
            }
            Self::Choice(words) => {
                Value::parse(DialectKind::Choice(words), text).map(|_| Typed::Text(text.to_owned()))
            }
            Self::Dialect(kind) => Value::parse(kind, text).map(Typed::Dialect),
        }
    }
}
